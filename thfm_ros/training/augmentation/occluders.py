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
