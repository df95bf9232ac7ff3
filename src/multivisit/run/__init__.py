"""What happens in what order? The sequencer, progress, logs and the manifest."""
