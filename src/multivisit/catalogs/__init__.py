"""What is in a mosaic: catalogs of its sources, measured in apertures and in segments."""
