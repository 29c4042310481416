# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The person whom a robot follows: chosen once, lost, found again, given up, never exchanged."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import property_tests  # noqa: F401
import pytest
from hypothesis import given
from hypothesis import strategies as st
from perceived import a_body

from thfm_ros.config_follow import FollowConfig
from thfm_ros.contract import Body, PerceptionError, TrackState
from thfm_ros.perception.followed_person import PersonSelector, Target, TargetState

STEP_S = 0.1
CONFIG = FollowConfig(lost_after_s=0.5, found_after_s=0.3, give_up_after_s=2.0)
NEAR, FAR = a_body("nearr", (0.0, 0.0, 2.0)), a_body("farrr", (1.0, 0.0, 5.0))


class Film:
    """Frames of 0.1 s for one selector."""

    def __init__(self) -> None:
        self.selector = PersonSelector(CONFIG)
        self.stamp_ns = 1_000_000_000

    def see(self, *bodies: Body, seconds: float = STEP_S) -> Target:
        """The target after some time with these people in view."""
        for _ in range(max(round(seconds / STEP_S), 1)):
            self.stamp_ns += 100_000_000
            target = self.selector.update(self.stamp_ns, bodies)
        return target


def following(*bodies: Body) -> Film:
    film = Film()
    film.see(*bodies)
    film.selector.follow(bodies[0].id)
    assert film.see(*bodies).state is TargetState.FOLLOWING
    return film


def test_without_a_request_no_person_is_followed() -> None:
    target = Film().see(NEAR, FAR, seconds=5)
    assert (target.state, target.id, target.body) == (TargetState.NONE, "", None)


def test_the_nearest_person_is_chosen_after_a_moment_in_view() -> None:
    film = Film()
    film.selector.follow_nearest()
    assert film.see(NEAR, FAR).state is TargetState.WAITING
    target = film.see(NEAR, FAR, seconds=0.3)
    assert (target.state, target.id) == (TargetState.FOLLOWING, "nearr")
    assert target.body is NEAR


def test_two_people_at_nearly_the_same_distance_do_not_delay_the_choice() -> None:
    film = Film()
    film.selector.follow_nearest()
    for i in range(5):
        other = a_body("other", (0.5, 0.0, 1.95 if i % 2 else 2.05))
        target = film.see(NEAR, other)
    assert target.state is TargetState.FOLLOWING


def test_tentative_and_lost_people_and_those_without_a_distance_are_not_chosen() -> None:
    film = Film()
    film.selector.follow_nearest()
    unknown = replace(NEAR, root_m=np.full(3, np.nan, np.float32))
    others = [replace(NEAR, state=state) for state in (TrackState.TENTATIVE, TrackState.LOST)]
    for body in (unknown, *others):
        assert film.see(body, seconds=1).state is TargetState.WAITING
    assert "not calibrated" in film.see(unknown).message


def test_a_nearer_person_who_comes_is_not_followed() -> None:
    film = following(FAR)
    target = film.see(NEAR, FAR, seconds=5)
    assert (target.state, target.id) == (TargetState.FOLLOWING, "farrr")


def test_no_other_person_is_followed_when_the_chosen_person_is_lost_and_given_up() -> None:
    film = following(FAR)
    assert film.see(NEAR, seconds=1).state is TargetState.LOST
    target = film.see(NEAR, seconds=3)
    assert (target.state, target.id, target.body) == (TargetState.GAVE_UP, "farrr", None)
    target = film.see(NEAR, FAR, seconds=3)  # they come back too late
    assert (target.state, target.body) == (TargetState.GAVE_UP, None)
    assert "~/follow" in target.message


def test_a_missed_detection_is_no_loss() -> None:
    film = following(NEAR)
    lost = replace(NEAR, state=TrackState.LOST)
    target = film.see(lost, seconds=0.4)
    assert target.state is TargetState.FOLLOWING and target.body is lost  # predicted
    assert film.see(seconds=0.1).body is None  # the position is not known
    assert film.see(NEAR).state is TargetState.FOLLOWING


def test_a_person_who_was_not_measured_on_purpose_is_in_view() -> None:
    film = following(NEAR)
    assert film.see(replace(NEAR, state=TrackState.PREDICTED), seconds=3).body is not None


def test_a_lost_person_is_found_again_only_after_a_moment_in_view() -> None:
    film = following(NEAR)
    film.see(seconds=1)
    for _ in range(3):  # single detections
        assert film.see(NEAR).state is TargetState.LOST
        assert film.see().state is TargetState.LOST
    states = [film.see(NEAR).state for _ in range(8)]
    assert states[:3] == [TargetState.LOST] * 3
    assert states[3] is TargetState.FOUND_AGAIN and states[-1] is TargetState.FOLLOWING


def test_a_new_request_replaces_the_old_one_and_stop_ends_it() -> None:
    film = following(NEAR, FAR)
    film.selector.follow("farrr")
    assert film.see(NEAR, FAR).id == "farrr"
    film.selector.stop()
    assert film.see(NEAR, FAR).state is TargetState.NONE


def test_an_id_that_no_person_has_is_refused_and_nothing_changes() -> None:
    film = following(NEAR, FAR)
    with pytest.raises(PerceptionError, match="'zzzzz'; in view: farrr, nearr"):
        film.selector.follow("zzzzz")
    assert film.see(NEAR, FAR).id == "nearr"


def test_a_person_who_was_in_view_a_moment_ago_can_be_chosen_and_is_given_up_in_the_end() -> None:
    film = Film()
    film.see(NEAR)
    film.see(seconds=1)
    film.selector.follow("nearr")
    assert film.see().state is TargetState.WAITING
    assert film.see(seconds=3).state is TargetState.GAVE_UP
    with pytest.raises(PerceptionError, match="no one"):
        film.selector.follow("nearr")


def test_the_end_of_the_images_is_a_loss() -> None:
    film = following(NEAR)
    target = film.selector.interrupt()
    assert (target.state, target.id, target.body) == (TargetState.LOST, "nearr", None)
    film.stamp_ns += 1_000_000_000
    assert film.see(NEAR).state is TargetState.LOST  # the time without images is none in view
    assert film.see(NEAR, seconds=0.4).state is TargetState.FOUND_AGAIN


def test_after_a_jump_back_in_time_no_time_has_passed() -> None:
    film = following(NEAR)
    film.stamp_ns = 0
    assert film.see(seconds=0.3).state is TargetState.FOLLOWING
    assert film.see(seconds=0.5).state is TargetState.LOST


@given(st.lists(st.sets(st.sampled_from(["nearr", "farrr"])), min_size=1, max_size=60))
def test_whatever_happens_the_target_is_the_chosen_person_or_no_person(
    views: Sequence[set[str]],
) -> None:
    film = following(NEAR)
    for names in views:
        target = film.see(*[body for body in (NEAR, FAR) if body.id in names])
        assert target.id == "nearr"
        assert target.body is None or target.body.id == "nearr"
