# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Kernels on mesh vertices: linear blend skinning, vertex normals, projection."""

import math

import numpy as np

from thfm_ros.synth.primitives.jit import kernel

NEAR_M = 0.05  # near plane: closer vertices are not drawn


@kernel
def blend(
    rest: np.ndarray,
    bones: np.ndarray,
    weights: np.ndarray,
    turns: np.ndarray,
    shifts: np.ndarray,
    out: np.ndarray,
) -> None:
    """Linear blend skinning of float32 ``rest`` [v, 3]: out = sum_w w (rotation @ rest + shift).

    ``weights`` [v, 8] descend along each row; ``rotations`` [b, 3, 3] and ``shifts`` [b, 3] are
    float32.
    """
    for v in range(rest.shape[0]):
        a, b, c = rest[v, 0], rest[v, 1], rest[v, 2]
        x = y = z = np.float32(0.0)
        for slot in range(bones.shape[1]):
            w = weights[v, slot]
            if w <= 0:
                break
            j = bones[v, slot]
            x += w * (turns[j, 0, 0] * a + turns[j, 0, 1] * b + turns[j, 0, 2] * c + shifts[j, 0])
            y += w * (turns[j, 1, 0] * a + turns[j, 1, 1] * b + turns[j, 1, 2] * c + shifts[j, 1])
            z += w * (turns[j, 2, 0] * a + turns[j, 2, 1] * b + turns[j, 2, 2] * c + shifts[j, 2])
        out[v, 0], out[v, 1], out[v, 2] = x, y, z


@kernel
def vertex_normals(vertices: np.ndarray, faces: np.ndarray, out: np.ndarray) -> None:
    """Unit vertex normals [v, 3]: area-weighted mean of the adjacent triangles' normals."""
    out[:] = 0
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = (
            vertices[j, 0] - vertices[i, 0],
            vertices[j, 1] - vertices[i, 1],
            vertices[j, 2] - vertices[i, 2],
        )
        bx, by, bz = (
            vertices[k, 0] - vertices[i, 0],
            vertices[k, 1] - vertices[i, 1],
            vertices[k, 2] - vertices[i, 2],
        )
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for corner in (i, j, k):
            out[corner, 0] += nx
            out[corner, 1] += ny
            out[corner, 2] += nz
    for v in range(out.shape[0]):
        length = math.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2) + 1e-12
        out[v, 0] /= length
        out[v, 1] /= length
        out[v, 2] /= length


@kernel
def project(
    vertices: np.ndarray,
    rotation: np.ndarray,
    shift: np.ndarray,
    lens: np.ndarray,
    out: np.ndarray,
) -> None:
    """Project vertices: out [v, 3] = x, y in pixels and 1 / depth (-1: nearer than NEAR_M).

    ``rotation`` [3, 3] and ``shift`` [3] are camera from world; ``intrinsics`` is fx, fy, cx, cy.
    """
    for v in range(vertices.shape[0]):
        a, b, c = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        z = rotation[2, 0] * a + rotation[2, 1] * b + rotation[2, 2] * c + shift[2]
        if z < NEAR_M:
            out[v, 0], out[v, 1], out[v, 2] = 0.0, 0.0, -1.0
            continue
        x = rotation[0, 0] * a + rotation[0, 1] * b + rotation[0, 2] * c + shift[0]
        y = rotation[1, 0] * a + rotation[1, 1] * b + rotation[1, 2] * c + shift[1]
        out[v, 0] = lens[0] * x / z + lens[2]
        out[v, 1] = lens[1] * y / z + lens[3]
        out[v, 2] = 1.0 / z
