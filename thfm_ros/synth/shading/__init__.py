"""Cameras, rasteriser, lighting and shading."""
