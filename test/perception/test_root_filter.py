# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The filter of a root's motion: velocity, prediction and their covariances."""

from itertools import pairwise

import numpy as np
import property_tests  # noqa: F401
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.perception.root_filter import (
    ACCELERATION_DENSITY,
    MAX_EXTRAPOLATION_S,
    MIN_JITTER_M,
    RootFilter,
    RootMotion,
)

STEP_NS = 33_333_333
START = np.array([0.3, 0.1, 4.0])
WALK = np.array([0.8, 0.0, -1.1])
SPREAD = np.diag([0.0004, 0.0004, 0.01])  # of a scale that is known to 2.5 % at 4 m


def walked(
    frames: int,
    velocity: np.ndarray = WALK,
    noise_m: float = 0.0,
    seed: int = 0,
    spread: np.ndarray = SPREAD,
) -> RootFilter:
    """A filter after so many frames of a walk at constant velocity."""
    rng, motion = np.random.default_rng(seed), RootFilter()
    for index in range(frames):
        position = START + velocity * (index * STEP_NS * 1e-9) + rng.normal(0, noise_m, 3)
        motion.update(index * STEP_NS, position, spread)
    return motion


def test_the_velocity_is_unknown_before_the_second_measurement() -> None:
    assert all(np.isnan(each).all() for each in RootFilter().predict(0.0))
    first = walked(1).predict(0.0)
    np.testing.assert_allclose(first.position_m, START)
    assert np.isnan(first.velocity_m_s).all() and np.isnan(first.velocity_covariance).all()
    assert np.isfinite(walked(2).predict(0.0).velocity_m_s).all()


def test_the_velocity_of_a_steady_walk_is_found_within_a_second() -> None:
    error = walked(30).predict(0.0).velocity_m_s - WALK
    assert np.linalg.norm(error) < 0.05


def test_jitter_moves_the_velocity_less_than_raw_differences() -> None:
    noise_m, spread = 0.02, np.eye(3) * 0.02**2
    walks = [walked(30, noise_m=noise_m, seed=seed, spread=spread) for seed in range(20)]
    errors = [np.linalg.norm(each.predict(0.0).velocity_m_s - WALK) for each in walks]
    raw = noise_m * np.sqrt(3) * np.sqrt(2) / (STEP_NS * 1e-9)  # of two neighbouring frames
    assert np.sqrt(np.mean(np.square(errors))) < 0.25 * raw


def test_the_covariance_of_the_velocity_covers_its_error() -> None:
    """A person who changes their velocity as the filter assumes: a mean squared error of 3."""
    spread, squared, dt = np.eye(3) * 0.02**2, [], STEP_NS * 1e-9
    for seed in range(150):
        rng, motion = np.random.default_rng(seed), RootFilter()
        position, velocity = START.copy(), rng.normal(0, 1.0, 3)
        for index in range(40):
            jitter = rng.normal(0, np.hypot(0.02, MIN_JITTER_M), 3)
            motion.update(index * STEP_NS, position + jitter, spread)
            estimate = motion.predict(0.0)
            error = estimate.velocity_m_s - velocity
            change, bend = rng.normal(0, np.sqrt(ACCELERATION_DENSITY * dt), (2, 3))
            position = position + (velocity + change / 2 + bend / np.sqrt(12)) * dt
            velocity = velocity + change
        squared.append(error @ np.linalg.solve(estimate.velocity_covariance, error))
    assert 2.3 < np.mean(squared) < 3.7


def test_an_unknown_scale_makes_the_speed_uncertain() -> None:
    spread = np.diag([1e-6, 1e-6, 0.16])  # 10 % at 4 m
    across = np.array([0.8, 0, 0])
    unsure = walked(60, across, spread=spread).predict(0.0).velocity_covariance
    sure = walked(60, across, spread=spread * 0.01).predict(0.0).velocity_covariance
    assert unsure[0, 0] - sure[0, 0] > 0.5 * (0.1 * 0.8) ** 2


def test_a_prediction_moves_on_for_half_a_second_and_grows_uncertain() -> None:
    motion = walked(60)
    ahead = [motion.predict(dt) for dt in (0.0, 0.25, 0.5, 1.0, 2.0)]
    np.testing.assert_allclose(ahead[2].position_m - ahead[0].position_m, WALK / 2, atol=0.03)
    np.testing.assert_allclose(ahead[4].position_m, ahead[2].position_m)
    assert MAX_EXTRAPOLATION_S == 0.5
    for earlier, later in pairwise(ahead):
        for name in ("covariance_m2", "velocity_covariance"):
            growth = getattr(later, name) - getattr(earlier, name)
            assert np.linalg.eigvalsh(growth).min() > 0
    on = START + WALK * (59 * STEP_NS * 1e-9 + 2.0)  # who goes on is covered
    error = on - ahead[4].position_m
    assert error @ np.linalg.solve(ahead[4].covariance_m2, error) < 3


def test_a_single_wrong_measurement_hardly_changes_the_velocity() -> None:
    motion = walked(30)
    before = motion.predict(0.0).velocity_m_s
    jump = START + WALK * (30 * STEP_NS * 1e-9) + [0.5, 0, 1.0]
    motion.update(30 * STEP_NS, jump, SPREAD)
    assert np.linalg.norm(motion.predict(0.0).velocity_m_s - before) < 0.5


def test_an_unknown_position_or_an_older_stamp_begins_anew() -> None:
    motion = walked(30)
    motion.update(30 * STEP_NS, np.full(3, np.nan), SPREAD)
    assert np.isnan(motion.predict(0.0).position_m).all()
    motion.update(31 * STEP_NS, START, SPREAD)
    assert np.isnan(motion.predict(0.0).velocity_m_s).all()
    motion = walked(30)
    motion.update(3 * STEP_NS, START, SPREAD)
    np.testing.assert_allclose(motion.predict(0.0).position_m, START)
    assert np.isnan(motion.predict(0.0).velocity_m_s).all()


def run(steps: list[tuple[int, list[float]]], rotation: np.ndarray) -> RootMotion:
    motion, stamp_ns = RootFilter(), 0
    spread = rotation @ SPREAD @ rotation.T
    for step_ns, offset in steps:
        stamp_ns += step_ns
        motion.update(stamp_ns, rotation @ (START + offset), spread)
    return motion.predict(0.1)


step = st.tuples(
    st.integers(1_000_000, 3_000_000_000), st.lists(st.floats(-3, 3), min_size=3, max_size=3)
)


@given(st.lists(step, min_size=2, max_size=12))
def test_covariances_stay_symmetric_and_positive_whatever_is_measured(
    steps: list[tuple[int, list[float]]],
) -> None:
    motion = run(steps, np.eye(3))
    for covariance in (motion.covariance_m2, motion.velocity_covariance):
        np.testing.assert_allclose(covariance, covariance.T, atol=1e-9)
        assert np.linalg.eigvalsh(covariance).min() > 0


@given(st.lists(step, min_size=2, max_size=8), st.floats(-3, 3))
def test_the_result_does_not_depend_on_the_axes(
    steps: list[tuple[int, list[float]]], angle: float
) -> None:
    c, s = np.cos(angle), np.sin(angle)
    rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    plain, turned = run(steps, np.eye(3)), run(steps, rotation)
    np.testing.assert_allclose(turned.velocity_m_s, rotation @ plain.velocity_m_s, atol=1e-6)
    np.testing.assert_allclose(turned.position_m, rotation @ plain.position_m, atol=1e-6)
    expected = rotation @ plain.velocity_covariance @ rotation.T
    np.testing.assert_allclose(turned.velocity_covariance, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dt", [0.0, -1.0])
def test_a_prediction_into_the_past_is_that_of_the_last_measurement(dt: float) -> None:
    motion = walked(10)
    np.testing.assert_array_equal(motion.predict(dt).position_m, motion.predict(0.0).position_m)
