"""What is behind everything: a floor under a sky, a room, or a flat image."""

import math
from typing import NamedTuple

import numpy as np

from thfm_ros.synth.primitives.jit import inlined, kernel
from thfm_ros.synth.shading.light import LightMaps
from thfm_ros.synth.shading.shade import Drawn, Lamps, lit_share, sky_light, surface_colour, texel

OUTDOORS, ROOM, IMAGE = 0, 1, 2
FADE_START_M, FADE_LENGTH_M = 8.0, 22.0  # where the floor begins to blend into the sky


class Backdrop(NamedTuple):
    """The place, as the kernels take it. The room is centred on the world's z axis."""

    mode: int
    half: np.ndarray  # float64 [3]: half width, half depth, height of the room, metres
    floor_texture: int
    wall_texture: int
    floor_repeat: float  # textures per metre
    wall_repeat: float
    # What is flat on the walls: float32 [n, 7]: side (0 +x, 1 -x, 2 +y, 3 -y, 4 ceiling), from and
    # to across, from and to upwards (metres), texture (-1 white), factor on its light.
    fixtures: np.ndarray
    panorama: np.ndarray  # float32 [h, w, 3], linear light
    turn: float  # of the panorama, share of a circle
    gain: float  # on the panorama
    image: np.ndarray  # float32 [h, w, 3], linear; for IMAGE
    image_place: np.ndarray  # float64 [3]: left, top, and how much of the image is seen


class Camera(NamedTuple):
    """One frame's camera at one resolution."""

    rotation: np.ndarray  # float64 [3, 3], camera from world
    position: np.ndarray  # float64 [3], world
    lens: np.ndarray  # float64 [4]: fx, fy, cx, cy in pixels


@inlined
def ray(camera: Camera, px: float, py: float) -> tuple[float, float, float]:
    """World direction through a point of the image, one metre deep along the optical axis."""
    x = (px - camera.lens[2]) / camera.lens[0]
    y = (py - camera.lens[3]) / camera.lens[1]
    r = camera.rotation
    return (
        r[0, 0] * x + r[1, 0] * y + r[2, 0],
        r[0, 1] * x + r[1, 1] * y + r[2, 1],
        r[0, 2] * x + r[1, 2] * y + r[2, 2],
    )


@inlined
def hit(
    place: Backdrop, eye: np.ndarray, dx: float, dy: float, dz: float
) -> tuple[int, float, float, float, float]:
    """What a ray meets: 0 nothing, 1 floor, 2 and 3 walls, 4 ceiling; depth; normal."""
    kind, depth, nx, ny, nz = 0, 1e9, 0.0, 0.0, 0.0
    if place.mode == 2:
        return kind, depth, nx, ny, nz
    if dz < -1e-6:
        kind, depth, nz = 1, -eye[2] / dz, 1.0
    if place.mode == 1:
        if dz > 1e-6:
            kind, depth, nz = 4, (place.half[2] - eye[2]) / dz, -1.0
        if abs(dx) > 1e-6:
            side = place.half[0] if dx > 0 else -place.half[0]
            if (side - eye[0]) / dx < depth:
                kind, depth, nx, nz = 2, (side - eye[0]) / dx, -math.copysign(1.0, dx), 0.0
        if abs(dy) > 1e-6:
            side = place.half[1] if dy > 0 else -place.half[1]
            if (side - eye[1]) / dy < depth:
                kind, depth, nx, nz = 3, (side - eye[1]) / dy, 0.0, 0.0
                ny = -math.copysign(1.0, dy)
    return kind, depth, nx, ny, nz


@inlined
def sky_colour(place: Backdrop, dx: float, dy: float, dz: float) -> tuple[float, float, float]:
    """Bilinear look-up in the panorama."""
    p = place.panorama
    height, width = p.shape[0], p.shape[1]
    inverse = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz)
    u = math.atan2(dy, dx) / (2 * math.pi) + place.turn
    v = math.acos(min(1.0, max(-1.0, dz * inverse))) / math.pi
    u = (u - math.floor(u)) * width - 0.5
    v = min(max(v * height - 0.5, 0.0), height - 1.001)
    i, j = math.floor(u), int(v)
    a, b, gain = u - i, v - j, place.gain
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
def _structure_colour(
    place: Backdrop, drawn: Drawn, kind: int, nx: float, ny: float, x: float, y: float, z: float
) -> tuple[float, float, float]:
    """Albedo of floor, ceiling and walls, with what hangs on them and a dark skirting board."""
    across, up, side = x, y, 4
    number, repeat, glow = place.wall_texture, place.wall_repeat, 1.0
    if kind == 1:
        side, number, repeat = -1, place.floor_texture, place.floor_repeat
    elif kind == 2:
        across, up, side = y, z, 0 if nx < 0 else 1
    elif kind == 3:
        across, up, side = x, z, 2 if ny < 0 else 3
    elif kind == 4:
        number = -1
    if kind != 1 and kind != 4 and z < 0.09:
        glow = 0.45
    for n in range(place.fixtures.shape[0]):
        if int(place.fixtures[n, 0]) == side:
            left, right = place.fixtures[n, 1], place.fixtures[n, 2]
            low, high = place.fixtures[n, 3], place.fixtures[n, 4]
            if left < across and across < right and low < up and up < high:
                number, repeat, glow = int(place.fixtures[n, 5]), 1.0, place.fixtures[n, 6]
                across, up = (across - left) / (right - left), (up - low) / (high - low)
                break
    if number < 0:
        return 0.85 * glow, 0.85 * glow, 0.85 * glow
    red, green, blue = texel(drawn.textures, number, across * repeat, -up * repeat)
    return red * glow, green * glow, blue * glow


@kernel
def ground_light(
    place: Backdrop, maps: LightMaps, camera: Camera, step: int, out: np.ndarray
) -> None:
    """Contact shadows on the place, once per ``step`` x ``step`` samples.

    ``out`` is float32 [h, w, 2]: share of the sky that is seen, and of the key light that arrives.
    """
    key, key_matrix, sky, sky_matrix = maps.key, maps.key_matrix, maps.sky, maps.sky_matrix
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            dx, dy, dz = ray(camera, (column + 0.5) * step, (row + 0.5) * step)
            kind, depth, _, _, _ = hit(place, camera.position, dx, dy, dz)
            out[row, column, 0], out[row, column, 1] = 1.0, 1.0
            if kind == 0:
                continue
            x = camera.position[0] + dx * depth
            y = camera.position[1] + dy * depth
            z = camera.position[2] + dz * depth
            out[row, column, 1] = lit_share(key, key_matrix, 0, x, y, z, 0.02, 2)
            seen = 0.0
            for n in range(sky.shape[0]):
                seen += lit_share(sky, sky_matrix, n, x, y, z, 0.02, 1)
            out[row, column, 0] = 0.3 + 0.7 * seen / sky.shape[0]


@inlined
def structure(
    place: Backdrop,
    drawn: Drawn,
    lamps: Lamps,
    camera: Camera,
    px: float,
    py: float,
    open_: float,
    lit: float,
) -> tuple[float, float, float]:
    """Linear colour of the place under a point of the image."""
    dx, dy, dz = ray(camera, px, py)
    eye = camera.position
    kind, depth, nx, ny, nz = hit(place, eye, dx, dy, dz)
    if kind == 0:
        return sky_colour(place, dx, dy, dz)
    x, y, z = eye[0] + dx * depth, eye[1] + dy * depth, eye[2] + dz * depth
    red, green, blue = _structure_colour(place, drawn, kind, nx, ny, x, y, z)
    straight = max(0.0, lamps.direction[0] * nx + lamps.direction[1] * ny + lamps.direction[2] * nz)
    if place.mode == 1:  # corners of a room are darker
        edge = min(place.half[0] - abs(x), place.half[1] - abs(y))
        if kind < 4 and kind > 1:
            edge = min(z, place.half[2] - z)
        open_ *= 0.65 + 0.35 * min(1.0, max(edge, 0.0) / 0.6)
        straight *= 0.7
    sr, sg, sb = sky_light(lamps.harmonics, nx, ny, nz)
    key = lamps.colour
    red *= sr * open_ + key[0] * straight * lit
    green *= sg * open_ + key[1] * straight * lit
    blue *= sb * open_ + key[2] * straight * lit
    if place.mode == 0:
        fade = min(1.0, max(0.0, (depth - FADE_START_M) / FADE_LENGTH_M))
        if fade > 0:
            r, g, b = sky_colour(place, dx, dy, dz)
            red, green, blue = (
                red + fade * (r - red),
                green + fade * (g - green),
                blue + fade * (b - blue),
            )
    return red, green, blue


@inlined
def image_colour(p: np.ndarray, u: float, v: float) -> tuple[float, float, float]:
    """Bilinear look-up in an image; u and v are 0..1 across it."""
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
def paint(
    triangles: np.ndarray,
    drawn: Drawn,
    lamps: Lamps,
    maps: LightMaps,
    place: Backdrop,
    camera: Camera,
    ground: np.ndarray,
    out: np.ndarray,
) -> None:
    """Colour every pixel of ``out`` float32 [h, w, 3], linear light.

    ``ground`` comes from ``ground_light``, at a whole fraction of the size.
    """
    height, width = triangles.shape
    step = height // ground.shape[0]
    for y in range(height):
        for x in range(width):
            px, py = x + 0.5, y + 0.5
            f = triangles[y, x]
            if f >= 0:
                r, g, b = surface_colour(drawn, lamps, maps, camera.position, f, px, py)
            elif place.mode == 2:
                q = place.image_place
                u, v = q[0] + px / width * q[2], q[1] + py / height * q[2]
                r, g, b = image_colour(place.image, u, v)
            else:
                open_, lit = ground[y // step, x // step, 0], ground[y // step, x // step, 1]
                r, g, b = structure(place, drawn, lamps, camera, px, py, open_, lit)
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = r, g, b
