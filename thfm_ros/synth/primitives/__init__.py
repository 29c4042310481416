"""Rotations, meshes, textures and compiled loops that the renderer is made of."""
