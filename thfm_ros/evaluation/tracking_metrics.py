# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Identity switches and jitter from one frame of a clip to the next."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from thfm_ros.contract import Body
from thfm_ros.evaluation.matching import GroundTruthPerson, ImageMatches, median_pose_of
from thfm_ros.geometry import longer_side
from thfm_ros.metrics.baselines import pose_in_boxes
from thfm_ros.metrics.score import Score, mean_known

MAX_MOTION = 0.01
"""People whose true keypoints move less from frame to frame, in longer sides of their box, stand
still."""
MIN_KEYPOINTS = 8
"""People with fewer visible keypoints have no jitter."""


@dataclass(frozen=True, slots=True)
class Step:
    """One person who is detected in two consecutive frames: (before, after) of everything."""

    person: tuple[GroundTruthPerson, GroundTruthPerson]
    body: tuple[Body, Body]
    images: tuple[ImageMatches, ImageMatches]


@dataclass(frozen=True, slots=True)
class TrackingScores:
    """Metrics over all steps; jitter in longer sides of the person's box."""

    steps: int
    still_steps: int  # of people who stand still
    id_switches: Score  # per step; baseline: people numbered from left to right
    jitter: Score  # of people who stand still; baseline: median pose in the detected box


def steps_of(images: Sequence[ImageMatches]) -> Iterator[Step]:
    """Every person and every two consecutive frames of a clip in which they are detected."""
    for before, after in pairwise(images):
        if before.clip != after.clip:
            continue
        previous = {before.people[pair.person].track_id: pair for pair in before.true_positives}
        for pair in after.true_positives:
            person = after.people[pair.person]
            if person.track_id in previous:
                old = previous[person.track_id]
                yield Step(
                    (before.people[old.person], person),
                    (before.detections[old.detection], after.detections[pair.detection]),
                    (before, after),
                )


def tracking_scores(images: Sequence[ImageMatches]) -> TrackingScores:
    """Metrics of images in the order of their frames; NaN where there is no step."""
    steps = list(steps_of(images))
    still = [step for step in steps if _stands_still(step)]
    pose = median_pose_of([step.person[1] for step in steps])

    def detected(step: Step) -> tuple[np.ndarray, np.ndarray]:
        first, second = (body.keypoints[:, :2].astype(float) for body in step.body)
        return first, second

    def in_box(step: Step) -> tuple[np.ndarray, np.ndarray]:
        first, second = pose_in_boxes(pose, np.array([body.box for body in step.body], float))
        return first, second

    return TrackingScores(
        steps=len(steps),
        still_steps=len(still),
        id_switches=Score(
            mean_known([step.body[0].id != step.body[1].id for step in steps]),
            mean_known([_rank_from_left(step, 0) != _rank_from_left(step, 1) for step in steps]),
        ),
        jitter=Score(
            mean_known([_jitter(step, detected) for step in still]),
            mean_known([_jitter(step, in_box) for step in still]),
        ),
    )


def _rank_from_left(step: Step, which: int) -> int:
    """How many detections lie further left in the image: an identity that needs no tracker."""
    box = step.body[which].box
    others = step.images[which].detections
    return sum(bool(other.box[0] + other.box[2] < box[0] + box[2]) for other in others)


def _stands_still(step: Step) -> bool:
    first, second = step.person
    visible = first.labelled & second.labelled
    motion = np.linalg.norm(second.keypoints - first.keypoints, axis=1)[visible]
    enough = visible.sum() >= MIN_KEYPOINTS
    return bool(enough and motion.mean() < MAX_MOTION * longer_side(first.box))


def _jitter(step: Step, keypoints_of: Callable[[Step], tuple[np.ndarray, np.ndarray]]) -> float:
    """Standard deviation of the error of the visible keypoints, in longer sides of the box.

    From two frames: half of the squared change of the error is its variance. The true motion is
    subtracted, and a constant error is no jitter.
    """
    first, second = keypoints_of(step)
    motion = step.person[1].keypoints - step.person[0].keypoints
    visible = step.person[0].labelled & step.person[1].labelled
    change = ((second - first - motion) ** 2).sum(1)[visible]
    known = change[np.isfinite(change)]
    if len(known) < MIN_KEYPOINTS:
        return float("nan")
    return float(np.sqrt(known.mean() / 2) / longer_side(step.person[0].box))
