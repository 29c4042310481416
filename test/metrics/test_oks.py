# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""OKS and average precision against figures worked out by hand."""

import math

import numpy as np
import pytest

from thfm_ros.metrics.oks import (
    SIGMAS,
    ImageSimilarities,
    average_precision,
    box_similarity,
    keypoint_similarity,
)
from thfm_ros.skeleton import Joint

AREA = 10_000.0
TRUTH = np.random.default_rng(0).uniform(0, 100, (17, 2))
ALL = np.ones(17, bool)
HALF = np.array([0.5])


def only(*joints: Joint) -> np.ndarray:
    return np.isin(np.arange(17), joints)


def test_identical_keypoints_have_an_oks_of_one() -> None:
    assert keypoint_similarity(TRUTH, TRUTH, ALL, AREA) == pytest.approx(1.0)


def test_an_error_of_two_sigmas_has_a_known_oks() -> None:
    # The nose: 2 * 0.026 * sqrt(area 10,000) = 5.2 px is one standard deviation, exp(-1/2).
    found = TRUTH + np.array([3.12, 4.16])
    nose = keypoint_similarity(found, TRUTH, only(Joint.NOSE), AREA)
    assert nose == pytest.approx(math.exp(-0.5))
    # A hip may be 107 / 26 times as far off for the same: exp(-1/2 (26/107)^2).
    both = keypoint_similarity(found, TRUTH, only(Joint.NOSE, Joint.LEFT_HIP), AREA)
    assert both == pytest.approx((math.exp(-0.5) + math.exp(-0.5 * (26 / 107) ** 2)) / 2)


def test_unlabelled_keypoints_are_ignored_and_missing_ones_are_not() -> None:
    found = TRUTH.copy()
    found[Joint.NOSE] = 1e6
    assert keypoint_similarity(found, TRUTH, ~only(Joint.NOSE), AREA) == pytest.approx(1.0)
    found[Joint.NOSE] = np.nan
    assert keypoint_similarity(found, TRUTH, ALL, AREA) == pytest.approx(16 / 17)
    assert math.isnan(keypoint_similarity(found, TRUTH, ~ALL, AREA))


def test_left_and_right_keypoints_share_their_sigma() -> None:
    assert SIGMAS.shape == (17,)
    np.testing.assert_array_equal(SIGMAS[1::2], SIGMAS[2::2])


def test_without_keypoints_the_reference_is_a_box_of_three_times_the_size() -> None:
    box = np.array([100.0, 100.0, 120.0, 140.0])
    assert box_similarity(np.full((17, 2), [81.0, 179.0]), box, 800.0) == pytest.approx(1.0)
    assert box_similarity(np.full((17, 2), [0.0, 179.0]), box, 800.0) < 0.05


def similarities(
    scores: list[float], oks: list[list[float]], ignore: list[bool]
) -> ImageSimilarities:
    matrix = np.array(oks, float).reshape(len(scores), len(ignore))
    return ImageSimilarities(np.array(scores, float), matrix, np.array(ignore, bool))


def test_precision_is_averaged_over_the_recalls_that_are_reached() -> None:
    # Precision 1 up to recall 1/2: 51 of the 101 recalls 0, 0.01, ... 1.
    image = similarities([0.9], [[0.8, 0.1]], [False, False])
    assert average_precision([image], HALF) == pytest.approx(51 / 101)


def test_a_false_positive_with_a_higher_score_halves_the_precision() -> None:
    image = similarities([0.9, 0.4], [[0.1], [0.8]], [False])
    assert average_precision([image], HALF) == pytest.approx(1 / 2)
    lower_score = similarities([0.3, 0.4], [[0.1], [0.8]], [False])
    assert average_precision([lower_score], HALF) == pytest.approx(1.0)


def test_precision_that_falls_with_recall_is_averaged() -> None:
    # True, false, true positive of two people: precision 1 to recall 1/2, then 2/3.
    image = similarities([0.9, 0.8, 0.7], [[0.9, 0], [0.1, 0.1], [0, 0.9]], [False, False])
    assert average_precision([image], HALF) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_second_detection_of_a_person_is_a_false_positive() -> None:
    image = similarities([0.9, 0.8], [[0.9, 0], [0.8, 0.6]], [False, False])
    assert average_precision([image], HALF) == pytest.approx(1.0)
    alone = similarities([0.9, 0.8], [[0.9], [0.8]], [False])
    other = similarities([0.7], [[0.9]], [False])
    # True, false, true positive.
    assert average_precision([alone, other], HALF) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_ignored_people_absorb_detections_but_are_not_preferred() -> None:
    absorbed = similarities([0.9, 0.8], [[0.2, 0.9], [0.7, 0.1]], [False, True])
    assert average_precision([absorbed], HALF) == pytest.approx(1.0)
    preferred = similarities([0.9], [[0.6, 0.9]], [False, True])
    assert average_precision([preferred], HALF) == pytest.approx(1.0)


def test_the_mean_over_ten_thresholds_is_the_fraction_that_is_passed() -> None:
    # 0.77 passes 0.5, 0.55, ... 0.75: six of ten.
    assert average_precision([similarities([0.9], [[0.77]], [False])]) == pytest.approx(0.6)


def test_without_ground_truth_there_is_no_precision() -> None:
    assert math.isnan(average_precision([similarities([0.9], [], [])]))
    assert average_precision([similarities([], [], [False])], HALF) == 0.0
