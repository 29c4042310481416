"""Crops that show nobody: places without people, and what was taken for people before.

The pipeline asks a crop whether somebody is there; furniture, poles and coats must say no.
"""

from pathlib import Path

import cv2
import numpy as np

from thfm_ros.training.augmentation.busy_surfaces import draw_facades
from thfm_ros.training.augmentation.geometric import similarity
from thfm_ros.training.augmentation.photometric import apply_photometric, draw_photometric
from thfm_ros.training.augmentation.thin_objects import draw_sticks
from thfm_ros.training.crop_samples import PADDING, Sample
from thfm_ros.training.frame_samples import empty_sample
from thfm_ros.training.shard_store import Store

TRIES = 5  # places that are looked at, of which the one with most contrast is taken

MINED = 0.3
"""Share of mistakes among the crops without people, where mistakes were gathered."""


class Nobody:
    """Where crops without people come from.

    Args:
        frames: rendered whole frames.
        mistakes: what `thfm_ros.evaluation.hard_negative_mining` wrote, u8 [n, h, w, 3];
            None where there is no such file.
    """

    def __init__(self, frames: Store, mistakes: Path | None = None) -> None:
        self._frames = frames
        self._mistakes = None if mistakes is None else np.load(mistakes, mmap_mode="r")

    def draw(self, rng: np.random.Generator, size: int) -> Sample:
        """One crop, as a clip of one frame."""
        mistakes = self._mistakes
        if mistakes is not None and len(mistakes) and rng.random() < MINED:
            return mistaken_sample(np.asarray(mistakes[rng.integers(len(mistakes))]), rng, size)
        return nobody_sample(self._frames, rng, size)


def mistaken_sample(taken: np.ndarray, rng: np.random.Generator, size: int) -> Sample:
    """A crop that was taken for a person, u8 [h w 3], mirrored, zoomed and shifted a little."""
    zoom = size / taken.shape[0] * float(np.exp(rng.normal(0, 0.1)))
    middle = np.full(2, (size - 1) / 2) + rng.normal(0, 0.04, 2) * size
    mirrored = bool(rng.random() < 0.5)
    matrix = similarity((taken.shape[1], taken.shape[0]), middle, zoom, mirrored=mirrored)
    moved = cv2.warpAffine(taken, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)
    return empty_sample(
        apply_photometric(moved.astype(np.float32), draw_photometric(rng, 0.8), rng)
    )


def nobody_sample(store: Store, rng: np.random.Generator, size: int) -> Sample:
    """A crop of a rendered whole frame that shows things but nobody, as a clip of one frame."""
    rgb, most = np.full((size, size, 3), PADDING, np.uint8), -1.0
    for _ in range(TRIES):
        ref = store.frames[rng.integers(len(store))]
        people = store.read("instances", ref)
        h, w = people.shape
        side = int(np.exp(rng.uniform(np.log(h / 6), np.log(h))))
        x, y = int(rng.integers(0, w - side + 1)), int(rng.integers(0, h - side + 1))
        if people[y : y + side, x : x + side].any():
            continue
        seen = np.asarray(store.read("rgb", ref)[y : y + side, x : x + side])
        if seen.std() > most:  # what has edges is more easily mistaken
            rgb, most = seen, float(seen.std())
    drawn = cv2.resize(rgb, (size, size)).astype(np.float32)
    if rng.random() < 0.3:
        draw_facades(rng, drawn)
    if rng.random() < 0.5:
        draw_sticks(rng, drawn)
    return empty_sample(apply_photometric(drawn, draw_photometric(rng, 0.8), rng))
