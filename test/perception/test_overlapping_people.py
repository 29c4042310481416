# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Tracks of people whose boxes overlap: who is hidden, and whose clothes are remembered."""

from collections.abc import Callable

import numpy as np
from a_detection import a_detection

from thfm_ros.config import TrackConfig
from thfm_ros.contract import TrackState
from thfm_ros.perception.decoding import Detection
from thfm_ros.perception.tracking import Tracker

STEP_NS = 100_000_000
RED, BLUE = np.tile([40, 50, 30, 5], (2, 7)).astype(np.float32) * [[1], [-1]]


def describing(*worn: tuple[Detection, np.ndarray]) -> Callable[[Detection], np.ndarray | None]:
    clothes = {id(detection): each.astype(np.float32) for detection, each in worn}
    return lambda detection: clothes.get(id(detection))


def a_tracker() -> Tracker:
    return Tracker(TrackConfig(seed=1, hits_to_confirm=1))


def test_who_is_hidden_is_lost_and_followed_and_who_leaves_is_not() -> None:
    tracker = a_tracker()
    right, left, alone = a_detection(0.55, 4.5), a_detection(-0.1, 3.0), a_detection(1.5)
    names = [each.body.id for each in tracker.update(0, {}, [right, left, alone])]
    behind, front, leaving = names
    for step in (1, 2):
        shown = {behind: right, front: left, leaving: alone}
        tracker.update(step * STEP_NS, shown, [])
    people = tracker.update(3 * STEP_NS, {behind: left, front: left}, [])
    states = {each.body.id: each.body.state for each in people}
    assert states[front] is TrackState.TRACKED
    assert states[behind] is states[leaving] is TrackState.LOST
    assert set(tracker.followed) == {behind, front} and set(tracker.active) == {front}
    people = tracker.update(4 * STEP_NS, {behind: right, front: left}, [])
    assert [each.body.id for each in people if each.detection] == [behind, front]


def test_a_hidden_person_is_given_up_after_the_time_of_the_parameter() -> None:
    tracker = a_tracker()
    right, left = a_detection(0.55, 4.5), a_detection(-0.1, 3.0)
    behind, front = (each.body.id for each in tracker.update(0, {}, [right, left]))
    tracker.update(STEP_NS, {behind: right, front: left}, [])
    for step in range(2, 12):
        assert behind in tracker.followed
        tracker.update(step * STEP_NS, {behind: left, front: left}, [])
    tracker.update(13 * STEP_NS, {front: left}, [])
    assert set(tracker.followed) == {front}


def test_a_lost_track_does_not_go_on_with_someone_in_other_clothes() -> None:
    first, second = a_detection(0.0), a_detection(0.05)
    for clothes, same in ((RED, True), (BLUE, False)):
        tracker = a_tracker()
        describe = describing((first, RED), (second, clothes))
        (seen,) = tracker.update(0, {}, [first], describe=describe)
        tracker.update(STEP_NS, {}, [], describe=describe)
        people = tracker.update(2 * STEP_NS, {}, [second], describe=describe)
        assert ([each.body.id for each in people if each.detection] == [seen.body.id]) is same


def test_clothes_are_not_learnt_from_people_who_overlap() -> None:
    tracker = a_tracker()
    right, left, aside = a_detection(0.55, 4.5), a_detection(-0.1, 3.0), a_detection(-1.6, 3.0)
    describe = describing((right, RED), (aside, BLUE))
    behind, front = (
        each.body.id for each in tracker.update(0, {}, [right, aside], describe=describe)
    )
    mixed = describing((right, BLUE), (left, RED))
    for step in range(1, 20):
        tracker.update(step * STEP_NS, {behind: right, front: left}, [], describe=mixed)
    known = tracker._known
    assert known is not None
    assert known.likeness(behind, RED.astype(np.float32)) > 0
    assert known.likeness(front, BLUE.astype(np.float32)) > 0
