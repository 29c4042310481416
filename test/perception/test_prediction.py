# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Bodies at a later time than that of their frame, from the filter of their track."""

from functools import lru_cache

import numpy as np
import property_tests  # noqa: F401
import pytest
from a_detection import a_detection
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.config import TrackConfig
from thfm_ros.contract import Body, TrackState
from thfm_ros.geometry import unpack_covariance
from thfm_ros.perception.root_filter import MAX_EXTRAPOLATION_S, prediction_stamp
from thfm_ros.perception.tracking import Tracker

FRAME_NS = 100_000_000
LIMIT_NS = round(MAX_EXTRAPOLATION_S * 1e9)

horizons = st.integers(0, 3_000_000_000)
velocities = st.sampled_from([(1.5, 0.0), (0.4, -1.3), (-0.7, 1.1), (0.0, 0.0)])
a_known_detection = lru_cache(a_detection)


def walked(
    velocity: tuple[float, float] = (1.5, 0.0), frames: int = 12
) -> tuple[Tracker, str, int]:
    """A person who walked (m/s, to the right and away), their id, and the stamp of the last frame.

    0.1 s from frame to frame.
    """
    tracker = Tracker(TrackConfig(seed=1))
    name = ""
    for index in range(frames):
        x, z = (v * index * FRAME_NS * 1e-9 for v in velocity)
        detection = a_known_detection(-0.9 + x, 5.0 + z)
        known, new = ({name: detection}, []) if name else ({}, [detection])
        name = tracker.update(index * FRAME_NS, known, new)[0].body.id
    return tracker, name, (frames - 1) * FRAME_NS


def at(tracker: Tracker, name: str, stamp_ns: int) -> Body:
    return tracker.body_at(name, stamp_ns)


def test_a_body_at_its_frame_is_the_measured_one() -> None:
    tracker, name, newest_ns = walked()
    assert at(tracker, name, newest_ns) is tracker.active[name]


@given(velocities, st.integers(1, 3_000_000_000))
def test_a_predicted_body_moves_with_its_velocity_up_to_the_limit_and_says_that_it_is_predicted(
    velocity: tuple[float, float], ahead_ns: int
) -> None:
    tracker, name, newest_ns = walked(velocity)
    seen, later = tracker.active[name], at(tracker, name, newest_ns + ahead_ns)
    moved_s = min(ahead_ns * 1e-9, MAX_EXTRAPOLATION_S)
    moved_m = later.root_m - seen.root_m
    np.testing.assert_allclose(moved_m, seen.velocity_m_s * moved_s, atol=1e-4)
    np.testing.assert_allclose(later.positions_m - seen.positions_m, [moved_m] * 35, atol=1e-5)
    assert later.state is TrackState.PREDICTED and later.score == seen.score
    assert later.measurement_age_s == pytest.approx(ahead_ns * 1e-9)


@given(velocities, horizons, horizons)
def test_the_covariance_of_a_prediction_grows_with_time(
    velocity: tuple[float, float], one_ns: int, other_ns: int
) -> None:
    tracker, name, newest_ns = walked(velocity)
    sooner, later = (at(tracker, name, newest_ns + ns) for ns in sorted((one_ns, other_ns)))
    for field in ("root_covariance_m2", "covariances_m2", "velocity_covariance"):
        growth = unpack_covariance(getattr(later, field) - getattr(sooner, field))
        assert np.linalg.eigvalsh(growth.astype(np.float64)).min() > -1e-6, field


@given(velocities, horizons)
def test_asking_for_a_later_time_changes_no_track(
    velocity: tuple[float, float], ahead_ns: int
) -> None:
    asked, name, newest_ns = walked(velocity)
    at(asked, name, newest_ns + ahead_ns)
    untouched, *_ = walked(velocity)
    next_ns = newest_ns + FRAME_NS
    one, other = asked.update(next_ns, {}, [])[0].body, untouched.update(next_ns, {}, [])[0].body
    np.testing.assert_array_equal(one.positions_m, other.positions_m)
    np.testing.assert_array_equal(one.box, other.box)
    assert one.state is other.state is TrackState.LOST


def test_a_person_whose_velocity_is_unknown_stays_and_the_covariance_says_so() -> None:
    tracker, name, newest_ns = walked(frames=1)
    seen, later = tracker.active[name], at(tracker, name, newest_ns + LIMIT_NS)
    np.testing.assert_allclose(later.root_m, seen.root_m)
    growth = later.root_covariance_m2 - seen.root_covariance_m2
    assert growth[0] >= MAX_EXTRAPOLATION_S**2  # as of a person of 1 m/s
    assert later.state is TrackState.TENTATIVE and later.measurement_age_s == MAX_EXTRAPOLATION_S


def test_a_lost_person_stays_lost_at_a_later_time() -> None:
    tracker, name, newest_ns = walked()
    tracker.update(newest_ns + FRAME_NS, {}, [])
    later = at(tracker, name, newest_ns + 2 * FRAME_NS)
    assert later.state is TrackState.LOST
    assert later.measurement_age_s == pytest.approx(0.2)


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_the_time_predicted_to_is_not_before_the_frame_and_not_beyond_the_limit(
    frame_ns: int, now_ns: int
) -> None:
    stamp_ns = prediction_stamp(frame_ns, now_ns)
    assert frame_ns <= stamp_ns <= frame_ns + LIMIT_NS
    if frame_ns <= now_ns <= frame_ns + LIMIT_NS:
        assert stamp_ns == now_ns
