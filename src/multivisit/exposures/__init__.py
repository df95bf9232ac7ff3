"""What did Hubble deliver? Exposures, chips and their pixel maps."""
