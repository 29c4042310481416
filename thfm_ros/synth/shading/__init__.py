"""Camera, rasteriser, light and surfaces."""
