"""What is to be made? Poller files, vetting, layers and parameters."""
