# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Procedural, tiling textures: fabric, hair, floors and walls. Linear light, 0..1."""

from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, Float32

SIZE = 128
Colour = Float[np.ndarray, "3"]
Texture = Float32[np.ndarray, "128 128 3"]
_TEXEL_YX = (np.mgrid[:SIZE, :SIZE] / SIZE).astype(np.float32)  # y and x of each texel, 0..1
_FIELDS_PER_KIND = 12  # noise fields per kind; each use is rolled and transposed at random

# Common colours of clothes, linear light: black, greys, white, navy, denim, beige, olive, wine.
_CLOTHING_COLOURS = np.array(
    [
        [0.012, 0.012, 0.014], [0.03, 0.03, 0.032], [0.09, 0.09, 0.095], [0.25, 0.25, 0.25],
        [0.72, 0.71, 0.69], [0.012, 0.018, 0.045], [0.05, 0.085, 0.16], [0.13, 0.2, 0.31],
        [0.45, 0.36, 0.25], [0.19, 0.13, 0.08], [0.06, 0.07, 0.035], [0.13, 0.012, 0.02],
        [0.02, 0.07, 0.055], [0.35, 0.05, 0.05], [0.28, 0.42, 0.55], [0.55, 0.35, 0.38],
    ]
)  # fmt: skip
_CLOTHING_SHARE = np.array([4, 3, 2.5, 2, 3, 3, 2.5, 1.5, 1.5, 1, 1, 1, 0.7, 0.8, 1, 0.8])


def tiling_noise(
    rng: np.random.Generator, octaves: int, roughness: float
) -> Float32[np.ndarray, "n n"]:
    """A tiling noise field of mean 0 and deviation 1; octave k has weight 2^(-k roughness)."""
    field = _noise_fields(octaves, roughness)[rng.integers(_FIELDS_PER_KIND)]
    field = np.roll(field, tuple(rng.integers(SIZE, size=2)), axis=(0, 1))
    return field.T if rng.random() < 0.5 else field


@lru_cache(maxsize=16)
def _noise_fields(octaves: int, roughness: float) -> list[np.ndarray]:
    rng = np.random.default_rng((octaves, round(100 * roughness)))
    return [_octave_noise(rng, octaves, roughness) for _ in range(_FIELDS_PER_KIND)]


def _octave_noise(rng: np.random.Generator, octaves: int, roughness: float) -> np.ndarray:
    total = np.zeros((SIZE, SIZE))
    for octave in range(octaves):
        cells = min(2 ** (octave + 2), SIZE)
        grid = np.pad(rng.standard_normal((cells, cells)), 2, "wrap")
        scale = SIZE // cells
        large = cv2.resize(grid, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        total += large[2 * scale :, 2 * scale :][:SIZE, :SIZE] * 2.0 ** (-octave * roughness)
    out: np.ndarray = ((total - total.mean()) / (total.std() + 1e-6)).astype(np.float32)
    return out


def random_colour(rng: np.random.Generator, saturation: float | None = None) -> Colour:
    """A colour of any hue, more often muted than saturated."""
    saturation = rng.beta(1.2, 2.2) if saturation is None else saturation
    hue, value = rng.random() * 6, rng.beta(1.5, 1.3) * 0.9 + 0.04
    wheel = np.clip(np.abs((hue + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    out: np.ndarray = (value * (1 - saturation + saturation * wheel)) ** 1.6
    return out


def clothing_colour(rng: np.random.Generator) -> Colour:
    """A common colour of clothes; one in three is a random colour."""
    if rng.random() < 0.33:
        return random_colour(rng)
    base = _CLOTHING_COLOURS[
        rng.choice(len(_CLOTHING_COLOURS), p=_CLOTHING_SHARE / _CLOTHING_SHARE.sum())
    ]
    out: np.ndarray = np.clip(
        base * np.exp(rng.normal(0, 0.25) + rng.normal(0, 0.08, 3)), 0.006, 0.85
    )
    return out


def fabric_texture(rng: np.random.Generator, plain: float = 0.55) -> Texture:
    """A fabric: plain with probability ``plain``, else striped, checked, dotted or blotched."""
    first, second, third = (clothing_colour(rng) for _ in range(3))
    y, x = _TEXEL_YX
    out = np.broadcast_to(first.astype(np.float32), (SIZE, SIZE, 3)).copy()
    pattern = "plain" if rng.random() < plain else str(rng.choice(_PATTERNS))
    if pattern == "stripes":
        along = x if rng.random() < 0.5 else y
        out[(along * rng.integers(3, 14)) % 1 < rng.uniform(0.12, 0.55)] = second
    elif pattern == "checks":
        count = rng.integers(2, 8)
        bands = ((x * count) % 1 < 0.45, (y * count) % 1 < 0.45)
        out *= (1 - 0.4 * bands[0][..., None]) * (1 - 0.4 * bands[1][..., None])
        out[((x * count) % 1 < 0.06) | ((y * count) % 1 < 0.06)] = second
    elif pattern == "dots":
        count = rng.integers(4, 12)
        near = np.hypot((x * count) % 1 - 0.5, (y * count) % 1 - 0.5)
        out[near < rng.uniform(0.12, 0.35)] = second
    elif pattern == "blotches":
        field = tiling_noise(rng, 3, 1.0)
        out[field > 0.4] = second
        out[field < -0.6] = third
    elif pattern == "print":  # a block of another colour on the chest
        low, high = np.sort(rng.uniform(0, 1, 2))
        out[(y > low) & (y < high) & (np.abs(x - rng.uniform(0.2, 0.8)) < 0.12)] = second
    out *= 1 + 0.06 * tiling_noise(rng, 5, 0.3)[..., None]
    out *= 1 + np.float32(rng.uniform(0.03, 0.14)) * tiling_noise(rng, 3, 1.0)[..., None]
    result: np.ndarray = np.clip(out, 0.004, 1).astype(np.float32)
    return result


_PATTERNS = ("stripes", "checks", "dots", "blotches", "print")


# Colours of floors, walls and furniture, linear light: pale, brown and dark wood, concrete,
# asphalt, stone, brick, carpet, white, grey, black, grass, sand, steel.
_BUILDING_COLOURS = np.array(
    [
        [0.42, 0.27, 0.14], [0.22, 0.12, 0.055], [0.07, 0.037, 0.02], [0.3, 0.29, 0.27],
        [0.055, 0.055, 0.058], [0.2, 0.18, 0.15], [0.25, 0.09, 0.055], [0.42, 0.35, 0.26],
        [0.7, 0.69, 0.66], [0.13, 0.13, 0.135], [0.018, 0.018, 0.02], [0.07, 0.11, 0.028],
        [0.46, 0.37, 0.25], [0.16, 0.18, 0.21],
    ]
)  # fmt: skip


def material_colour(rng: np.random.Generator) -> Colour:
    """A common colour of building materials; one in five is a random colour."""
    if rng.random() < 0.2:
        out: np.ndarray = np.clip(random_colour(rng, rng.beta(1, 4)) + 0.03, 0, 0.9)
        return out
    base = _BUILDING_COLOURS[rng.integers(len(_BUILDING_COLOURS))]
    found: np.ndarray = np.clip(
        base * np.exp(rng.normal(0, 0.3) + rng.normal(0, 0.06, 3)), 0.01, 0.85
    )
    return found


def material_texture(rng: np.random.Generator) -> Texture:
    """Texture of a floor, wall or object: plain, planks, tiles, checks, concrete or carpet."""
    y, x = _TEXEL_YX
    colour = material_colour(rng)
    out = np.broadcast_to(colour.astype(np.float32), (SIZE, SIZE, 3)).copy()
    kind = rng.choice(6, p=_MATERIAL_SHARE)
    if kind == 1:
        planks = rng.uniform(0.75, 1.25, 8).astype(np.float32)
        out *= planks[(y * 8).astype(int)][..., None]
        out *= (1 - 0.6 * ((y * 8) % 1 < 0.05))[..., None]
    elif kind == 2:
        out *= np.where(((x * 4) % 1 < 0.03) | ((y * 4) % 1 < 0.03), 0.55, 1)[..., None]
    elif kind == 3:
        odd = ((x * 4).astype(int) + (y * 4).astype(int)) % 2
        out *= np.where(odd, np.float32(rng.uniform(0.5, 0.9)), np.float32(1))[..., None]
    elif kind == 4:
        out *= np.exp(np.float32(rng.uniform(0.05, 0.22)) * tiling_noise(rng, 6, 0.1))[..., None]
    elif kind == 5:
        out = np.where(
            (tiling_noise(rng, 4, 0.8) > 0.3)[..., None], out, 0.5 * (out + material_colour(rng))
        ).astype(np.float32)
    # Coarse stains must stay faint: strong ones look like clouds, unlike any floor.
    out *= 1 + np.float32(rng.uniform(0.01, 0.06)) * tiling_noise(rng, 3, 0.7)[..., None]
    out *= 1 + np.float32(rng.uniform(0.02, 0.12)) * tiling_noise(rng, 6, 0.0)[..., None]
    result: np.ndarray = np.clip(out, 0.01, 1).astype(np.float32)
    return result


_MATERIAL_SHARE = (0.3, 0.19, 0.19, 0.09, 0.18, 0.05)


def wall_texture(rng: np.random.Generator) -> Texture:
    """Plaster or wallpaper in a light colour; in a third of the cases any material."""
    if rng.random() < 0.33:
        return material_texture(rng)
    tint = [1, 1 - rng.uniform(0, 0.12), 1 - rng.uniform(0, 0.3)]  # lime, cream, ochre
    if rng.random() < 0.25:
        tint = list(1 - rng.uniform(0, 0.3, 3))
    colour = rng.uniform(0.35, 0.85) * np.array(tint)
    grain = 1 + np.float32(rng.uniform(0.01, 0.05)) * tiling_noise(rng, 6, 0.2)
    out: np.ndarray = np.clip(colour.astype(np.float32) * grain[..., None], 0.01, 1)
    return out


_HAIR = np.array(
    [
        [0.012, 0.009, 0.007], [0.03, 0.017, 0.01], [0.08, 0.04, 0.02], [0.2, 0.11, 0.045],
        [0.4, 0.27, 0.12], [0.28, 0.27, 0.26], [0.14, 0.045, 0.018], [0.5, 0.5, 0.5],
    ]
)  # fmt: skip
_HAIR_SHARE = np.array([0.31, 0.22, 0.17, 0.1, 0.08, 0.05, 0.04, 0.03])


def hair_texture(rng: np.random.Generator) -> tuple[Texture, Colour]:
    """A texture with strands along y, and its mean colour."""
    base = _HAIR[rng.choice(len(_HAIR), p=_HAIR_SHARE)] * np.exp(rng.normal(0, 0.15))
    strands = cv2.resize(rng.standard_normal((2, SIZE)), (SIZE, SIZE))
    shade = 0.35 * strands + 0.25 * tiling_noise(rng, 3, 1.0)
    return np.clip(base * np.exp(0.55 * shade)[..., None], 0.003, 1).astype(np.float32), base
