"""Object keypoint similarity and the average precision made of it, as COCO defines them.

Written after the definition at cocodataset.org/#keypoints-eval, in numpy; the tests compare it
with figures worked out by hand.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

SIGMAS = (
    np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000.0
)  # fmt: skip
"""How far annotators disagree about each COCO keypoint, in square roots of the person's area."""

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


def similarity(
    found: Float[np.ndarray, "17 2"],
    truth: Float[np.ndarray, "17 2"],
    labelled: Bool[np.ndarray, "17"],
    area: float,
) -> float:
    """Mean over the labelled keypoints of exp(-d^2 / (2 area (2 sigma)^2)); NaN without any.

    A keypoint that was not found (NaN) counts as infinitely far off.
    """
    if not labelled.any():
        return float("nan")
    squared = np.nan_to_num(((found - truth) ** 2).sum(1), nan=np.inf, posinf=np.inf)[labelled]
    spread = 2 * max(area, 1e-9) * (2 * SIGMAS[labelled]) ** 2
    return float(np.exp(-squared / spread).mean())


def similarity_to_box(
    found: Float[np.ndarray, "17 2"], box: Float[np.ndarray, "4"], area: float
) -> float:
    """The same for somebody whose keypoints nobody labelled: distances count from a box of
    three times the width and height round the same centre."""
    margin = np.tile(box[2:] - box[:2], 2) * [-1, -1, 1, 1]
    low, high = (box + margin)[:2], (box + margin)[2:]
    outside = np.maximum(low - found, 0) + np.maximum(found - high, 0)
    squared = np.nan_to_num((outside**2).sum(1), nan=np.inf, posinf=np.inf)
    return float(np.exp(-squared / (2 * max(area, 1e-9) * (2 * SIGMAS) ** 2)).mean())


class Ranked(NamedTuple):
    """One image: how alike everybody found and everybody there are."""

    scores: Float[np.ndarray, " f"]  # belief in everybody found
    similarity: Float[np.ndarray, "f t"]
    counts: Bool[np.ndarray, " t"]  # False: may be found, need not be


def average_precision(
    images: Sequence[Ranked], thresholds: Float[np.ndarray, " n"] = THRESHOLDS
) -> float:
    """Mean over thresholds of the precision at 101 recalls; NaN where nobody counts."""
    return float(np.mean([_at(images, float(threshold)) for threshold in thresholds]))


def _at(images: Sequence[Ranked], threshold: float) -> float:
    people = sum(int(image.counts.sum()) for image in images)
    if not people:
        return float("nan")
    verdicts = [_judged(image, threshold) for image in images]
    scores = np.concatenate([scores for scores, _ in verdicts])
    right = np.concatenate([right for _, right in verdicts])
    right = right[np.argsort(-scores, kind="stable")]
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(hits) + 1)
    # What is gained later may not be held against earlier recalls: precision never rises.
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(hits / people, RECALLS, side="left")
    padded = np.append(precision, 0.0)
    return float(padded[np.minimum(place, len(precision))].mean())


def _judged(
    image: Ranked, threshold: float
) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Scores of everybody found whom nothing excuses, and whether each is right."""
    free = np.ones(len(image.counts), bool)
    scores, right = [], []
    for found in np.argsort(-image.scores, kind="stable"):
        alike = np.where(free, image.similarity[found], -1.0)
        # Somebody who counts is preferred to somebody who does not, however alike.
        for group in (image.counts, ~image.counts):
            fits = np.where(group & (alike >= threshold), alike, -1.0)
            if len(fits) and fits.max() >= 0:
                best = int(fits.argmax())
                # Whoever does not count may stand for a crowd, and excuses as many as fit.
                if image.counts[best]:
                    free[best] = False
                    scores.append(image.scores[found])
                    right.append(True)
                break
        else:
            scores.append(image.scores[found])
            right.append(False)
    return np.array(scores, float), np.array(right, bool)
