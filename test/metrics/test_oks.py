"""Keypoint similarity and average precision against figures worked out by hand."""

import math

import numpy as np
import pytest

from thfm_ros.metrics.oks import (
    SIGMAS,
    Ranked,
    average_precision,
    similarity,
    similarity_to_box,
)
from thfm_ros.skeleton import Joint

AREA = 10_000.0
TRUTH = np.random.default_rng(0).uniform(0, 100, (17, 2))
ALL = np.ones(17, bool)
HALF = np.array([0.5])


def only(*joints: Joint) -> np.ndarray:
    return np.isin(np.arange(17), joints)


def test_the_same_joints_are_alike_by_one() -> None:
    assert similarity(TRUTH, TRUTH, ALL, AREA) == pytest.approx(1.0)


def test_a_joint_two_sigmas_off_costs_a_known_share() -> None:
    # The nose: 2 * 0.026 * sqrt(area 10,000) = 5.2 px is one standard deviation, exp(-1/2).
    found = TRUTH + np.array([3.12, 4.16])
    nose = similarity(found, TRUTH, only(Joint.NOSE), AREA)
    assert nose == pytest.approx(math.exp(-0.5))
    # A hip may be 107 / 26 times as far off for the same: exp(-1/2 (26/107)^2).
    both = similarity(found, TRUTH, only(Joint.NOSE, Joint.LEFT_HIP), AREA)
    assert both == pytest.approx((math.exp(-0.5) + math.exp(-0.5 * (26 / 107) ** 2)) / 2)


def test_joints_that_are_not_labelled_do_not_count_and_lost_ones_do() -> None:
    found = TRUTH.copy()
    found[Joint.NOSE] = 1e6
    assert similarity(found, TRUTH, ~only(Joint.NOSE), AREA) == pytest.approx(1.0)
    found[Joint.NOSE] = np.nan
    assert similarity(found, TRUTH, ALL, AREA) == pytest.approx(16 / 17)
    assert math.isnan(similarity(found, TRUTH, ~ALL, AREA))


def test_there_are_seventeen_sigmas_and_twins_share_them() -> None:
    assert SIGMAS.shape == (17,)
    np.testing.assert_array_equal(SIGMAS[1::2], SIGMAS[2::2])


def test_who_has_no_joints_is_judged_by_a_box_of_three_times_the_size() -> None:
    box = np.array([100.0, 100.0, 120.0, 140.0])
    assert similarity_to_box(np.full((17, 2), [81.0, 179.0]), box, 800.0) == pytest.approx(1.0)
    assert similarity_to_box(np.full((17, 2), [0.0, 179.0]), box, 800.0) < 0.05


def ranked(scores: list[float], alike: list[list[float]], counts: list[bool]) -> Ranked:
    matrix = np.array(alike, float).reshape(len(scores), len(counts))
    return Ranked(np.array(scores, float), matrix, np.array(counts, bool))


def test_one_right_and_one_lost_person_give_the_share_of_recalls_that_were_reached() -> None:
    # Precision 1 up to recall 1/2: 51 of the 101 recalls 0, 0.01, ... 1.
    image = ranked([0.9], [[0.8, 0.1]], [True, True])
    assert average_precision([image], HALF) == pytest.approx(51 / 101)


def test_a_surer_mistake_halves_the_precision() -> None:
    image = ranked([0.9, 0.4], [[0.1], [0.8]], [True])
    assert average_precision([image], HALF) == pytest.approx(1 / 2)
    less_sure = ranked([0.3, 0.4], [[0.1], [0.8]], [True])
    assert average_precision([less_sure], HALF) == pytest.approx(1.0)


def test_precision_that_falls_later_is_averaged_over_the_recalls() -> None:
    # Right, wrong, right of two people: precision 1 to recall 1/2, then 2/3.
    image = ranked([0.9, 0.8, 0.7], [[0.9, 0], [0.1, 0.1], [0, 0.9]], [True, True])
    assert average_precision([image], HALF) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_nobody_is_found_twice() -> None:
    image = ranked([0.9, 0.8], [[0.9, 0], [0.8, 0.6]], [True, True])
    assert average_precision([image], HALF) == pytest.approx(1.0)
    alone = ranked([0.9, 0.8], [[0.9], [0.8]], [True])
    other = ranked([0.7], [[0.9]], [True])
    # Right, wrong, right.
    assert average_precision([alone, other], HALF) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_who_does_not_count_excuses_but_is_not_preferred() -> None:
    excused = ranked([0.9, 0.8], [[0.2, 0.9], [0.7, 0.1]], [True, False])
    assert average_precision([excused], HALF) == pytest.approx(1.0)
    preferred = ranked([0.9], [[0.6, 0.9]], [True, False])
    assert average_precision([preferred], HALF) == pytest.approx(1.0)


def test_the_mean_over_ten_thresholds_counts_how_many_are_passed() -> None:
    # 0.77 passes 0.5, 0.55, ... 0.75: six of ten.
    assert average_precision([ranked([0.9], [[0.77]], [True])]) == pytest.approx(0.6)


def test_where_nobody_counts_there_is_no_precision() -> None:
    assert math.isnan(average_precision([ranked([0.9], [], [])]))
    assert average_precision([ranked([], [], [True])], HALF) == 0.0
