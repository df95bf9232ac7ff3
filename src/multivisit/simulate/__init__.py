"""Exposures with a known truth, for tests, the demo and benchmarks."""
