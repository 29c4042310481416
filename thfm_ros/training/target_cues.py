# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Target cues of training crops: boxes with the errors that trackers and detectors make.

At run time boxes lag, are loose and sometimes wrong, so those in training are too.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from thfm_ros.geometry import mask_bounds

NO_CUE: Float[np.ndarray, "5"] = np.zeros(5, np.float32)

NO_CUE_SHARE = 0.2
"""Share of samples without a cue: the target is the person in the middle."""

RETARGET_SHARE = 0.15
"""Share of the others whose cue points at another person, who becomes the target."""

EMPTY_CUE_SHARE = 0.04
"""Share of the others whose cue points at a place without people."""

LATE_SHARE = 0.1
"""Share of boxes that are clearly displaced, as after a quick movement."""

MIN_CELLS = 60
"""Cells of a person's mask below which no cue points at the person."""


class CueChoice(NamedTuple):
    """What a sample is about, drawn from its first frame."""

    given: bool
    target: int  # instance number of the person who becomes the target; 0: no person
    error: Float[np.ndarray, "4"]  # of the edges, in sides of the target's box
    box: Float[np.ndarray, "4"]  # without people, for target 0; shares of the image


UNCUED = CueChoice(False, 1, np.zeros(4), np.zeros(4))
"""No cue: the sample is about the person in the middle."""


def draw_cue(rng: np.random.Generator, instances: UInt8[np.ndarray, "h w"]) -> CueChoice:
    """Draw the target of a sample and its cue."""
    shift = rng.normal(0, 0.05, 2) if rng.random() >= LATE_SHARE else rng.normal(0, 0.15, 2)
    error = np.concatenate([shift, shift]) + rng.normal(0, 0.04, 4)
    no_box = np.zeros(4)
    if rng.random() < NO_CUE_SHARE:
        return CueChoice(False, 1, error, no_box)
    chance = rng.random()
    if chance < EMPTY_CUE_SHARE:
        box = _box_without_people(rng, instances)
        if box is not None:
            return CueChoice(True, 0, error, box)
    elif chance < EMPTY_CUE_SHARE + RETARGET_SHARE:
        numbers, counts = np.unique(instances, return_counts=True)
        others = numbers[(numbers > 1) & (counts >= MIN_CELLS)]
        if len(others):
            return CueChoice(True, int(rng.choice(others)), error, no_box)
    return CueChoice(True, 1, error, no_box)


def cue_input(choice: CueChoice, instances: UInt8[np.ndarray, "h w"]) -> Float[np.ndarray, "5"]:
    """The network's input for one frame, whose target has instance number 1."""
    if not choice.given:
        return NO_CUE
    if choice.target == 0:
        return np.array([*choice.box, 1], np.float32)
    box = mask_box(instances == 1)
    if box is None:  # occluded: a tracker would still know the box, but it is not labelled
        return NO_CUE
    side = np.array([box[2] - box[0], box[3] - box[1]])
    return np.array([*(box + choice.error * np.tile(side, 2)), 1], np.float32)


def cue_of_false_positive(rng: np.random.Generator) -> Float[np.ndarray, "5"]:
    """The input for a crop around a false positive of the detection: a box in its middle.

    If negative crops had no cue, every box would mean that there is a person.
    """
    if rng.random() < NO_CUE_SHARE:
        return NO_CUE
    longer = rng.uniform(0.6, 0.95)
    size = np.array([longer * rng.uniform(0.25, 0.9), longer])
    if rng.random() < 0.15:
        size = size[::-1]
    middle = 0.5 + rng.normal(0, 0.05, 2)
    return np.array([*(middle - size / 2), *(middle + size / 2), 1], np.float32)


def mask_box(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "4"] | None:
    """Bounding box of a mask in shares of its width and height; None if it is empty."""
    bounds = mask_bounds(mask)
    h, w = mask.shape
    return None if bounds is None else np.array(bounds) / [w, h, w, h]


def _box_without_people(
    rng: np.random.Generator, instances: UInt8[np.ndarray, "h w"]
) -> Float[np.ndarray, "4"] | None:
    """A random box that hardly contains a person; None if none was found."""
    h, w = instances.shape
    for _ in range(6):
        size = rng.uniform([0.15, 0.3], [0.5, 0.9])
        low = rng.uniform(0, 1 - size)
        x0, y0, x1, y1 = (np.array([*low, *(low + size)]) * [w, h, w, h]).astype(int)
        if (instances[y0:y1, x0:x1] > 0).mean() < 0.08:
            return np.array([*low, *(low + size)])
    return None
