# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Where a person will be seen."""

import numpy as np
import property_tests  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.perception.image_motion import ImageMotion, Surprise

STEP_NS = 100_000_000
WALK = np.array([1.2, 0.0, 0.4])  # m/s
ASIDE = np.array([0.4, 0.0, 0.0])


def walked(velocity: np.ndarray = WALK) -> ImageMotion:
    """A person who walked for a second; the last measurement is at 1 s."""
    motion = ImageMotion()
    for index in range(11):
        motion.update(index * STEP_NS, place(index, velocity))
    return motion


def place(index: float, velocity: np.ndarray = WALK) -> np.ndarray:
    """Where they are after so many steps, metres."""
    return np.asarray(np.array([-1.0, 0.2, 4.0]) + velocity * (0.1 * index))


def test_a_person_who_walks_is_predicted_where_they_will_be() -> None:
    for steps in (1, 5, 10):
        predicted = walked().root_at((10 + steps) * STEP_NS)
        np.testing.assert_allclose(predicted, place(10 + steps), atol=0.02 * (2 + steps))


@given(
    st.floats(-1.5, 1.5),
    st.floats(-0.6, 0.6),
    st.integers(1, 5),
    st.floats(0.6, 3.0),
)
def test_who_goes_on_surprises_less_than_someone_beside_them(
    speed_x: float, speed_z: float, steps: int, apart_m: float
) -> None:
    velocity = np.array([speed_x, 0.0, speed_z])
    motion, now_ns = walked(velocity), (10 + steps) * STEP_NS
    own = motion.surprise(now_ns, place(10 + steps, velocity))
    for other in (np.array([apart_m, 0, 0]), np.array([-apart_m, 0, 0])):
        another = motion.surprise(now_ns, place(10 + steps, velocity) + other)
        assert own.distance < another.distance and own.cost < another.cost


def test_the_longer_ago_the_less_a_place_surprises() -> None:
    motion, aside = walked(np.zeros(3)), place(0) + ASIDE
    distances = [motion.surprise(each * STEP_NS, aside).distance for each in (11, 15, 20)]
    assert distances == sorted(distances, reverse=True) and distances[0] > 25


def test_measurements_of_overlapped_people_count_less() -> None:
    sure, unsure = walked(), walked()
    sure.update(11 * STEP_NS, place(11) + ASIDE)
    unsure.update(11 * STEP_NS, place(11) + ASIDE, noise_factor=3.0)
    shifts = [each.root_at(11 * STEP_NS)[0] - place(11)[0] for each in (sure, unsure)]
    assert 0 < shifts[1] < 0.6 * shifts[0]


def test_an_unknown_pelvis_is_left_out_and_surprises_no_one() -> None:
    motion = walked()
    expected = motion.root_at(12 * STEP_NS)
    for unknown in (np.full(3, np.nan), np.array([0.0, 0.0, -1.0])):
        motion.update(11 * STEP_NS, unknown)
        assert motion.surprise(11 * STEP_NS, unknown) == Surprise()
    np.testing.assert_array_equal(motion.root_at(12 * STEP_NS), expected)
    assert ImageMotion().surprise(0, place(0)) == Surprise()
    assert not ImageMotion().is_known and motion.is_known
