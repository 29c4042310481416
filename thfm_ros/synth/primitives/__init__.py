"""Building blocks of the renderer: rotations, meshes, textures and compiled kernels."""
