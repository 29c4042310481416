# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Crops without a person: backgrounds, parts of rendered frames, and mined hard negatives.

The pipeline asks of each crop whether there is a person; furniture, poles and coats must not be
taken for one.
"""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.contract import PADDING_GREY
from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.augmentation.busy_surfaces import draw_busy_surfaces
from thfm_ros.training.augmentation.geometric import similarity
from thfm_ros.training.augmentation.photometric import apply_photometric, draw_photometric
from thfm_ros.training.augmentation.thin_objects import draw_thin_objects
from thfm_ros.training.crop_samples import CropSample
from thfm_ros.training.frame_samples import empty_sample
from thfm_ros.training.shard_store import Store
from thfm_ros.training.target_cues import cue_of_false_positive

ATTEMPTS = 5
"""Random places per crop, of which the one with the highest contrast is taken."""

HARD_NEGATIVE_SHARE = 0.3
"""Share of hard negatives among crops without a person, if there are any."""

BACKGROUND_SHARE = 0.4
"""Share of backgrounds, photographs of real places among them, among the other crops."""


class NegativeCrops:
    """The source of crops without a person.

    Args:
        frames: rendered whole frames.
        backgrounds: images without people.
        hard_negatives: file that `thfm_ros.evaluation.hard_negative_mining` wrote, u8 [n h w 3];
            None if there is none.
    """

    def __init__(
        self, frames: Store, backgrounds: Backgrounds, hard_negatives: Path | None = None
    ) -> None:
        self._frames, self._backgrounds = frames, backgrounds
        self._hard_negatives = (
            None if hard_negatives is None else np.load(hard_negatives, mmap_mode="r")
        )

    def draw(self, rng: np.random.Generator, size: int) -> CropSample:
        """One crop of ``size`` pixels with the cue of a false positive, as a clip of one frame."""
        crops = self._hard_negatives
        if crops is not None and len(crops) and rng.random() < HARD_NEGATIVE_SHARE:
            crop = np.asarray(crops[rng.integers(len(crops))])
            sample = hard_negative_sample(crop, rng, size)
        elif rng.random() < BACKGROUND_SHARE:
            image = self._backgrounds.draw(rng, size, size)
            sample = empty_sample(apply_photometric(image, draw_photometric(rng, 0.8), rng))
        else:
            sample = negative_sample(self._frames, rng, size)
        return sample._replace(cue=cue_of_false_positive(rng)[None])


def hard_negative_sample(
    crop: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator, size: int
) -> CropSample:
    """A hard negative, mirrored, zoomed and shifted a little."""
    zoom = size / crop.shape[0] * float(np.exp(rng.normal(0, 0.1)))
    middle = np.full(2, (size - 1) / 2) + rng.normal(0, 0.04, 2) * size
    mirrored = bool(rng.random() < 0.5)
    matrix = similarity((crop.shape[1], crop.shape[0]), middle, zoom, mirrored=mirrored)
    image = cv2.warpAffine(crop, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)
    photometric = draw_photometric(rng, 0.8)
    return empty_sample(apply_photometric(image.astype(np.float32), photometric, rng))


def negative_sample(store: Store, rng: np.random.Generator, size: int) -> CropSample:
    """A crop of a rendered whole frame without people in it, as a clip of one frame.

    Grey if all attempts met people.
    """
    crop, contrast = np.full((size, size, 3), PADDING_GREY, np.uint8), -1.0
    for _ in range(ATTEMPTS):
        ref = store.frames[rng.integers(len(store))]
        instances = store.read("instances", ref)
        h, w = instances.shape
        side = int(np.exp(rng.uniform(np.log(h / 6), np.log(h))))
        x, y = int(rng.integers(0, w - side + 1)), int(rng.integers(0, h - side + 1))
        box = (slice(y, y + side), slice(x, x + side))
        if instances[box].any():
            continue
        place = np.asarray(store.read("rgb", ref)[box])
        if place.std() > contrast:  # places with edges are more often false positives
            crop, contrast = place, float(place.std())
    image = cv2.resize(crop, (size, size)).astype(np.float32)
    if rng.random() < 0.3:
        draw_busy_surfaces(rng, image)
    if rng.random() < 0.5:
        draw_thin_objects(rng, image)
    return empty_sample(apply_photometric(image, draw_photometric(rng, 0.8), rng))
