# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Keypoint metrics of whole images: PCK, OKS-AP and left-right swaps, in total and by group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from thfm_ros.evaluation.matching import (
    COCO_KEYPOINTS,
    GroundTruthPerson,
    ImageMatches,
    median_pose_of,
)
from thfm_ros.geometry import longer_side
from thfm_ros.metrics import pose as metrics
from thfm_ros.metrics.baselines import pose_in_boxes
from thfm_ros.metrics.oks import ImageSimilarities, average_precision, keypoint_similarity
from thfm_ros.metrics.score import Score, mean_known, ratio
from thfm_ros.skeleton import FLIP_PAIRS, Joint

SIZES: dict[str, tuple[float, float]] = {
    "under a quarter": (0.0, 0.25),
    "a quarter to a half": (0.25, 0.5),
    "over a half": (0.5, np.inf),
}
"""Ranges of the longer side of a person's box, in image heights."""

VIEWS: dict[str, tuple[float, float]] = {
    "front": (0.05, np.inf),
    "side, or half hidden": (-0.05, 0.05),
    "back": (-np.inf, -0.05),
}
"""Ranges of `metrics.frontal_offset`; from the side, a shoulder and a hip are hidden."""


@dataclass(frozen=True, slots=True)
class ViewScores:
    """Metrics of the detected people who are seen from one of VIEWS."""

    people: int
    pck10: float
    swapped_pairs: Score


@dataclass(frozen=True, slots=True)
class SizeScores:
    """Metrics of the people of one of SIZES."""

    people: int
    recall: float
    pck10: Score  # of those detected


@dataclass(frozen=True, slots=True)
class KeypointScores:
    """Metrics over all people who are not ignored.

    The baseline of PCK and OKS-AP is the median pose in the true box, that of left-right swaps is
    that all people face the camera.
    """

    pck10: Score  # of detected people
    pck05: Score
    pck10_all: Score  # a person who is not detected has no correct keypoint
    oks_ap: Score
    oks_ap50: Score
    swapped_pairs: Score  # fraction of the decidable pairs of detected people
    swapped_people: Score  # fraction of detected people
    joint_groups: dict[str, Score]  # PCK@0.1 of detected people
    views: dict[str, ViewScores]
    sizes: dict[str, SizeScores]


class _People:
    """The people who are not ignored, with what was predicted for them, in the order of images."""

    def __init__(self, images: Sequence[ImageMatches]) -> None:
        joints = len(Joint)
        missed = np.full((joints, 2), np.inf)
        self.people: list[GroundTruthPerson] = []
        detected, sizes, predicted = [], [], []
        for image in images:
            detection_of = dict(image.true_positives)
            for index in image.targets:
                person = image.people[index]
                self.people.append(person)
                sizes.append(longer_side(person.box) / image.height)
                detected.append(index in detection_of)
                predicted.append(
                    image.detections[detection_of[index]].keypoints[:, :2]
                    if index in detection_of
                    else missed
                )
        self.detected = np.array(detected, bool)
        self.sizes = np.array(sizes)  # in image heights
        self.truth = np.array([p.keypoints for p in self.people], float).reshape(-1, joints, 2)
        self.labelled = np.array([p.labelled for p in self.people], bool).reshape(-1, joints)
        self.predicted = np.nan_to_num(
            np.array(predicted, float), nan=np.inf, posinf=np.inf
        ).reshape(-1, joints, 2)

    def errors(self, predicted: np.ndarray) -> np.ndarray:
        """Errors in box sides, [n k]; infinite for people who are not detected."""
        with np.errstate(invalid="ignore"):
            return metrics.normalised_errors(predicted, self.truth, self.labelled)


class _NormalisedErrors(NamedTuple):
    """`_People.errors`, [n k] each."""

    network: np.ndarray
    baseline: np.ndarray

    def pck(
        self, chosen: np.ndarray, threshold: float, joints: Sequence[Joint] = tuple(Joint)
    ) -> Score:
        return Score(*(metrics.pck(errors[chosen][:, list(joints)], threshold) for errors in self))


def keypoint_scores(images: Sequence[ImageMatches]) -> KeypointScores:
    """All keypoint metrics; NaN where there is nothing to measure on."""
    people = _People(images)
    boxes = np.array([person.box for person in people.people], float).reshape(-1, 4)
    poses = pose_in_boxes(median_pose_of(people.people), boxes)
    errors = _NormalisedErrors(people.errors(people.predicted), people.errors(poses))
    flipped = people.errors(people.predicted[:, list(FLIP_PAIRS)])
    detected = people.detected
    similarities = [image.similarities() for image in images]
    baseline = _baseline_similarities(images, poses)
    half = np.array([0.5])
    swaps = _Swaps(people)
    return KeypointScores(
        pck10=errors.pck(detected, 0.1),
        pck05=errors.pck(detected, 0.05),
        pck10_all=errors.pck(np.ones_like(detected), 0.1),
        oks_ap=Score(average_precision(similarities), average_precision(baseline)),
        oks_ap50=Score(average_precision(similarities, half), average_precision(baseline, half)),
        swapped_pairs=swaps.pairs(np.ones(len(swaps.decidable), bool)),
        swapped_people=Score(
            mean_known(metrics.swapped_people(errors.network, flipped)[detected]),
            swaps.baseline_people(),
        ),
        joint_groups={
            name: errors.pck(detected, 0.1, joints) for name, joints in metrics.JOINT_GROUPS.items()
        },
        views=swaps.by_view(),
        sizes=_by_size(people, errors),
    )


def _by_size(people: _People, errors: _NormalisedErrors) -> dict[str, SizeScores]:
    found = {}
    for name, (low, high) in SIZES.items():
        chosen = (people.sizes >= low) & (people.sizes < high)
        found[name] = SizeScores(
            people=int(chosen.sum()),
            recall=mean_known(people.detected[chosen]),
            pck10=errors.pck(people.detected & chosen, 0.1),
        )
    return found


class _Swaps:
    """Left-right swaps of the detected people."""

    def __init__(self, people: _People) -> None:
        detected = people.detected
        self._truth, self._labelled = people.truth[detected], people.labelled[detected]
        self._predicted = people.predicted[detected]
        self._frontal = metrics.sides_as_if_frontal(self._truth, self._labelled)
        self._swapped, self.decidable = metrics.swapped_pairs(
            self._predicted, self._truth, self._labelled
        )
        self._baseline, _ = metrics.swapped_pairs(self._frontal, self._truth, self._labelled)

    def pairs(self, chosen: np.ndarray) -> Score:
        """Fraction of the decidable pairs of the chosen people, bool [n], that are swapped."""
        known = self.decidable[chosen]
        count = float(known.sum())
        return Score(
            ratio(float((self._swapped[chosen] & known).sum()), count),
            ratio(float((self._baseline[chosen] & known).sum()), count),
        )

    def baseline_people(self) -> float:
        """Fraction of the people who are swapped if all are taken to face the camera."""
        straight, flipped = (
            metrics.normalised_errors(keypoints, self._truth, self._labelled)
            for keypoints in (self._frontal, self._frontal[:, list(FLIP_PAIRS)])
        )
        return mean_known(metrics.swapped_people(straight, flipped))

    def by_view(self) -> dict[str, ViewScores]:
        """The same and PCK for each of VIEWS."""
        errors = metrics.normalised_errors(self._predicted, self._truth, self._labelled)
        offset = np.nan_to_num(metrics.frontal_offset(self._truth, self._labelled))
        found = {}
        for name, (low, high) in VIEWS.items():
            chosen = (offset >= low) & (offset < high)
            pck10 = metrics.pck(errors[chosen], 0.1)
            found[name] = ViewScores(int(chosen.sum()), pck10, self.pairs(chosen))
        return found


def _baseline_similarities(
    images: Sequence[ImageMatches], poses: np.ndarray
) -> list[ImageSimilarities]:
    """OKS of the baseline: one of ``poses`` for each person who is not ignored, [n k 2]."""
    remaining = iter(poses)
    found = []
    for image in images:
        people = [image.people[index] for index in image.targets]
        guesses = [next(remaining)[:COCO_KEYPOINTS] for _ in people]
        labelled = np.array([p.labelled[:COCO_KEYPOINTS].any() for p in people], bool)
        oks = [
            [
                keypoint_similarity(
                    guess, p.keypoints[:COCO_KEYPOINTS], p.labelled[:COCO_KEYPOINTS], p.area
                )
                for p in people
            ]
            for guess in guesses
        ]
        matrix = np.nan_to_num(np.array(oks, float).reshape(len(people), len(people)))
        keep = np.flatnonzero(labelled)
        found.append(
            ImageSimilarities(
                np.ones(len(keep)), matrix[np.ix_(keep, keep)], np.zeros(len(keep), bool)
            )
        )
    return found
