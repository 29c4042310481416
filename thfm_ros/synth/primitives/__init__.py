# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Building blocks of the renderer: rotations, meshes, textures and compiled kernels."""
