# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Occluders in front of people, and borders where a crop leaves the camera's image."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from thfm_ros.training.augmentation.backgrounds import Backgrounds


@dataclass(frozen=True, slots=True)
class Occluder:
    """A flat shape in front of the scene that drifts through the clip."""

    outline: np.ndarray  # [n 2], pixels of the first frame
    drift: np.ndarray  # [2], pixels per frame
    fill: np.ndarray  # colour [3] or image [H W 3]

    def mask(self, size: int, frame: int) -> UInt8[np.ndarray, "size size"]:
        """1 where it occludes the scene in frame number ``frame``."""
        mask = np.zeros((size, size), np.uint8)
        cv2.fillPoly(mask, [(self.outline + self.drift * frame).astype(np.int32)], 1)
        return mask


def draw_occluders(
    rng: np.random.Generator, size: int, backgrounds: Backgrounds, share: float
) -> list[Occluder]:
    """One to three ellipses, boxes or irregular polygons for a ``share`` of the clips."""
    if rng.random() >= share:
        return []
    return [_occluder(rng, size, backgrounds) for _ in range(rng.integers(1, 4))]


def _occluder(rng: np.random.Generator, size: int, backgrounds: Backgrounds) -> Occluder:
    axes, centre = rng.uniform(0.06, 0.4, 2) * size / 2, rng.uniform(0, size, 2)
    kind = rng.integers(3)
    if kind == 0:
        angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        outline = np.stack([np.cos(angle), np.sin(angle)], 1) * axes
    elif kind == 1:
        outline = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1.0]]) * axes
    else:
        outline = rng.normal(0, 1, (6, 2)) * axes
    rotation = rng.uniform(0, np.pi)
    cos, sin = np.cos(rotation), np.sin(rotation)
    outline = outline @ np.array([[cos, sin], [-sin, cos]]) + centre
    fill = backgrounds.draw(rng, size, size) if rng.random() < 0.5 else rng.uniform(0, 255, 3)
    return Occluder(outline, rng.normal(0, 0.02, 2) * size, fill)


def draw_counter(
    rng: np.random.Generator, size: int, top: float, backgrounds: Backgrounds
) -> list[Occluder]:
    """A table or a counter whose upper edge is at y ``top`` (pixels), and things on it."""
    depth = size if rng.random() < 0.6 else rng.uniform(0.05, 0.3) * size
    low, high = rng.uniform(-0.3, 0.4) * size, rng.uniform(0.6, 1.3) * size
    if rng.random() < 0.6:
        low, high = 0.0, float(size)
    tilt = rng.normal(0, 0.03, 2) * size
    left, right = top + tilt
    quad = np.array([[low, left], [high, right], [high, top + depth], [low, top + depth]])
    colour = rng.uniform(0, 255, 3)
    share = rng.uniform(0, 0.8)
    fill = share * backgrounds.draw(rng, size, size) + (1 - share) * colour
    counter = Occluder(quad, np.zeros(2), fill)
    things = []
    for _ in range(int(rng.integers(0, 5))):
        tall = float(np.exp(rng.uniform(np.log(0.03), np.log(0.2)))) * size
        wide = tall * float(np.exp(rng.normal(-0.4, 0.5)))
        x, foot = rng.uniform(low, high), top + rng.uniform(0, 0.06) * size
        outline = np.array([[-1, 0], [-0.8, -1], [0.8, -1], [1, 0]]) * [wide / 2, tall]
        fill = backgrounds.draw(rng, size, size) if rng.random() < 0.6 else rng.uniform(0, 255, 3)
        things.append(Occluder(outline + np.array([x, foot]), np.zeros(2), fill))
    return [counter, *things]


def draw_window(rng: np.random.Generator, size: int) -> Bool[np.ndarray, "size size"]:
    """Where the crop of a close-up leaves the camera's image, mostly at several sides."""
    low, high = rng.uniform(0.04, 0.25, 2) * size, rng.uniform(0.75, 0.96, 2) * size
    low, high = (np.where(rng.random(2) < 0.6, edge, end) for edge, end in ((low, 0), (high, size)))
    border = np.ones((size, size), bool)
    border[int(low[1]) : int(high[1]), int(low[0]) : int(high[0])] = False
    return border


def draw_border(rng: np.random.Generator, size: int) -> Bool[np.ndarray, "size size"] | None:
    """Where a crop leaves the camera's image; None for seven samples in eight."""
    if rng.random() > 0.125:
        return None
    depth, border = int(rng.uniform(0.04, 0.35) * size), np.zeros((size, size), bool)
    side = rng.integers(4)
    if side == 0:
        border[:depth] = True
    elif side == 1:
        border[-depth:] = True
    elif side == 2:
        border[:, :depth] = True
    else:
        border[:, -depth:] = True
    return border
