"""Where on the sky? The tessellation, projection cells, sky cells and footprints."""
