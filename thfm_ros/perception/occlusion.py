# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Whom the crops of people show who pass one another.

The crop of a person who is hidden shows the one in front. Of two tracks whose crops show one and
the same person, the one whose motion and clothes explain the detection better keeps it, not the
older one. The other is hidden: no measurement is better than one of another person.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from thfm_ros.geometry import intersection_over_min_area
from thfm_ros.perception.decoding import Detection
from thfm_ros.perception.image_motion import BODY_LENGTH_M, Surprise
from thfm_ros.perception.same_person import same_person

MIN_OVERLAP = 0.15
"""Of the smaller box: people whose boxes overlap by more may hide each other."""

CLOTHES_WEIGHT = 0.25
"""Of the evidence of clothes, whose values are not independent as it takes them to be."""

_GATE = 25.0
"""Squared Mahalanobis distance beyond which a detection may be of another person."""

_SAME_ROOT = 0.2
"""Body lengths: pelvises farther from each other are of two people, even if one mask spans both."""


class Explanations(NamedTuple):
    """How well tracks, by id, explain detections."""

    motion: Callable[[str, Detection], Surprise]
    clothes: Callable[[str, Detection], float]  # logarithm of a likelihood ratio; 0: unknown

    def cost(self, track_id: str, detection: Detection) -> float:
        """Minus the log-likelihood of a detection, up to a constant."""
        clothes = CLOTHES_WEIGHT * self.clothes(track_id, detection)
        return self.motion(track_id, detection).cost - clothes


def shown_people(
    tracked: Mapping[str, Detection], explanations: Explanations
) -> dict[str, Detection]:
    """The detections that show the person of their own track; the others are left out.

    Args:
        tracked: detections in the crops of tracks, by track id, the oldest track first.
        explanations: of these detections by these tracks.
    """
    boxes = {track_id: each.body.box for track_id, each in tracked.items()}
    hidden = {
        track_id
        for track_id in tracked
        if overlaps(boxes, track_id) and _shows_another(track_id, tracked, explanations.motion)
    }
    for pair in itertools.combinations(tracked, 2):
        detections = tracked[pair[0]], tracked[pair[1]]
        if not hidden & {*pair} and one_person(*detections):
            first, second = (
                sum(explanations.cost(track_id, each) for each in detections) for track_id in pair
            )
            hidden.add(pair[0] if second < first else pair[1])
    return {track_id: each for track_id, each in tracked.items() if track_id not in hidden}


def _shows_another(
    track_id: str,
    tracked: Mapping[str, Detection],
    motion: Callable[[str, Detection], Surprise],
) -> bool:
    """Whether a track cannot have moved to its detection, and another one can sooner."""
    own = motion(track_id, tracked[track_id]).distance
    others = [motion(each, tracked[track_id]).distance for each in tracked if each != track_id]
    return own > _GATE and min(others) < own


def overlaps(boxes: Mapping[str, Float[np.ndarray, "4"]], track_id: str) -> bool:
    """Whether another one of these boxes overlaps that of a track."""
    own = boxes[track_id]
    return any(
        intersection_over_min_area(own, box) > MIN_OVERLAP
        for other, box in boxes.items()
        if other != track_id
    )


def one_person(a: Detection, b: Detection) -> bool:
    """Whether the crops of two tracks show one person: masks and pelvises coincide."""
    return same_person(a, b) and _root_distance(a, b) < _SAME_ROOT


def _root_distance(a: Detection, b: Detection) -> float:
    """Of the pelvises in the image, in body lengths; 0 if it is not known."""
    first, second = np.asarray(a.root_m, float), np.asarray(b.root_m, float)
    nearer = min(first[2], second[2])
    if not (np.isfinite([first, second]).all() and nearer > 0):
        return 0.0
    offset = first[:2] / first[2] - second[:2] / second[2]
    return float(np.hypot(*offset) * nearer / BODY_LENGTH_M)
