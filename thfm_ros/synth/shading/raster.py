# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Rasteriser kernels: triangle index per pixel with a z-buffer, and depth maps for lights.

A pixel is covered when its centre (x + 0.5, y + 0.5) lies in a triangle. The z-buffer holds
1 / depth, which is linear on the image: larger is nearer, zero is empty.
"""

import math

import numpy as np
from jaxtyping import Float32, Int32

from thfm_ros.synth.primitives.jit import inlined, kernel


@kernel
def _first_pixel(low: float) -> int:
    """Index of the first pixel whose centre is at or beyond ``low``."""
    return max(math.ceil(low - 0.5), 0)


@kernel
def rasterize(
    screen: np.ndarray, faces: np.ndarray, z_buffer: np.ndarray, triangles: np.ndarray
) -> None:
    """Rasterise triangles into a z-buffer.

    ``z_buffer`` float32 [h, w] must be 0 and ``triangles`` int32 [h, w] -1 at first.
    ``screen`` is float32 [v, 3]: x, y in pixels, 1 / depth; a triangle with a corner behind the
    camera is left out.
    """
    height, width = z_buffer.shape
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        w0, w1, w2 = screen[i, 2], screen[j, 2], screen[k, 2]
        if w0 <= 0 or w1 <= 0 or w2 <= 0:
            continue
        x0, y0, x1, y1 = screen[i, 0], screen[i, 1], screen[j, 0], screen[j, 1]
        x2, y2 = screen[k, 0], screen[k, 1]
        left, right = (
            _first_pixel(min(x0, x1, x2)),
            min(math.floor(max(x0, x1, x2) - 0.5), width - 1),
        )
        top, bottom = (
            _first_pixel(min(y0, y1, y2)),
            min(math.floor(max(y0, y1, y2) - 0.5), height - 1),
        )
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if left > right or top > bottom or abs(area) < 1e-9:
            continue
        inverse = 1.0 / area
        for y in range(top, bottom + 1):
            py = y + 0.5
            for x in range(left, right + 1):
                px = x + 0.5
                a = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) * inverse
                b = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * inverse
                c = 1.0 - a - b
                if a >= 0 and b >= 0 and c >= 0:
                    w = a * w0 + b * w1 + c * w2
                    if w > z_buffer[y, x]:
                        z_buffer[y, x] = w
                        triangles[y, x] = f


@kernel
def rasterize_depth(screen: np.ndarray, faces: np.ndarray, z_buffer: np.ndarray) -> None:
    """As ``rasterize``, but the z-buffer alone, for shadow maps. ``screen[:, 2]`` must be > 0."""
    height, width = z_buffer.shape
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, x1, y1 = screen[i, 0], screen[i, 1], screen[j, 0], screen[j, 1]
        x2, y2 = screen[k, 0], screen[k, 1]
        left, right = (
            _first_pixel(min(x0, x1, x2)),
            min(math.floor(max(x0, x1, x2) - 0.5), width - 1),
        )
        top, bottom = (
            _first_pixel(min(y0, y1, y2)),
            min(math.floor(max(y0, y1, y2) - 0.5), height - 1),
        )
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if left > right or top > bottom or abs(area) < 1e-9:
            continue
        inverse = 1.0 / area
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                px, py = x + 0.5, y + 0.5
                a = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) * inverse
                b = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * inverse
                c = 1.0 - a - b
                if a >= 0 and b >= 0 and c >= 0:
                    w = a * screen[i, 2] + b * screen[j, 2] + c * screen[k, 2]
                    if w > z_buffer[y, x]:
                        z_buffer[y, x] = w


@inlined
def barycentric(
    screen: np.ndarray, i: int, j: int, k: int, px: float, py: float
) -> tuple[float, float, float, float]:
    """Perspective-correct weights of three corners at an image point, and the depth there."""
    x0, y0, x1, y1 = screen[i, 0], screen[i, 1], screen[j, 0], screen[j, 1]
    x2, y2 = screen[k, 0], screen[k, 1]
    inverse = 1.0 / ((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0))
    a = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) * inverse
    b = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * inverse
    c = (1.0 - a - b) * screen[k, 2]
    a *= screen[i, 2]
    b *= screen[j, 2]
    depth = 1.0 / (a + b + c)
    return a * depth, b * depth, c * depth, depth


@inlined
def interpolate(
    values: np.ndarray, i: int, j: int, k: int, a: float, b: float, c: float
) -> tuple[float, float, float]:
    """Rows i, j, k of ``values`` [n, 3] interpolated with the weights a, b, c."""
    return (
        a * values[i, 0] + b * values[j, 0] + c * values[k, 0],
        a * values[i, 1] + b * values[j, 1] + c * values[k, 1],
        a * values[i, 2] + b * values[j, 2] + c * values[k, 2],
    )


def visible_triangles(
    screen: Float32[np.ndarray, "v 3"], faces: Int32[np.ndarray, "f 3"], width: int, height: int
) -> Int32[np.ndarray, "h w"]:
    """Index of the nearest triangle at each pixel's centre, -1 where there is none."""
    z_buffer = np.zeros((height, width), np.float32)
    triangles = np.full((height, width), -1, np.int32)
    rasterize(screen, faces, z_buffer, triangles)
    return triangles
