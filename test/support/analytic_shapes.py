# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Shapes whose depth and normals are known by formula."""

import numpy as np


def sphere(radius: float, centre: np.ndarray, rings: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Vertices float32 and triangles int32 of a sphere."""
    polar = np.linspace(0.001, np.pi - 0.001, rings)
    turn = np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)
    p, t = np.meshgrid(polar, turn, indexing="ij")
    points = np.stack([np.sin(p) * np.cos(t), np.sin(p) * np.sin(t), np.cos(p)], -1).reshape(-1, 3)
    faces = []
    for i in range(rings - 1):
        for j in range(2 * rings):
            a, b = i * 2 * rings + j, i * 2 * rings + (j + 1) % (2 * rings)
            c, d = a + 2 * rings, b + 2 * rings
            faces += [[a, c, d], [a, d, b]]
    return (radius * points + centre).astype(np.float32), np.array(faces, np.int32)
