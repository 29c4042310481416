import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thfm_ros.synth.primitives.rotation import (
    between,
    from_axis_angle,
    from_quaternion,
    smooth_noise,
    to_axis_angle,
    to_quaternion,
    unit,
)

vectors = arrays(np.float64, 3, elements=st.floats(-1.7, 1.7))


@given(vectors)
def test_a_turn_survives_the_way_through_matrix_and_quaternion(vector: np.ndarray) -> None:
    turn = from_axis_angle(vector)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(from_quaternion(to_quaternion(turn)), turn, atol=1e-6)
    np.testing.assert_allclose(to_axis_angle(turn), vector, atol=1e-5)  # shorter than half a turn


def test_a_half_turn_has_a_quaternion_too() -> None:
    for axis in np.eye(3):  # w is zero there: the naive formula divides by it
        turn = from_axis_angle(np.pi * axis)
        np.testing.assert_allclose(from_quaternion(to_quaternion(turn)), turn, atol=1e-6)


@given(vectors, vectors)
def test_between_takes_one_direction_to_the_other(start: np.ndarray, end: np.ndarray) -> None:
    lengths = np.linalg.norm(start), np.linalg.norm(end)
    opposite = np.dot(unit(start), unit(end)) < -0.999
    if min(lengths) < 0.01 or opposite:
        return
    np.testing.assert_allclose(between(start, end) @ unit(start), unit(end), atol=1e-5)


def test_smooth_noise_has_the_scale_that_was_asked_for_and_no_jumps() -> None:
    noise = smooth_noise(np.random.default_rng(0), 4000, 2, scale=0.5, width=12)
    assert abs(noise.std() - 0.5) < 0.06
    assert np.abs(np.diff(noise, axis=0)).max() < 0.5 * 0.6
