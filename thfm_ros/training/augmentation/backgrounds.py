# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Images without people: backgrounds, textures of occluders, negative images."""

import itertools
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32

from thfm_ros.training.augmentation.busy_surfaces import draw_busy_surfaces
from thfm_ros.training.augmentation.thin_objects import draw_thin_objects

THIN_OBJECT_SHARE = 0.3
"""Share of the backgrounds with thin objects."""

BUSY_SHARE = 0.3
"""Share of the backgrounds with writing, windows, shelves and the like."""

PATCHWORK_SHARE = 0.08
"""Share of the backgrounds that are four to sixteen small images side by side, with more edges."""


class Backgrounds:
    """A memory-mapped stack of images, ``backgrounds.npy``, u8 [n h w 3]."""

    def __init__(self, path: Path) -> None:
        self._stack = np.load(path, mmap_mode="r")

    def draw(
        self, rng: np.random.Generator, width: int, height: int
    ) -> Float32[np.ndarray, "h w 3"]:
        """A random part of a random image, sometimes two of them side by side, tinted, 0..255."""
        patched = rng.random() < PATCHWORK_SHARE
        image = self._patchwork(rng, width, height) if patched else self._part(rng, width, height)
        if rng.random() < 0.2:
            other = self._part(rng, width, height)
            if rng.random() < 0.5:
                cut = int(rng.uniform(0.2, 0.8) * width)
                image[:, cut:] = other[:, cut:]
            else:
                cut = int(rng.uniform(0.2, 0.8) * height)
                image[cut:] = other[cut:]
        tint = rng.uniform(0.6, 1.3) * np.exp(rng.normal(0, 0.08, 3))
        tinted = np.clip(image * tint, 0, 255).astype(np.float32)
        if rng.random() < BUSY_SHARE:
            draw_busy_surfaces(rng, tinted)
        if rng.random() < THIN_OBJECT_SHARE:
            draw_thin_objects(rng, tinted)
        return tinted

    def draw_plain(
        self, rng: np.random.Generator, width: int, height: int
    ) -> Float32[np.ndarray, "h w 3"]:
        """A random part of a random image, 0..255, into which nothing is drawn."""
        return self._part(rng, width, height).astype(np.float32)

    def _patchwork(self, rng: np.random.Generator, width: int, height: int) -> np.ndarray:
        image = np.empty((height, width, 3), np.uint8)
        rows = _cuts(rng, height)
        for top, bottom in itertools.pairwise(rows):
            for left, right in itertools.pairwise(_cuts(rng, width)):
                image[top:bottom, left:right] = self._part(rng, right - left, bottom - top)
        return image

    def _part(self, rng: np.random.Generator, width: int, height: int) -> np.ndarray:
        whole = self._stack[rng.integers(len(self._stack))]
        h, w = whole.shape[:2]
        scale = min(w / width, h / height) * rng.uniform(0.4, 1.0)
        ph, pw = max(8, int(height * scale)), max(8, int(width * scale))
        y, x = rng.integers(0, h - ph + 1), rng.integers(0, w - pw + 1)
        part = cv2.resize(whole[y : y + ph, x : x + pw], (width, height))
        found: np.ndarray = part[:, ::-1].copy() if rng.random() < 0.5 else part
        return found


def _cuts(rng: np.random.Generator, length: int) -> list[int]:
    """Edges of two to four pieces of about the same length."""
    shares = rng.uniform(0.5, 1, int(rng.integers(2, 5)))
    edges = np.cumsum(shares) / shares.sum() * length
    return [0, *edges.round().astype(int).tolist()]
