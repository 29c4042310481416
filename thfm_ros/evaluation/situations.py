# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Recall by what makes a person hard to find, and how certain recall and precision are.

The situations follow from the annotations: alone in the image, overlapped by another person, cut
by an edge of the image, only the upper body annotated. A person may be in several of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from thfm_ros.evaluation.markdown_report import group_table
from thfm_ros.evaluation.markdown_report import number as text_of
from thfm_ros.evaluation.matching import GroundTruthPerson, ImageMatches
from thfm_ros.geometry import intersection_over_min_area
from thfm_ros.metrics.score import ratio
from thfm_ros.skeleton import Joint

OVERLAPPED = 0.2
"""Common area with another person's box, of the smaller box."""

EDGE_SHARE = 0.01
"""Of the image's sides: a box that is so near to an edge is cut by it."""

MIN_ANNOTATED = 5
"""Keypoints of a person of whom it can be said that only the upper body is visible."""

RESAMPLES = 1000
"""Of the images, with replacement, for the intervals."""

INTERVAL = (2.5, 97.5)
"""Percentiles."""

_LEGS = [Joint.LEFT_KNEE, Joint.RIGHT_KNEE, Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE]


class SituationScores(NamedTuple):
    """People in one situation."""

    number: int
    recall: float
    interval: tuple[float, float]  # 95 % of the resampled recalls


class _Tally(NamedTuple):
    """Of one image: people, how many of them are found, false positives."""

    people: int
    found: int
    false_positives: int


Situation = Callable[[ImageMatches, GroundTruthPerson], bool]


def is_alone(image: ImageMatches, person: GroundTruthPerson) -> bool:
    """No other person in the image, ignored ones and crowds included."""
    return len(image.people) == 1


def is_overlapped(image: ImageMatches, person: GroundTruthPerson) -> bool:
    """Another person's box covers a part of this one's, or is covered by it."""
    others = (each for each in image.people if each is not person)
    return any(intersection_over_min_area(person.box, each.box) > OVERLAPPED for each in others)


def is_cut(image: ImageMatches, person: GroundTruthPerson) -> bool:
    """The image ends where the person does."""
    size = np.array([image.width, image.height])
    low, high = person.box[:2] / size, person.box[2:] / size
    return bool((low < EDGE_SHARE).any() or (high > 1 - EDGE_SHARE).any())


def is_upper_body(image: ImageMatches, person: GroundTruthPerson) -> bool:
    """Keypoints are annotated, but no knee and no ankle."""
    return int(person.labelled.sum()) >= MIN_ANNOTATED and not person.labelled[_LEGS].any()


SITUATIONS: Mapping[str, Situation] = {
    "alone in the image": is_alone,
    "overlapped by another person": is_overlapped,
    "cut by an edge of the image": is_cut,
    "only the upper body annotated": is_upper_body,
    "none of these": lambda image, person: (
        not any(each(image, person) for each in (is_alone, is_overlapped, is_cut, is_upper_body))
    ),
}


def situation_scores(images: Sequence[ImageMatches]) -> dict[str, SituationScores]:
    """Recall in each of SITUATIONS; NaN where no person is in it."""
    found = {}
    for name, applies in SITUATIONS.items():
        tallies = [_tallies(image, applies) for image in images]
        people = sum(each.people for each in tallies)
        recall = ratio(sum(each.found for each in tallies), people)
        found[name] = SituationScores(people, recall, _interval(tallies, _recall))
    return found


def detection_intervals(images: Sequence[ImageMatches]) -> dict[str, tuple[float, float]]:
    """95 % intervals of recall, precision, and people per image without people."""
    tallies = [_tallies(image, lambda *_: True) for image in images]
    empty = [each for image, each in zip(images, tallies, strict=True) if not image.people]
    return {
        "recall of people": _interval(tallies, _recall),
        "precision of people": _interval(tallies, _precision),
        "false positives per negative image": _interval(empty, lambda c: float(c[:, 2].mean())),
    }


def _tallies(image: ImageMatches, applies: Situation) -> _Tally:
    chosen = {index for index in image.targets if applies(image, image.people[index])}
    found = sum(pair.person in chosen for pair in image.true_positives)
    return _Tally(len(chosen), found, len(image.false_positives))


def _recall(tallies: np.ndarray) -> float:
    return ratio(float(tallies[:, 1].sum()), float(tallies[:, 0].sum()))


def _precision(tallies: np.ndarray) -> float:
    found = float(tallies[:, 1].sum())
    return ratio(found, found + float(tallies[:, 2].sum()))


def _interval(
    tallies: Sequence[_Tally], measure: Callable[[np.ndarray], float]
) -> tuple[float, float]:
    """Of a measure of images that are drawn with replacement, as many as there are."""
    if not tallies:
        return float("nan"), float("nan")
    array, rng = np.array(tallies, float), np.random.default_rng(0)
    drawn = rng.integers(0, len(array), (RESAMPLES, len(array)))
    values = np.array([measure(array[each]) for each in drawn])
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, INTERVAL)
    return float(low), float(high)


def situation_table(
    situations: Mapping[str, SituationScores], intervals: Mapping[str, tuple[float, float]]
) -> str:
    """Recall by situation and the intervals, as Markdown."""
    rows = [
        [name, str(each.number), text_of(each.recall, 3), _text(each.interval)]
        for name, each in situations.items()
    ]
    certain = [[name, _text(interval)] for name, interval in intervals.items()]
    return "\n\n".join(
        [
            "By situation (a person may be in several):",
            group_table(["situation", "people", "recall", "95 % interval"], rows),
            f"Intervals of 95 %, of {RESAMPLES} times as many images, drawn with replacement:",
            group_table(["metric", "95 % interval"], certain),
        ]
    )


def _text(interval: tuple[float, float]) -> str:
    low, high = interval
    return "not measured" if np.isnan(low) else f"{low:.3f} to {high:.3f}"
