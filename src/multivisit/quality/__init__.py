"""Is it good? Checks of a mosaic with stated limits, their files, and the report of a run."""
