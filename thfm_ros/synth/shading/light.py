# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Lighting: a panorama for the sky, one key light, and their shadow maps."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from thfm_ros.synth.pack import Panorama
from thfm_ros.synth.primitives.jit import kernel
from thfm_ros.synth.primitives.rotation import normalized
from thfm_ros.synth.primitives.texture import material_colour, random_colour, tiling_noise
from thfm_ros.synth.shading.raster import rasterize_depth

# Directions from which the sky's shadow maps are rendered, for ambient occlusion.
SKY_DIRECTIONS = normalized(
    np.array([[0.3, -0.8, 0.8], [0.9, 0.3, 0.7], [-0.8, 0.4, 0.8], [-0.2, 0.1, 1]])
)
DEPTH_SHIFT = 100.0  # metres added to shadow-map values, where zero means that nothing occludes


@dataclass(frozen=True)
class Lighting:
    """The lighting of a scene, without shadows."""

    harmonics: Float32[np.ndarray, "9 3"]  # of the sky's irradiance over pi
    key_direction: Float32[np.ndarray, "3"]  # towards the lamp or the sun
    key_colour: Float32[np.ndarray, "3"]
    panorama: Float32[np.ndarray, "h w 3"]  # the visible sky, to be multiplied by ``gain``
    azimuth: float  # of the panorama about z, as a share of a full circle
    gain: float


class ShadowMaps(NamedTuple):
    """Orthographic depth maps from the key light and from SKY_DIRECTIONS.

    A matrix takes a world point to column, row, and position along the light's axis (metres
    towards the light, plus DEPTH_SHIFT).
    """

    key: np.ndarray  # float32 [1, s, s]
    key_matrix: np.ndarray  # float32 [1, 3, 4]
    sky: np.ndarray  # float32 [n, s, s]
    sky_matrix: np.ndarray  # float32 [n, 3, 4]


def decode_panorama(codes: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    """Linear light of a stored panorama: the inverse of ``baking.light.encode_panorama``."""
    return np.where(codes == 0, 0, np.exp2(codes.astype(np.float32) / 14 - 12)).astype(np.float32)


def random_lighting(rng: np.random.Generator, panoramas: tuple[Panorama, ...]) -> Lighting:
    """A panorama at a random azimuth (a procedural one if there is none), and a key light."""
    if panoramas and rng.random() < 0.85:
        panorama, reduced = _decoded_panorama(panoramas[rng.integers(len(panoramas))])
    else:
        panorama = reduced = procedural_panorama(rng)
    azimuth = rng.random()
    reduced = np.roll(reduced, -int(azimuth * reduced.shape[1]), axis=1)
    harmonics, directions = spherical_harmonics(np.minimum(reduced, 20))
    bright = cv2.GaussianBlur(reduced.mean(axis=2) * (directions[..., 2] > 0.05), (0, 0), 1)
    key = directions.reshape(-1, 3)[int(np.argmax(bright))].copy()
    if rng.random() < 0.5:  # a lamp in a direction independent of the panorama
        key = np.array([rng.normal(), rng.normal() - 0.6, rng.uniform(0.3, 1.6)])
    key = normalized(key)
    key[2] = max(key[2], 0.15)
    ambient = max(float(harmonics[0].mean()) * 0.886, 1e-3)
    tint = [1, rng.uniform(0.82, 1), rng.uniform(0.65, 1.05)]
    return Lighting(
        harmonics=(harmonics / ambient * rng.uniform(0.3, 0.8)).astype(np.float32),
        key_direction=normalized(key).astype(np.float32),
        key_colour=(rng.uniform(0.1, 1.3) * np.array(tint)).astype(np.float32),
        panorama=panorama,
        azimuth=azimuth,
        gain=0.55 / ambient,
    )


def indoor_lighting(lighting: Lighting) -> Lighting:
    """The same lighting after reflection by the walls of a room: nearly grey and diffuse.

    Otherwise a ceiling, lit by the ground of an outdoor panorama, would take the colour of grass.
    """
    grey = lighting.harmonics.mean(axis=1, keepdims=True)
    harmonics = (0.75 * grey + 0.25 * lighting.harmonics) * np.array([[1.0], *[[0.6]] * 8])
    return replace(lighting, harmonics=harmonics.astype(np.float32))


_DECODED_PANORAMAS: dict[int, tuple[Panorama, np.ndarray, np.ndarray]] = {}


def _decoded_panorama(source: Panorama) -> tuple[np.ndarray, np.ndarray]:
    """Linear light of a panorama, full size and reduced; decoded once per process."""
    if id(source) not in _DECODED_PANORAMAS:  # kept alive there, so that its id stays unique
        linear = decode_panorama(source.codes)
        _DECODED_PANORAMAS[id(source)] = (
            source,
            linear,
            cv2.resize(linear, (128, 64), interpolation=cv2.INTER_AREA),
        )
    return _DECODED_PANORAMAS[id(source)][1:]


# Clear, hazy, overcast and evening skies; a white, a grey and a dark hall.
_SKY_COLOURS = np.array(
    [
        [0.22, 0.4, 0.8], [0.4, 0.52, 0.7], [0.6, 0.63, 0.66], [0.75, 0.5, 0.36],
        [0.7, 0.68, 0.63], [0.3, 0.3, 0.3], [0.1, 0.095, 0.09],
    ]
)  # fmt: skip


def procedural_panorama(rng: np.random.Generator) -> Float32[np.ndarray, "128 256 3"]:
    """A procedural panorama: sky, clouds and sun over a ground, or a hall with lamps."""
    height, width = 128, 256
    up = np.cos((np.arange(height) + 0.5) / height * np.pi)[:, None, None]
    clouds = cv2.resize(tiling_noise(rng, 4, 1.0), (width, height))[..., None]
    sky = _SKY_COLOURS[rng.integers(len(_SKY_COLOURS))] * np.exp(
        rng.normal(0, 0.2) + rng.normal(0, 0.08, 3)
    )
    ground = material_colour(rng) * 0.7
    out = np.where(
        up > 0, sky * (1.2 - 0.6 * up) + 0.15 * clouds.clip(0), ground * (1 + 0.2 * clouds)
    )
    for _ in range(rng.integers(1, 7)):  # lamps, windows, a sun
        x, y = rng.integers(width), int(rng.uniform(0.05, 0.5) * height)
        w, h = rng.integers(2, 22, 2)
        glow = random_colour(rng, 0.15) * np.exp(rng.uniform(0.5, 3.5))
        out[max(y - h, 0) : y + h, max(x - w, 0) : x + w] += glow
    result: np.ndarray = np.clip(out, 0.01, 60).astype(np.float32)
    return result


def spherical_harmonics(
    panorama: Float32[np.ndarray, "h w 3"],
) -> tuple[Float[np.ndarray, "9 3"], Float[np.ndarray, "h w 3"]]:
    """The first nine coefficients of a panorama over pi, and the direction of each pixel."""
    directions, basis = _sphere(panorama.shape[:2])
    return np.tensordot(basis, panorama.astype(np.float64), axes=([1, 2], [0, 1])), directions


@lru_cache(maxsize=4)
def _sphere(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    height, width = shape
    polar = ((np.arange(height) + 0.5) / height * np.pi)[:, None]
    azimuth = ((np.arange(width) + 0.5) / width * 2 * np.pi)[None]
    x, y = np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth)
    z = np.broadcast_to(np.cos(polar), x.shape)
    solid_angle = np.broadcast_to(np.sin(polar) * (np.pi / height) * (2 * np.pi / width), x.shape)
    basis = [
        0.282095 + 0 * x, 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y,
        1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z, 0.546274 * (x * x - y * y),
    ]  # fmt: skip
    return np.stack([x, y, z], axis=-1), np.stack(basis) * solid_angle / np.pi


def render_shadow_maps(
    vertices: Float32[np.ndarray, "v 3"],
    faces: np.ndarray,
    key_direction: Float32[np.ndarray, "3"],
    centre: Float[np.ndarray, "3"],
    extent: float,
    *,
    key_size: int = 256,
    sky_size: int = 80,
) -> ShadowMaps:
    """Render the shadow maps of a mesh from the key light and from SKY_DIRECTIONS.

    Args:
        vertices: vertices, world, metres.
        faces: triangles [f, 3].
        key_direction: unit vector towards the key light.
        centre: centre of the mapped region, world.
        extent: side length of the mapped region, metres.
        key_size: side of the key light's map, pixels.
        sky_size: side of each of the sky's maps, pixels.
    """
    key_matrix = _orthographic_matrix(key_direction, centre, extent, key_size)[None]
    sky_matrix = np.stack(
        [_orthographic_matrix(direction, centre, extent, sky_size) for direction in SKY_DIRECTIONS]
    )
    key = np.zeros((1, key_size, key_size), np.float32)
    sky = np.zeros((len(sky_matrix), sky_size, sky_size), np.float32)
    screen = np.empty_like(vertices)
    for matrix, image in zip((*key_matrix, *sky_matrix), (*key, *sky), strict=True):
        _transform(vertices, matrix, screen)
        rasterize_depth(screen, faces, image)
    return ShadowMaps(key, key_matrix, sky, sky_matrix)


def _orthographic_matrix(
    direction: np.ndarray, centre: np.ndarray, extent: float, size: int
) -> Float32[np.ndarray, "3 4"]:
    """Matrix from world to pixels and depth (+ DEPTH_SHIFT) of an orthographic map."""
    forward = normalized(np.asarray(direction, float))
    across = normalized(np.cross(forward, [0.3, 0.1, 1.0]))
    axes = np.stack([across, np.cross(forward, across), forward])
    axes[:2] *= size / extent
    shift = np.array([size / 2, size / 2, DEPTH_SHIFT]) - axes @ np.asarray(centre, float)
    return np.concatenate([axes, shift[:, None]], axis=1).astype(np.float32)


@kernel
def _transform(vertices: np.ndarray, m: np.ndarray, out: np.ndarray) -> None:
    for v in range(vertices.shape[0]):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        for row in range(3):
            out[v, row] = m[row, 0] * x + m[row, 1] * y + m[row, 2] * z + m[row, 3]
