# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Recall by situation, and the intervals of recall and precision."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from perceived import a_flat_body

from thfm_ros.evaluation.matching import GroundTruthPerson, ImageMatches, match_boxes
from thfm_ros.evaluation.situations import (
    detection_intervals,
    situation_scores,
    situation_table,
)
from thfm_ros.metrics.score import Score
from thfm_ros.skeleton import Joint

WIDTH, HEIGHT = 200, 100
Box = tuple[float, float, float, float]
MIDDLE, BESIDE, CUT, FAR = (
    (80.0, 20.0, 110.0, 80.0),
    (95.0, 20.0, 125.0, 80.0),
    (0.0, 20.0, 30.0, 80.0),
    (150.0, 20.0, 180.0, 80.0),
)


def a_person(box: Box, joints: range = range(17), *, ignore: bool = False) -> GroundTruthPerson:
    labelled = np.zeros(len(Joint), bool)
    labelled[list(joints)] = True
    keypoints = np.full((len(Joint), 2), 50.0)
    return GroundTruthPerson(0, np.array(box), 1000.0, keypoints, labelled, ignore)


def an_image(people: list[GroundTruthPerson], detected: list[Box]) -> ImageMatches:
    matches = match_boxes(people, [np.array(box) for box in detected])
    nowhere = np.full((len(Joint), 2), np.nan)
    bodies = tuple(a_flat_body("aaaaa", list(box), nowhere) for box in detected)
    return ImageMatches(
        0, WIDTH, HEIGHT, tuple(people), bodies, matches.pairs, matches.false_positives,
        Score(np.nan),
    )  # fmt: skip


def recalls(images: list[ImageMatches]) -> dict[str, tuple[int, float]]:
    return {name: (each.number, each.recall) for name, each in situation_scores(images).items()}


def test_each_person_counts_where_they_are() -> None:
    alone = an_image([a_person(MIDDLE)], [MIDDLE])
    pair = an_image([a_person(MIDDLE), a_person(BESIDE)], [MIDDLE])
    found = recalls([alone, pair])
    assert found["alone in the image"] == (1, 1.0)
    assert found["overlapped by another person"] == (2, 0.5)
    assert found["cut by an edge of the image"][0] == 0
    assert np.isnan(found["cut by an edge of the image"][1])


def test_people_at_an_edge_are_cut_and_those_without_legs_are_upper_bodies() -> None:
    upper = range(11)
    image = an_image([a_person(CUT), a_person(FAR, upper), a_person(MIDDLE)], [FAR])
    found = recalls([image])
    assert found["cut by an edge of the image"] == (1, 0.0)
    assert found["only the upper body annotated"] == (1, 1.0)
    assert found["none of these"] == (1, 0.0)


def test_without_keypoints_no_person_is_an_upper_body_and_a_crowd_is_company() -> None:
    image = an_image([a_person(MIDDLE, range(0)), a_person(FAR, ignore=True)], [MIDDLE])
    found = recalls([image])
    assert found["only the upper body annotated"][0] == 0
    assert found["alone in the image"][0] == 0
    assert found["none of these"] == (1, 1.0)


@given(found=st.lists(st.booleans(), min_size=8, max_size=30))
def test_an_interval_contains_the_recall_and_is_a_point_if_all_are_alike(found: list[bool]) -> None:
    images = [an_image([a_person(MIDDLE)], [MIDDLE] if each else []) for each in found]
    low, high = detection_intervals(images)["recall of people"]
    assert 0 <= low <= np.mean(found) <= high <= 1
    assert (low == high) == (len(set(found)) == 1)


def test_false_positives_widen_the_precision_and_count_in_images_without_people() -> None:
    images = [an_image([], [MIDDLE]), an_image([], []), an_image([a_person(MIDDLE)], [MIDDLE])]
    intervals = detection_intervals(images)
    assert intervals["false positives per negative image"] == (0.0, 1.0)
    low, high = intervals["precision of people"]
    assert low < 0.5 and high == 1.0


def test_the_table_says_where_nothing_was_measured() -> None:
    table = situation_table(situation_scores([]), detection_intervals([]))
    assert "| alone in the image | 0 | not measured | not measured |" in table
    assert table.count("not measured") >= 8


@pytest.mark.parametrize("name", ["recall of people", "precision of people"])
def test_intervals_are_the_same_every_time(name: str) -> None:
    images = [an_image([a_person(MIDDLE)], [MIDDLE]), an_image([a_person(MIDDLE)], [FAR])]
    assert detection_intervals(images)[name] == detection_intervals(images)[name]
