# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Object keypoint similarity (OKS) and the average precision based on it, as COCO defines them.

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
"""Standard deviation of human annotators for each COCO keypoint, in square roots of the area."""

OKS_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


def keypoint_similarity(
    predicted: Float[np.ndarray, "17 2"],
    truth: Float[np.ndarray, "17 2"],
    labelled: Bool[np.ndarray, "17"],
    area: float,
) -> float:
    """Mean over the labelled keypoints of exp(-d^2 / (2 area (2 sigma)^2)); NaN without any.

    A keypoint that was not predicted (NaN) has an infinite error.
    """
    if not labelled.any():
        return float("nan")
    squared = np.nan_to_num(((predicted - truth) ** 2).sum(1), nan=np.inf, posinf=np.inf)[labelled]
    spread = 2 * max(area, 1e-9) * (2 * SIGMAS[labelled]) ** 2
    return float(np.exp(-squared / spread).mean())


def box_similarity(
    predicted: Float[np.ndarray, "17 2"], box: Float[np.ndarray, "4"], area: float
) -> float:
    """OKS to a person without labelled keypoints.

    As COCO does, errors are distances to a box of three times the width and height around the
    same centre; 0 inside it.
    """
    margin = np.tile(box[2:] - box[:2], 2) * [-1, -1, 1, 1]
    low, high = (box + margin)[:2], (box + margin)[2:]
    outside = np.maximum(low - predicted, 0) + np.maximum(predicted - high, 0)
    squared = np.nan_to_num((outside**2).sum(1), nan=np.inf, posinf=np.inf)
    return float(np.exp(-squared / (2 * max(area, 1e-9) * (2 * SIGMAS) ** 2)).mean())


class ImageSimilarities(NamedTuple):
    """All detections of one image against all its ground truth; ``d`` and ``g`` of them."""

    scores: Float[np.ndarray, " d"]  # confidence of each detection
    oks: Float[np.ndarray, "d g"]
    ignore: Bool[np.ndarray, " g"]  # True: a detection of this person is neither right nor wrong


def average_precision(
    images: Sequence[ImageSimilarities], thresholds: Float[np.ndarray, " n"] = OKS_THRESHOLDS
) -> float:
    """Mean over OKS thresholds of the precision at 101 recalls; NaN without ground truth."""
    return float(np.mean([_precision_at(images, float(threshold)) for threshold in thresholds]))


def _precision_at(images: Sequence[ImageSimilarities], threshold: float) -> float:
    people = sum(int((~image.ignore).sum()) for image in images)
    if not people:
        return float("nan")
    matched = [_matched(image, threshold) for image in images]
    scores = np.concatenate([scores for scores, _ in matched])
    correct = np.concatenate([correct for _, correct in matched])
    correct = correct[np.argsort(-scores, kind="stable")]
    true_positives = np.cumsum(correct)
    precision = true_positives / np.arange(1, len(true_positives) + 1)
    # Interpolated as COCO does: at each recall the best precision at this or a higher recall.
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    index = np.searchsorted(true_positives / people, RECALLS, side="left")
    padded = np.append(precision, 0.0)
    return float(padded[np.minimum(index, len(precision))].mean())


def _matched(
    image: ImageSimilarities, threshold: float
) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Scores of the detections that are not ignored, and whether each is a true positive."""
    free = np.ones(len(image.ignore), bool)
    scores, correct = [], []
    for detection in np.argsort(-image.scores, kind="stable"):
        oks = np.where(free, image.oks[detection], -1.0)
        # Ground truth that is not ignored comes first, even if ignored ground truth fits better.
        for group in (~image.ignore, image.ignore):
            fits = np.where(group & (oks >= threshold), oks, -1.0)
            if len(fits) and fits.max() >= 0:
                best = int(fits.argmax())
                # Ignored ground truth may be a crowd: it absorbs any number of detections.
                if not image.ignore[best]:
                    free[best] = False
                    scores.append(image.scores[detection])
                    correct.append(True)
                break
        else:
            scores.append(image.scores[detection])
            correct.append(False)
    return np.array(scores, float), np.array(correct, bool)
