# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""All metrics of whole images: detection, keypoints, depth and tracking.

Every metric stands beside that of a trivial baseline.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from thfm_ros.evaluation.confidence_metrics import (
    ConfidenceScores,
    body_confidences,
    keypoint_confidences,
)
from thfm_ros.evaluation.keypoint_metrics import KeypointScores, keypoint_scores
from thfm_ros.evaluation.matching import ImageMatches, match_boxes
from thfm_ros.evaluation.situations import (
    SituationScores,
    detection_intervals,
    situation_scores,
)
from thfm_ros.evaluation.tracking_metrics import TrackingScores, tracking_scores
from thfm_ros.metrics.score import Score, mean_known, ratio


@dataclass(frozen=True, slots=True)
class DetectionScores:
    """Metrics of boxes and of the mask."""

    correct_count: Score  # fraction of images; baseline: always one person
    recall: Score  # baseline of this and the next: the mean true box in every image
    precision: Score
    false_positives: Score  # per negative image; baseline: always one person
    mask_iou: Score  # baseline: the true boxes, filled


@dataclass(frozen=True, slots=True)
class DepthScores:
    """Depth on the pixels of people, and the position of the pelvis."""

    abs_rel: Score  # of this and the next two: aligned, baseline: flat person
    rmse_m: Score
    within_125: Score
    metric_abs_rel: Score  # baseline: flat person, 1.7 m tall in the true box
    root_distance: Score  # error along the axis, of the distance; baseline: 1.7 m tall
    root_position_m: Score  # baseline: the true direction, 1.7 m tall in the detected box


@dataclass(frozen=True, slots=True)
class FrameScores:
    """All metrics of a set of images."""

    images: int
    people: int  # without ignored people
    negative_images: int  # without any person
    detection: DetectionScores
    keypoints: KeypointScores
    depth: DepthScores
    tracking: TrackingScores
    confidences: dict[str, ConfidenceScores]  # of bodies, and of keypoints
    situations: dict[str, SituationScores]
    intervals: dict[str, tuple[float, float]]  # of 95 %, by metric


def frame_scores(images: Sequence[ImageMatches]) -> FrameScores:
    """All metrics; NaN where there is nothing to measure on."""
    return FrameScores(
        images=len(images),
        people=sum(len(image.targets) for image in images),
        negative_images=sum(not image.people for image in images),
        detection=_detection(images),
        keypoints=keypoint_scores(images),
        depth=_depth(images),
        tracking=tracking_scores(images),
        confidences={
            "bodies": body_confidences(images),
            "keypoints": keypoint_confidences(images),
        },
        situations=situation_scores(images),
        intervals=detection_intervals(images),
    )


def _detection(images: Sequence[ImageMatches]) -> DetectionScores:
    people = sum(len(image.targets) for image in images)
    true_positives = sum(len(image.true_positives) for image in images)
    false_positives = sum(len(image.false_positives) for image in images)
    negative = [image for image in images if not image.people]
    baseline = _mean_box_baseline(images)
    return DetectionScores(
        correct_count=Score(
            # Detections of ignored people do not make the number wrong.
            mean_known(
                [len(p.true_positives) + len(p.false_positives) == len(p.targets) for p in images]
            ),
            mean_known([len(p.targets) == 1 for p in images]),
        ),
        recall=Score(ratio(true_positives, people), ratio(baseline.true_positives, people)),
        precision=Score(
            ratio(true_positives, true_positives + false_positives),
            ratio(baseline.true_positives, baseline.true_positives + baseline.false_positives),
        ),
        false_positives=Score(
            mean_known([float(len(image.detections)) for image in negative]),
            1.0 if negative else float("nan"),
        ),
        mask_iou=_mean_score([image.mask_iou for image in images]),
    )


class _Counts(NamedTuple):
    true_positives: int
    false_positives: int


def _mean_box_baseline(images: Sequence[ImageMatches]) -> _Counts:
    """Detections if each image had one box: the mean of all true boxes, in image heights."""
    boxes = [image.people[i].box / image.height for image in images for i in image.targets]
    box = np.mean(boxes, axis=0) if boxes else np.zeros(4)
    true_positives = false_positives = 0
    for image in images:
        matches = match_boxes(image.people, [box * image.height])
        true_positives += sum(not image.people[pair.person].ignore for pair in matches.pairs)
        false_positives += len(matches.false_positives)
    return _Counts(true_positives, false_positives)


def _mean_score(scores: Sequence[Score]) -> Score:
    return Score(
        mean_known([score.value for score in scores]),
        mean_known([score.baseline for score in scores]),
    )


def _depth(images: Sequence[ImageMatches]) -> DepthScores:
    errors = [each for image in images for each in image.depth_errors]
    predicted, truth, assumed_z = _roots(images)
    assumed = truth * (assumed_z / truth[:, 2])[:, None]
    return DepthScores(
        abs_rel=_mean_score([each.abs_rel for each in errors]),
        rmse_m=_mean_score([each.rmse_m for each in errors]),
        within_125=_mean_score([each.within_125 for each in errors]),
        metric_abs_rel=_mean_score([each.metric_abs_rel for each in errors]),
        root_distance=Score(
            mean_known(np.abs(predicted[:, 2] - truth[:, 2]) / truth[:, 2]),
            mean_known(np.abs(assumed_z - truth[:, 2]) / truth[:, 2]),
        ),
        root_position_m=Score(
            mean_known(np.linalg.norm(predicted - truth, axis=1)),
            mean_known(np.linalg.norm(assumed - truth, axis=1)),
        ),
    )


def _roots(images: Sequence[ImageMatches]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pelvis of all detected people for whom it is known, metres.

    Returns:
        Predicted [n 3], true [n 3], and the distance if the person were 1.7 m tall [n].
    """
    rows = [
        (body.root_m, person.root_m, person.assumed_distance_m(body.box.astype(float)))
        for image in images
        for person, body in (
            (image.people[pair.person], image.detections[pair.detection])
            for pair in image.true_positives
        )
        if person.root_m is not None
    ]
    predicted = np.array([root for root, _, _ in rows], float).reshape(-1, 3)
    truth = np.array([root for _, root, _ in rows], float).reshape(-1, 3)
    assumed_z = np.array([distance for _, _, distance in rows], float)
    known = (np.isfinite(predicted) & np.isfinite(truth)).all(1) & (truth[:, 2] > 0)
    return predicted[known], truth[known], assumed_z[known]
