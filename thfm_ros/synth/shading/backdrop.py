# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Backdrops: a floor under a sky, a room, or a flat image; kernels that shade the whole image."""

import math
from typing import NamedTuple

import numpy as np

from thfm_ros.synth.primitives.jit import inlined, kernel
from thfm_ros.synth.shading.light import ShadowMaps
from thfm_ros.synth.shading.shade import (
    ShaderGeometry,
    ShaderLight,
    lit_fraction,
    shade_triangle,
    sky_light,
    texel,
)

OUTDOORS, ROOM, IMAGE = 0, 1, 2
FADE_START_M, FADE_LENGTH_M = 8.0, 22.0  # range in which the floor blends into the sky


class Backdrop(NamedTuple):
    """The backdrop as the kernels read it. The room is centred on the world's z axis."""

    mode: int
    half: np.ndarray  # float64 [3]: half width, half depth, height of the room, metres
    floor_texture: int
    wall_texture: int
    floor_repeat: float  # textures per metre
    wall_repeat: float
    # Flat fixtures on walls and ceiling: float32 [n, 7]: side (0 +x, 1 -x, 2 +y, 3 -y, 4 ceiling),
    # left, right, low, high (metres), texture (-1 white), brightness factor.
    fixtures: np.ndarray
    panorama: np.ndarray  # float32 [h, w, 3], linear light
    azimuth: float  # of the panorama, share of a full circle
    gain: float  # factor on the panorama
    image: np.ndarray  # float32 [h, w, 3], linear; used if mode is IMAGE
    image_window: np.ndarray  # float64 [3]: left, top and extent of the visible window, 0..1


class PinholeCamera(NamedTuple):
    """A pinhole camera for one frame at one resolution."""

    rotation: np.ndarray  # float64 [3, 3], camera from world
    position: np.ndarray  # float64 [3], world
    intrinsics: np.ndarray  # float64 [4]: fx, fy, cx, cy in pixels


@inlined
def pixel_ray(camera: PinholeCamera, px: float, py: float) -> tuple[float, float, float]:
    """World direction of the ray through an image point, scaled to depth 1 m."""
    x = (px - camera.intrinsics[2]) / camera.intrinsics[0]
    y = (py - camera.intrinsics[3]) / camera.intrinsics[1]
    r = camera.rotation
    return (
        r[0, 0] * x + r[1, 0] * y + r[2, 0],
        r[0, 1] * x + r[1, 1] * y + r[2, 1],
        r[0, 2] * x + r[1, 2] * y + r[2, 2],
    )


@inlined
def intersect(
    backdrop: Backdrop, eye: np.ndarray, dx: float, dy: float, dz: float
) -> tuple[int, float, float, float, float]:
    """First intersection: kind (0 none, 1 floor, 2 and 3 walls, 4 ceiling), depth, normal."""
    kind, depth, nx, ny, nz = 0, 1e9, 0.0, 0.0, 0.0
    if backdrop.mode == 2:
        return kind, depth, nx, ny, nz
    if dz < -1e-6:
        kind, depth, nz = 1, -eye[2] / dz, 1.0
    if backdrop.mode == 1:
        if dz > 1e-6:
            kind, depth, nz = 4, (backdrop.half[2] - eye[2]) / dz, -1.0
        if abs(dx) > 1e-6:
            side = backdrop.half[0] if dx > 0 else -backdrop.half[0]
            if (side - eye[0]) / dx < depth:
                kind, depth, nx, nz = 2, (side - eye[0]) / dx, -math.copysign(1.0, dx), 0.0
        if abs(dy) > 1e-6:
            side = backdrop.half[1] if dy > 0 else -backdrop.half[1]
            if (side - eye[1]) / dy < depth:
                kind, depth, nx, nz = 3, (side - eye[1]) / dy, 0.0, 0.0
                ny = -math.copysign(1.0, dy)
    return kind, depth, nx, ny, nz


@inlined
def sample_panorama(
    backdrop: Backdrop, dx: float, dy: float, dz: float
) -> tuple[float, float, float]:
    """Bilinear sample of the panorama in a world direction."""
    p = backdrop.panorama
    height, width = p.shape[0], p.shape[1]
    inverse = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz)
    u = math.atan2(dy, dx) / (2 * math.pi) + backdrop.azimuth
    v = math.acos(min(1.0, max(-1.0, dz * inverse))) / math.pi
    u = (u - math.floor(u)) * width - 0.5
    v = min(max(v * height - 0.5, 0.0), height - 1.001)
    i, j = math.floor(u), int(v)
    a, b, gain = u - i, v - j, backdrop.gain
    i0, i1 = i % width, (i + 1) % width
    k, a = j + 1, a * gain
    w10, w11 = a * (1 - b), a * b
    w00, w01 = gain * (1 - b) - w10, gain * b - w11
    return (
        p[j, i0, 0] * w00 + p[j, i1, 0] * w10 + p[k, i0, 0] * w01 + p[k, i1, 0] * w11,
        p[j, i0, 1] * w00 + p[j, i1, 1] * w10 + p[k, i0, 1] * w01 + p[k, i1, 1] * w11,
        p[j, i0, 2] * w00 + p[j, i1, 2] * w10 + p[k, i0, 2] * w01 + p[k, i1, 2] * w11,
    )


@inlined
def _albedo(
    backdrop: Backdrop,
    geometry: ShaderGeometry,
    kind: int,
    nx: float,
    ny: float,
    x: float,
    y: float,
    z: float,
) -> tuple[float, float, float]:
    """Albedo of floor, ceiling and walls, with fixtures and a dark skirting board."""
    across, up, side = x, y, 4
    number, repeat, glow = backdrop.wall_texture, backdrop.wall_repeat, 1.0
    if kind == 1:
        side, number, repeat = -1, backdrop.floor_texture, backdrop.floor_repeat
    elif kind == 2:
        across, up, side = y, z, 0 if nx < 0 else 1
    elif kind == 3:
        across, up, side = x, z, 2 if ny < 0 else 3
    elif kind == 4:
        number = -1
    if kind != 1 and kind != 4 and z < 0.09:
        glow = 0.45
    for n in range(backdrop.fixtures.shape[0]):
        if int(backdrop.fixtures[n, 0]) == side:
            left, right = backdrop.fixtures[n, 1], backdrop.fixtures[n, 2]
            low, high = backdrop.fixtures[n, 3], backdrop.fixtures[n, 4]
            if left < across and across < right and low < up and up < high:
                number, repeat, glow = int(backdrop.fixtures[n, 5]), 1.0, backdrop.fixtures[n, 6]
                across, up = (across - left) / (right - left), (up - low) / (high - low)
                break
    if number < 0:
        return 0.85 * glow, 0.85 * glow, 0.85 * glow
    red, green, blue = texel(geometry.textures, number, across * repeat, -up * repeat)
    return red * glow, green * glow, blue * glow


@kernel
def backdrop_shadows(
    backdrop: Backdrop, maps: ShadowMaps, camera: PinholeCamera, step: int, out: np.ndarray
) -> None:
    """Contact shadows on the backdrop, once per ``step`` x ``step`` samples.

    ``out`` is float32 [h, w, 2]: visible share of the sky, unshadowed share of the key light.
    """
    key, key_matrix, sky, sky_matrix = maps.key, maps.key_matrix, maps.sky, maps.sky_matrix
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            dx, dy, dz = pixel_ray(camera, (column + 0.5) * step, (row + 0.5) * step)
            kind, depth, _, _, _ = intersect(backdrop, camera.position, dx, dy, dz)
            out[row, column, 0], out[row, column, 1] = 1.0, 1.0
            if kind == 0:
                continue
            x = camera.position[0] + dx * depth
            y = camera.position[1] + dy * depth
            z = camera.position[2] + dz * depth
            out[row, column, 1] = lit_fraction(key, key_matrix, 0, x, y, z, 0.02, 2)
            visible = 0.0
            for n in range(sky.shape[0]):
                visible += lit_fraction(sky, sky_matrix, n, x, y, z, 0.02, 1)
            out[row, column, 0] = 0.3 + 0.7 * visible / sky.shape[0]


@inlined
def backdrop_colour(
    backdrop: Backdrop,
    geometry: ShaderGeometry,
    light: ShaderLight,
    camera: PinholeCamera,
    px: float,
    py: float,
    sky_visible: float,
    lit: float,
) -> tuple[float, float, float]:
    """Linear colour of the backdrop at an image point."""
    dx, dy, dz = pixel_ray(camera, px, py)
    eye = camera.position
    kind, depth, nx, ny, nz = intersect(backdrop, eye, dx, dy, dz)
    if kind == 0:
        return sample_panorama(backdrop, dx, dy, dz)
    x, y, z = eye[0] + dx * depth, eye[1] + dy * depth, eye[2] + dz * depth
    red, green, blue = _albedo(backdrop, geometry, kind, nx, ny, x, y, z)
    cosine = max(0.0, light.direction[0] * nx + light.direction[1] * ny + light.direction[2] * nz)
    if backdrop.mode == 1:  # the corners of a room are darker
        edge = min(backdrop.half[0] - abs(x), backdrop.half[1] - abs(y))
        if kind < 4 and kind > 1:
            edge = min(z, backdrop.half[2] - z)
        sky_visible *= 0.65 + 0.35 * min(1.0, max(edge, 0.0) / 0.6)
        cosine *= 0.7
    sr, sg, sb = sky_light(light.harmonics, nx, ny, nz)
    key = light.colour
    red *= sr * sky_visible + key[0] * cosine * lit
    green *= sg * sky_visible + key[1] * cosine * lit
    blue *= sb * sky_visible + key[2] * cosine * lit
    if backdrop.mode == 0:
        fade = min(1.0, max(0.0, (depth - FADE_START_M) / FADE_LENGTH_M))
        if fade > 0:
            r, g, b = sample_panorama(backdrop, dx, dy, dz)
            red, green, blue = (
                red + fade * (r - red),
                green + fade * (g - green),
                blue + fade * (b - blue),
            )
    return red, green, blue


@inlined
def sample_image(p: np.ndarray, u: float, v: float) -> tuple[float, float, float]:
    """Bilinear sample of an image float32 [h, w, 3] at u, v in 0..1."""
    height, width = p.shape[0], p.shape[1]
    u = min(max(u * width - 0.5, 0.0), width - 1.001)
    v = min(max(v * height - 0.5, 0.0), height - 1.001)
    i, j = int(u), int(v)
    a, b = u - i, v - j
    w00, w10, w01, w11 = (1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b
    k, m = i + 1, j + 1
    return (
        p[j, i, 0] * w00 + p[j, k, 0] * w10 + p[m, i, 0] * w01 + p[m, k, 0] * w11,
        p[j, i, 1] * w00 + p[j, k, 1] * w10 + p[m, i, 1] * w01 + p[m, k, 1] * w11,
        p[j, i, 2] * w00 + p[j, k, 2] * w10 + p[m, i, 2] * w01 + p[m, k, 2] * w11,
    )


@kernel
def shade_image(
    triangles: np.ndarray,
    geometry: ShaderGeometry,
    light: ShaderLight,
    maps: ShadowMaps,
    backdrop: Backdrop,
    camera: PinholeCamera,
    shadows: np.ndarray,
    out: np.ndarray,
) -> None:
    """Shade every pixel of ``out`` float32 [h, w, 3], linear light.

    ``shadows`` comes from ``backdrop_shadows``, at an integer fraction of the resolution.
    """
    height, width = triangles.shape
    step = height // shadows.shape[0]
    for y in range(height):
        for x in range(width):
            px, py = x + 0.5, y + 0.5
            f = triangles[y, x]
            if f >= 0:
                r, g, b = shade_triangle(geometry, light, maps, camera.position, f, px, py)
            elif backdrop.mode == 2:
                q = backdrop.image_window
                u, v = q[0] + px / width * q[2], q[1] + py / height * q[2]
                r, g, b = sample_image(backdrop.image, u, v)
            else:
                sky_visible, lit = (
                    shadows[y // step, x // step, 0],
                    shadows[y // step, x // step, 1],
                )
                r, g, b = backdrop_colour(
                    backdrop, geometry, light, camera, px, py, sky_visible, lit
                )
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = r, g, b
