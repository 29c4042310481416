# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What the confidences of bodies and keypoints are worth: how often they are right.

A body is right if its box is that of a person; a keypoint of a detected person, if it is within
0.1 of the longer side of the person's box. Keypoints that are not annotated, or annotated as
hidden, do not count, and neither do detections of ignored people.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from thfm_ros.evaluation.markdown_report import cell, group_table
from thfm_ros.evaluation.markdown_report import number as text_of
from thfm_ros.evaluation.matching import ImageMatches
from thfm_ros.metrics import pose as metrics
from thfm_ros.metrics.score import Score, ratio

LIMITS = (0.5, 0.7, 0.9)
"""Lower limits of a confidence at which the precision is reported."""

EDGES = (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Of the bins of the reliability table."""

KEYPOINT_ERROR = 0.1
"""Of a keypoint that is right, in sides of the box."""


class ConfidenceBin(NamedTuple):
    """The estimates whose confidence is in a range."""

    low: float
    high: float
    number: int
    mean_confidence: float
    right: float  # share of them


class ConfidenceScores(NamedTuple):
    """Reliability of one kind of confidence; NaN where there is nothing to measure on."""

    number: int
    brier: Score  # mean square of confidence - right; baseline: the same confidence for all
    precision: dict[float, tuple[int, float]]  # by lower limit: how many, and the share right
    bins: tuple[ConfidenceBin, ...]


def body_confidences(images: Sequence[ImageMatches]) -> ConfidenceScores:
    """Reliability of `Body.score`."""
    confidence, right = [], []
    for image in images:
        true = {pair.detection for pair in image.true_positives}
        for index in (*true, *image.false_positives):
            confidence.append(image.detections[index].score)
            right.append(index in true)
    return confidence_scores(np.array(confidence, float), np.array(right, bool))


def keypoint_confidences(images: Sequence[ImageMatches]) -> ConfidenceScores:
    """Reliability of the confidence of keypoints."""
    confidence, right = [np.zeros(0)], [np.zeros(0, bool)]
    for image in images:
        for pair in image.true_positives:
            person, body = image.people[pair.person], image.detections[pair.detection]
            truth, labelled = person.keypoints[None].astype(float), person.labelled[None]
            predicted = np.nan_to_num(body.keypoints[None, :, :2].astype(float), nan=np.inf)
            with np.errstate(invalid="ignore"):
                errors = metrics.normalised_errors(predicted, truth, labelled)[0]
            known = ~np.isnan(errors) & (body.keypoints[:, 2] > 0)
            confidence.append(body.keypoints[known, 2].astype(float))
            right.append(errors[known] < KEYPOINT_ERROR)
    return confidence_scores(np.concatenate(confidence), np.concatenate(right))


def confidence_scores(
    confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]
) -> ConfidenceScores:
    """Reliability of ``n`` estimates, each with its confidence (0..1) and whether it is right."""
    share = float(right.mean()) if len(right) else float("nan")
    error = float(((confidence - right) ** 2).mean()) if len(right) else float("nan")
    bins = []
    for low, high in itertools.pairwise(EDGES):
        chosen = (confidence >= low) & ((confidence < high) | (high == EDGES[-1]))
        count = int(chosen.sum())
        bins.append(
            ConfidenceBin(
                low,
                high,
                count,
                ratio(float(confidence[chosen].sum()), count),
                ratio(float(right[chosen].sum()), count),
            )
        )
    above = {limit: confidence >= limit for limit in LIMITS}
    return ConfidenceScores(
        number=len(right),
        brier=Score(error, share * (1 - share)),
        precision={
            limit: (int(chosen.sum()), ratio(float(right[chosen].sum()), int(chosen.sum())))
            for limit, chosen in above.items()
        },
        bins=tuple(bins),
    )


def confidence_table(scores: Mapping[str, ConfidenceScores]) -> str:
    """What confidences of these kinds are worth, as Markdown."""
    limits = [f"precision at {limit} (number)" for limit in LIMITS]
    ranges = [f"{low} to {high}" for low, high in itertools.pairwise(EDGES)]
    reached = [
        [
            name,
            str(each.number),
            cell(each.brier, 3),
            *(f"{text_of(right, 3)} ({count})" for count, right in each.precision.values()),
        ]
        for name, each in scores.items()
    ]
    shares = [
        [name, *(f"{text_of(one.right, 2)} ({one.number})" for one in each.bins)]
        for name, each in scores.items()
    ]
    brier = "mean square of confidence - right (the same confidence for all)"
    return "\n\n".join(
        [
            "By confidence: precision of what is at least so confident:",
            group_table(["confidence of", "number", brier, *limits], reached),
            "Share that is right, of the confidences in a range (number):",
            group_table(["confidence of", *ranges], shares),
        ]
    )
