# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from thfm_ros.synth.primitives.rotation import (
    from_axis_angle,
    from_quaternion,
    normalized,
    rotation_between,
    smooth_noise,
    to_axis_angle,
    to_quaternion,
)

vectors = arrays(np.float64, 3, elements=st.floats(-1.7, 1.7))


@given(vectors)
def test_axis_angle_matrix_and_quaternion_are_converted_without_loss(vector: np.ndarray) -> None:
    rotation = from_axis_angle(vector)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(from_quaternion(to_quaternion(rotation)), rotation, atol=1e-6)
    np.testing.assert_allclose(to_axis_angle(rotation), vector, atol=1e-5)  # less than half a turn


def test_a_half_turn_is_converted_to_a_quaternion() -> None:
    for axis in np.eye(3):  # w is zero there: the naive formula divides by it
        rotation = from_axis_angle(np.pi * axis)
        np.testing.assert_allclose(from_quaternion(to_quaternion(rotation)), rotation, atol=1e-6)


@given(vectors, vectors)
def test_rotation_between_takes_one_direction_to_the_other(
    start: np.ndarray, end: np.ndarray
) -> None:
    lengths = np.linalg.norm(start), np.linalg.norm(end)
    opposite = np.dot(normalized(start), normalized(end)) < -0.999
    if min(lengths) < 0.01 or opposite:
        return
    np.testing.assert_allclose(
        rotation_between(start, end) @ normalized(start), normalized(end), atol=1e-5
    )


def test_smooth_noise_has_the_requested_scale_and_no_jumps() -> None:
    noise = smooth_noise(np.random.default_rng(0), 4000, 2, scale=0.5, width=12)
    assert abs(noise.std() - 0.5) < 0.06
    assert np.abs(np.diff(noise, axis=0)).max() < 0.5 * 0.6
