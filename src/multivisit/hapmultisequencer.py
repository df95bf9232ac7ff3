"""The published sequencer interface."""
