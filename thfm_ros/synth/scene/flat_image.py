# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Flat background images: views of a panorama, and "dead leaves" images.

Dead leaves are overlapping shapes of power-law sizes, which have the statistics of real scenes
(edges at all scales, occlusion) without any photograph.
"""

import cv2
import numpy as np
from jaxtyping import Float32

from thfm_ros.synth.pack import Panorama
from thfm_ros.synth.primitives.texture import SIZE, fabric_texture, material_texture, random_colour
from thfm_ros.synth.shading.light import random_lighting

HEIGHT, WIDTH = 192, 256
TEXTURES_PER_IMAGE = 6  # textures per image
RgbImage = Float32[np.ndarray, "h w 3"]


def random_flat_image(rng: np.random.Generator, panoramas: tuple[Panorama, ...]) -> RgbImage:
    """Draw a background image, linear light, 0..1."""
    panorama = random_lighting(rng, panoramas).panorama
    if rng.random() < 0.33:
        return panorama_view(rng, panorama, HEIGHT, WIDTH)
    return dead_leaves(rng, panorama)


def panorama_view(
    rng: np.random.Generator, panorama: RgbImage, height: int, width: int
) -> RgbImage:
    """A perspective view of a panorama in a direction near the horizon, tone-mapped to 0..1."""
    half = np.tan(np.radians(rng.uniform(25, 80)) / 2)
    y, x = np.mgrid[:height, :width]
    across, down = (x / width * 2 - 1) * half, (y - height / 2) / (width / 2) * half
    pitch, angle = rng.normal(0, 0.25), rng.uniform(-np.pi, np.pi)
    ahead = np.cos(pitch) + down * np.sin(pitch)
    up = np.sin(pitch) - down * np.cos(pitch)
    length = np.sqrt(across**2 + ahead**2 + up**2)
    rows, columns = panorama.shape[:2]
    u = ((np.arctan2(across, ahead) + angle) / (2 * np.pi) % 1 * columns).astype(np.float32)
    v = (np.arccos(np.clip(up / length, -1, 1)) / np.pi * rows).astype(np.float32)
    view = cv2.remap(panorama, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    view = view / max(float(np.median(view)), 1e-3) * 0.3 * rng.uniform(0.4, 1.6)
    out: np.ndarray = np.clip(
        view * (2.51 * view + 0.03) / (view * (2.43 * view + 0.59) + 0.14), 0, 1
    )
    return out


def dead_leaves(
    rng: np.random.Generator, panorama: RgbImage, height: int = HEIGHT, width: int = WIDTH
) -> RgbImage:
    """Ellipses, boxes, polygons and strokes of power-law sizes over a background."""
    textures = [
        material_texture(rng) if rng.random() < 0.6 else fabric_texture(rng, 0.4)
        for _ in range(TEXTURES_PER_IMAGE)
    ]
    textured = rng.random() < 0.7
    out = (
        _tiled(rng, textures, height, width)
        if textured
        else panorama_view(rng, panorama, height, width)
    )
    out = np.ascontiguousarray(out, np.float32)
    for _ in range(int(np.exp(rng.uniform(np.log(4), np.log(120))))):
        mask = _shape_mask(rng, height, width)
        x, y, w, h = cv2.boundingRect(mask)
        if w and h:
            window = np.s_[y : y + h, x : x + w]
            cv2.copyTo(_fill(rng, textures, panorama, h, w), mask[window], out[window])
    if rng.random() < 0.4:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.5, 4) * height / 480)
    result: np.ndarray = np.clip(out, 0, 1).astype(np.float32)
    return result


def _fill(
    rng: np.random.Generator, textures: list[RgbImage], panorama: RgbImage, height: int, width: int
) -> RgbImage:
    """Fill of a shape: a colour, a texture or a view of the panorama, unevenly lit."""
    choice = rng.random()
    if choice < 0.35:
        colour = random_colour(rng, rng.beta(1, 3)).astype(np.float32)
        fill = np.broadcast_to(colour, (height, width, 3))
    elif choice < 0.85:
        tint = np.clip(random_colour(rng, rng.beta(1, 4)) * 1.6 + 0.1, 0, 1).astype(np.float32)
        fill = _tiled(rng, textures, height, width) * tint
    else:
        fill = panorama_view(rng, panorama, height, width)
    across = np.linspace(rng.uniform(0.6, 1.2), rng.uniform(0.6, 1.2), width, dtype=np.float32)
    down = np.linspace(rng.uniform(0.7, 1.2), rng.uniform(0.7, 1.2), height, dtype=np.float32)
    return (fill * (down[:, None, None] * across[:, None])).astype(np.float32)


def _shape_mask(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Mask of one random shape."""
    mask = np.zeros((height, width), np.uint8)
    size = height * np.clip(0.9 * (rng.pareto(1.3) + 0.06) * 0.15, 0.015, 0.8)
    stretch = np.exp(rng.normal(0, 0.9))
    centre = rng.uniform(-0.1, 1.1, 2) * [width, height]
    angle = float(rng.choice([0, 90, rng.uniform(0, 180)], p=[0.35, 0.25, 0.4]))
    w, h = size * stretch**0.5, size / stretch**0.5
    kind = rng.integers(5)
    centre_px = (int(centre[0]), int(centre[1]))
    if kind == 0:
        cv2.ellipse(mask, centre_px, (int(w) + 1, int(h) + 1), angle, 0, 360, 1, -1)
    elif kind in (1, 2):
        corners = cv2.boxPoints((tuple(centre), (2 * w, 2 * h), angle))
        cv2.fillPoly(mask, [corners.astype(np.int32)], 1)
    elif kind == 3:
        corners = centre + rng.normal(0, 1, (int(rng.integers(3, 8)), 2)) * [w, h]
        cv2.fillPoly(mask, [corners.astype(np.int32)], 1)
    else:
        points = np.cumsum(rng.normal(0, size * 0.7, (6, 2)), axis=0) + centre
        cv2.polylines(mask, [points.astype(np.int32)], False, 1, int(max(1, size * 0.12)))
    return mask


def _tiled(
    rng: np.random.Generator, textures: list[RgbImage], height: int, width: int
) -> Float32[np.ndarray, "h w 3"]:
    """One of the textures, rotated, scaled and repeated over an area."""
    texture = textures[rng.integers(len(textures))]
    zoom, angle = rng.uniform(0.3, 1.6), rng.uniform(0, np.pi)
    cosine, sine = np.cos(angle) / zoom, np.sin(angle) / zoom
    inverse = np.array(
        [[cosine, -sine, rng.uniform(0, SIZE)], [sine, cosine, rng.uniform(0, SIZE)]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (width, height)
    out = cv2.warpAffine(texture, inverse, size, flags=flags, borderMode=cv2.BORDER_WRAP)
    return np.asarray(out)
