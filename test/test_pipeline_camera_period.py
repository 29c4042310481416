# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The pipeline with a time budget that follows the camera, whose clock runs with the crops."""

import numpy as np
import property_tests  # noqa: F401
import pytest
from crowd import GROUP, Crowd, K
from fake_engine import Person, box_of
from hypothesis import given, settings
from hypothesis import strategies as st

from thfm_ros.config import FOLLOW_CAMERA, Config, config_from
from thfm_ros.config_option import ConfigError
from thfm_ros.contract import Task, TrackState
from thfm_ros.perception.dense_maps import BACKGROUND_ID


def slow(*people: Person, budget_ms: float = FOLLOW_CAMERA, live: bool = True) -> Crowd:
    """All of `GROUP` take 160 ms."""
    return Crowd(*people, budget_ms=budget_ms, live=live, crop_s=0.02, between_s=0.02, rate_hz=10.0)


def test_each_image_has_a_result_although_not_all_people_fit_into_the_period() -> None:
    before = slow(*GROUP, budget_ms=0)
    before.watch(1.0)
    assert len(before.watch(1.0)) <= 7
    crowd = slow(*GROUP)
    crowd.watch(1.0)
    images = crowd.images
    results = crowd.watch(2.0)
    assert len(results) >= 0.95 * (crowd.images - images)
    for result in results:
        assert len(result.bodies) == len(GROUP)
        assert {body.state for body in result.bodies} <= {TrackState.TRACKED, TrackState.PREDICTED}
        assert sum(body.state is TrackState.TRACKED for body in result.bodies) >= 2
    assert max(body.measurement_age_s for each in results for body in each.bodies) <= 0.3


@pytest.mark.parametrize("rate_hz", [1.0, 2.0, 10.0])
def test_all_people_are_measured_in_each_image_if_the_period_suffices(rate_hz: float) -> None:
    crowd = Crowd(
        *GROUP,
        budget_ms=FOLLOW_CAMERA,
        crop_s=0.01,
        between_s=0.005,
        rate_hz=rate_hz,
        settings={"window.max_gap_s": 2.0, "track.lost_for_s": 3.0},
    )
    crowd.watch(8 / rate_hz)
    images = crowd.images
    results = crowd.watch(6 / rate_hz)
    assert len(results) == crowd.images - images
    for result in results:
        assert [body.state for body in result.bodies] == [TrackState.TRACKED] * len(GROUP)


def test_a_camera_above_30_hz_is_followed_as_if_it_had_30() -> None:
    crowd = Crowd(*GROUP, budget_ms=FOLLOW_CAMERA, crop_s=0.004, rate_hz=120.0)
    crowd.watch(0.4)
    results = crowd.watch(0.3)
    measured = [sum(b.state is TrackState.TRACKED for b in each.bodies) for each in results]
    assert min(measured) >= 6 and len(results) >= 9


def test_each_person_is_measured_every_quarter_of_a_second_even_if_results_come_later() -> None:
    """One crop per image would give 16 results per second, and measure each person every 0.4 s."""
    crowd = Crowd(*GROUP, budget_ms=FOLLOW_CAMERA, crop_s=0.01, between_s=0.05, rate_hz=30.0)
    crowd.watch(1.0)
    results = crowd.watch(1.5)
    assert len(results) >= 18
    assert max(body.measurement_age_s for each in results for body in each.bodies) <= 0.3
    assert all(len(result.bodies) == len(GROUP) for result in results)


def test_a_machine_that_cannot_measure_each_person_so_often_measures_all_in_each_step() -> None:
    crowd = Crowd(*GROUP, budget_ms=FOLLOW_CAMERA, crop_s=0.04, rate_hz=10.0)
    crowd.watch(1.5)
    for result in crowd.watch(1.0):
        assert [body.state for body in result.bodies] == [TrackState.TRACKED] * len(GROUP)


def seconds_until_found(crowd: Crowd) -> float:
    """Until all of `GROUP` are reported, of whom the last one appears after two seconds."""
    crowd.people = list(GROUP[:-1])
    crowd.watch(1.0)
    crowd.people = list(GROUP)
    results = crowd.watch(1.2)
    found = next(result for result in results if len(result.bodies) == len(GROUP))
    return (found.stamp_ns - results[0].stamp_ns) * 1e-9


def test_a_person_who_appears_while_the_period_is_used_up_is_found_within_half_a_second() -> None:
    crowd = Crowd(budget_ms=FOLLOW_CAMERA, crop_s=0.006, between_s=0.006, rate_hz=30.0)
    assert seconds_until_found(crowd) <= 0.5
    later = seconds_until_found(slow())
    assert later <= seconds_until_found(slow(budget_ms=0)) + 0.11  # an image later


def test_a_recording_is_not_followed() -> None:
    crowd = slow(*GROUP, live=False)
    crowd.watch(1.0)
    for result in crowd.watch(1.0):
        assert [body.state for body in result.bodies] == [TrackState.TRACKED] * len(GROUP)


def test_a_change_of_the_rate_is_followed() -> None:
    crowd = Crowd(*GROUP, budget_ms=FOLLOW_CAMERA, crop_s=0.01, rate_hz=30.0)
    crowd.watch(1.0)
    assert any(body.state is TrackState.PREDICTED for body in crowd.watch(0.5)[-1].bodies)
    crowd.rate_hz, crowd.images = 10.0, round(crowd.images / 3)
    crowd.watch(1.5)
    for result in crowd.watch(1.0):
        assert [body.state for body in result.bodies] == [TrackState.TRACKED] * len(GROUP)


@settings(max_examples=8)
@given(
    rate_hz=st.floats(4, 60),
    crop_ms=st.floats(2, 40),
    between_ms=st.floats(0, 60),
    people=st.integers(1, 5),
)
def test_no_person_is_lost_at_any_rate_and_cost(
    rate_hz: float, crop_ms: float, between_ms: float, people: int
) -> None:
    crowd = Crowd(
        *GROUP[:people],
        budget_ms=FOLLOW_CAMERA,
        crop_s=crop_ms * 1e-3,
        between_s=between_ms * 1e-3,
        rate_hz=rate_hz,
    )
    results = crowd.watch(2.0)
    for result in results[-5:]:
        assert len(result.bodies) == people
        assert any(body.state is TrackState.TRACKED for body in result.bodies)
        assert all(body.state is not TrackState.LOST for body in result.bodies)


def test_people_who_are_not_measured_keep_their_pixels_and_the_pixels_move_with_them() -> None:
    tasks = frozenset(Task)
    crowd = Crowd(*GROUP, budget_ms=13)
    for number in range(24):
        crowd.people = [Person(each.x + 0.02 * number, each.y, each.z) for each in GROUP]
        result = crowd.next(tasks)
    states = [body.state for body in result.bodies]
    assert states.count(TrackState.PREDICTED) >= 3
    assert result.instances is not None and result.mask is not None
    assert result.depth_m is not None and result.normals is not None
    truth = sorted(box_of(person, K)[[0, 2]].mean() for person in crowd.people)
    centres = []
    for index in range(len(states)):
        pixels = result.instances == index
        assert pixels.sum() > 1500
        assert (result.mask[pixels] > 0.5).all() and np.isfinite(result.normals[pixels]).all()
        np.testing.assert_allclose(np.median(result.depth_m[pixels]), 6, atol=0.5)
        centres.append(np.nonzero(pixels)[1].mean())
    np.testing.assert_allclose(sorted(centres), truth, atol=4)
    known = np.isfinite(result.depth_m)
    np.testing.assert_array_equal(known, result.instances != BACKGROUND_ID)


def test_pixels_of_a_person_who_was_lost_are_removed() -> None:
    crowd = Crowd(*GROUP, budget_ms=13)
    for _ in range(20):
        crowd.next(frozenset(Task))
    crowd.people = []
    for _ in range(20):
        result = crowd.next(frozenset(Task))
    assert result.instances is not None and (result.instances == BACKGROUND_ID).all()


def test_a_negative_budget_other_than_that_of_the_camera_is_refused() -> None:
    for value in (-0.5, -2.0):
        with pytest.raises(ConfigError, match="budget_ms is"):
            config_from({"regions.budget_ms": value})
    assert config_from({"regions.budget_ms": FOLLOW_CAMERA}).regions.budget_ms == FOLLOW_CAMERA
    assert Config().regions.budget_ms == FOLLOW_CAMERA
