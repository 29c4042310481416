# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Shading kernels: texture, sky light, key light, shadow and specular highlight."""

import math
from typing import NamedTuple

import numpy as np

from thfm_ros.synth.primitives.jit import inlined, kernel
from thfm_ros.synth.shading.light import ShadowMaps
from thfm_ros.synth.shading.raster import barycentric, interpolate

SKY_BIAS_M = 0.03  # offset along the normal before a vertex is tested against the sky's maps


class ShaderGeometry(NamedTuple):
    """The geometry of one frame as the shader reads it."""

    screen: np.ndarray  # float32 [v, 3]: pixels and 1 / depth
    vertices: np.ndarray  # float32 [v, 3], world
    normals: np.ndarray  # float32 [v, 3], world
    sky_visibility: np.ndarray  # float32 [v], share of the sky that is visible
    colours: np.ndarray  # float32 [v, 3]
    faces: np.ndarray  # int32 [f, 3]
    face_uv: np.ndarray  # float32 [f, 3, 2]
    materials: np.ndarray  # int32 [f]
    material_table: np.ndarray  # float32 [m, 6], mesh.Palette
    textures: np.ndarray  # float32 [k, n, n, 3]


class ShaderLight(NamedTuple):
    """The light as the shader reads it."""

    harmonics: np.ndarray  # float32 [9, 3]
    direction: np.ndarray  # float32 [3]
    colour: np.ndarray  # float32 [3]


@inlined
def texel(t: np.ndarray, n: int, u: float, v: float) -> tuple[float, float, float]:
    """Bilinear sample of the n-th of the tiling textures float32 [k, s, s, 3]."""
    last = t.shape[1] - 1  # the size is a power of two
    u, v = (u - math.floor(u)) * (last + 1), (v - math.floor(v)) * (last + 1)
    i, j = int(u) & last, int(v) & last
    i2, j2 = (i + 1) & last, (j + 1) & last
    a, b = u - math.floor(u), v - math.floor(v)
    w00, w10, w01, w11 = (1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b
    return (
        t[n, j, i, 0] * w00 + t[n, j, i2, 0] * w10 + t[n, j2, i, 0] * w01 + t[n, j2, i2, 0] * w11,
        t[n, j, i, 1] * w00 + t[n, j, i2, 1] * w10 + t[n, j2, i, 1] * w01 + t[n, j2, i2, 1] * w11,
        t[n, j, i, 2] * w00 + t[n, j, i2, 2] * w10 + t[n, j2, i, 2] * w01 + t[n, j2, i2, 2] * w11,
    )


@inlined
def lit_fraction(
    depths: np.ndarray,
    matrices: np.ndarray,
    n: int,
    x: float,
    y: float,
    z: float,
    bias: float,
    soft: int,
) -> float:
    """Unoccluded share of a (2 soft + 1)^2 window of the n-th shadow map around a world point.

    ``depths`` is float32 [n, s, s], ``matrices`` [n, 3, 4]; points outside the map are lit.
    """
    size = depths.shape[1]
    m = matrices
    column = int(m[n, 0, 0] * x + m[n, 0, 1] * y + m[n, 0, 2] * z + m[n, 0, 3])
    row = int(m[n, 1, 0] * x + m[n, 1, 1] * y + m[n, 1, 2] * z + m[n, 1, 3])
    if column < soft or row < soft or column >= size - soft or row >= size - soft:
        return 1.0
    near = np.float32(m[n, 2, 0] * x + m[n, 2, 1] * y + m[n, 2, 2] * z + m[n, 2, 3] + bias)
    lit = 0
    for j in range(row - soft, row + soft + 1):
        for i in range(column - soft, column + soft + 1):
            if near >= depths[n, j, i]:
                lit += 1
    return lit / ((2 * soft + 1) * (2 * soft + 1))


@kernel
def compute_sky_visibility(
    vertices: np.ndarray,
    normals: np.ndarray,
    sky: np.ndarray,
    matrices: np.ndarray,
    directions: np.ndarray,
    out: np.ndarray,
) -> None:
    """Ambient occlusion: visible share of the sky per vertex, 0.25..1, into ``out`` float32 [v].

    ``directions`` [n, 3] are the unit vectors towards the viewpoints of the maps.
    """
    lift = SKY_BIAS_M
    for v in range(vertices.shape[0]):
        nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        x, y, z = vertices[v, 0] + nx * lift, vertices[v, 1] + ny * lift, vertices[v, 2] + nz * lift
        visible, total = 0.0, 1e-6
        for n in range(sky.shape[0]):
            d0, d1, d2 = directions[n, 0], directions[n, 1], directions[n, 2]
            facing = max(0.0, d0 * nx + d1 * ny + d2 * nz) + 0.05
            visible += facing * lit_fraction(sky, matrices, n, x, y, z, 0.02, 0)
            total += facing
        out[v] = 0.25 + 0.75 * visible / total


@inlined
def sky_light(h: np.ndarray, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Irradiance over pi from the whole sky on a surface with this unit normal, per channel."""
    xy, yz, xz = 0.858086 * x * y, 0.858086 * y * z, 0.858086 * x * z
    zz, xx = 0.247708 * (3 * z * z - 1), 0.429043 * (x * x - y * y)
    x, y, z = 1.023328 * x, 1.023328 * y, 1.023328 * z
    return (
        max(0.0, 0.886227 * h[0, 0] + y * h[1, 0] + z * h[2, 0] + x * h[3, 0] + xy * h[4, 0]
            + yz * h[5, 0] + zz * h[6, 0] + xz * h[7, 0] + xx * h[8, 0]),
        max(0.0, 0.886227 * h[0, 1] + y * h[1, 1] + z * h[2, 1] + x * h[3, 1] + xy * h[4, 1]
            + yz * h[5, 1] + zz * h[6, 1] + xz * h[7, 1] + xx * h[8, 1]),
        max(0.0, 0.886227 * h[0, 2] + y * h[1, 2] + z * h[2, 2] + x * h[3, 2] + xy * h[4, 2]
            + yz * h[5, 2] + zz * h[6, 2] + xz * h[7, 2] + xx * h[8, 2]),
    )  # fmt: skip


@inlined
def direction_to(x: float, y: float, z: float, target: np.ndarray) -> tuple[float, float, float]:
    """Unit vector from a point to ``target`` [3]."""
    dx, dy, dz = target[0] - x, target[1] - y, target[2] - z
    inverse = 1.0 / (math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9)
    return dx * inverse, dy * inverse, dz * inverse


@inlined
def facing_normal(
    nx: float, ny: float, nz: float, vx: float, vy: float, vz: float
) -> tuple[float, float, float]:
    """Unit normal turned towards the viewer, for thin sheets seen from behind (cloth, hair)."""
    inverse = 1.0 / (math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9)
    if nx * vx + ny * vy + nz * vz < 0:
        inverse = -inverse
    return nx * inverse, ny * inverse, nz * inverse


@inlined
def shade_triangle(
    geometry: ShaderGeometry,
    light: ShaderLight,
    maps: ShadowMaps,
    eye: np.ndarray,
    f: int,
    px: float,
    py: float,
) -> tuple[float, float, float]:
    """Linear colour of triangle ``f`` at the image point (px, py)."""
    i, j, k = geometry.faces[f, 0], geometry.faces[f, 1], geometry.faces[f, 2]
    a, b, c, _ = barycentric(geometry.screen, i, j, k, px, py)
    x, y, z = interpolate(geometry.vertices, i, j, k, a, b, c)
    vx, vy, vz = direction_to(x, y, z, eye)
    nx, ny, nz = interpolate(geometry.normals, i, j, k, a, b, c)
    nx, ny, nz = facing_normal(nx, ny, nz, vx, vy, vz)
    red, green, blue = interpolate(geometry.colours, i, j, k, a, b, c)
    row = geometry.material_table[geometry.materials[f]]
    if row[0] >= 0:
        uv = geometry.face_uv[f]
        u = (a * uv[0, 0] + b * uv[1, 0] + c * uv[2, 0]) * row[1]
        v = (a * uv[0, 1] + b * uv[1, 1] + c * uv[2, 1]) * row[1] * row[5]
        tr, tg, tb = texel(geometry.textures, int(row[0]), u, v)
        red, green, blue = red * tr, green * tg, blue * tb
    sky = geometry.sky_visibility
    sky_visible = a * sky[i] + b * sky[j] + c * sky[k]
    d = light.direction
    cosine = d[0] * nx + d[1] * ny + d[2] * nz
    diffuse = max(0.0, (cosine + row[4]) / (1.0 + row[4]))
    specular, lit = 0.0, 0.0
    if diffuse > 0:
        lift = 0.012
        lx, ly, lz = x + nx * lift, y + ny * lift, z + nz * lift
        lit = lit_fraction(maps.key, maps.key_matrix, 0, lx, ly, lz, 0.012, 1)
        hx, hy, hz = d[0] + vx, d[1] + vy, d[2] + vz
        half = max(0.0, (nx * hx + ny * hy + nz * hz)) / math.sqrt(
            hx * hx + hy * hy + hz * hz + 1e-9
        )
        specular = row[2] * half ** row[3] * lit
    away = 1.0 - max(0.0, nx * vx + ny * vy + nz * vz)
    rim = row[2] * 0.6 * away * away * away * away * sky_visible
    sr, sg, sb = sky_light(light.harmonics, nx, ny, nz)
    key = light.colour
    return (
        red * (sr * sky_visible + key[0] * diffuse * lit) + specular * key[0] + rim * sr,
        green * (sg * sky_visible + key[1] * diffuse * lit) + specular * key[1] + rim * sg,
        blue * (sb * sky_visible + key[2] * diffuse * lit) + specular * key[2] + rim * sb,
    )
