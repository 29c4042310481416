"""Images without people, to stand behind people, in front of them, or alone."""

import itertools
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32

from thfm_ros.training.augmentation.busy_surfaces import draw_facades
from thfm_ros.training.augmentation.thin_objects import draw_sticks

STICKS = 0.35
"""Share of the backgrounds in which thin things stand."""

BUSY = 0.4
"""Share of the backgrounds with writing, windows, shelves and the like."""

PATCHED = 0.15
"""Share of the backgrounds that are four to sixteen images side by side: more edges, smaller."""


class Backgrounds:
    """A memory-mapped stack of backgrounds, ``backgrounds.npy`` [n h w 3] uint8."""

    def __init__(self, path: Path) -> None:
        self._stack = np.load(path, mmap_mode="r")

    def draw(
        self, rng: np.random.Generator, width: int, height: int
    ) -> Float32[np.ndarray, "h w 3"]:
        """A random part of a random image, sometimes two of them side by side, 0..255."""
        patched = rng.random() < PATCHED
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
        if rng.random() < BUSY:
            draw_facades(rng, tinted)
        if rng.random() < STICKS:
            draw_sticks(rng, tinted)
        return tinted

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
