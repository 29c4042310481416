# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Tracks of people whom a time budget measures in some frames only."""

import pytest
from a_detection import a_detection

from thfm_ros.config import TrackConfig
from thfm_ros.contract import TrackState
from thfm_ros.perception.tracking import Tracker

STEP_NS = 33_000_000
LEFT = a_detection(-0.8)


def measured_rarely(missed_at: int) -> tuple[Tracker, str]:
    """A confirmed person, not measured from frame 2 on, until they are missed in a frame."""
    tracker = Tracker(TrackConfig(seed=1, lost_for_s=0.5))
    name = tracker.update(0, {}, [LEFT])[0].body.id
    tracker.update(STEP_NS, {name: LEFT}, [])
    for number in range(2, missed_at):
        (output,) = tracker.update(number * STEP_NS, {}, [], not_measured={name})
        assert output.body.state is TrackState.PREDICTED
    return tracker, name


def test_the_patience_with_a_person_who_is_measured_rarely_counts_from_the_first_miss() -> None:
    tracker, name = measured_rarely(missed_at=20)  # 0.63 s after the last measurement
    for number in range(20, 34):
        (output,) = tracker.update(number * STEP_NS, {}, [])
        assert output.body.state is TrackState.LOST and output.body.id == name
    assert tracker.update(36 * STEP_NS, {}, []) == []
    assert output.body.score < 0.2 * LEFT.body.score


def test_a_person_who_is_measured_rarely_keeps_the_id_when_found_after_a_miss() -> None:
    tracker, name = measured_rarely(missed_at=20)
    tracker.update(20 * STEP_NS, {}, [])
    (again,) = tracker.update(23 * STEP_NS, {}, [a_detection(-0.75)])
    assert again.body.id == name and again.body.state is TrackState.TRACKED


def test_the_velocity_of_a_box_measured_rarely_is_that_of_one_measured_in_each_frame() -> None:
    ahead = {}
    for every in (1, 5):
        tracker = Tracker(TrackConfig(seed=1, smoothing="none"))
        name = tracker.update(0, {}, [a_detection(-0.8)])[0].body.id
        for number in range(1, 11):
            if number % every == 0:
                tracker.update(number * STEP_NS, {name: a_detection(-0.8 + 0.04 * number)}, [])
            else:
                tracker.update(number * STEP_NS, {}, [], not_measured={name})
        later = tracker.predicted_box(name, 15 * STEP_NS)
        ahead[every] = float(later[0] - tracker.predicted_box(name, 10 * STEP_NS)[0])
    assert ahead[1] > 10
    assert ahead[5] == pytest.approx(ahead[1], rel=0.05)
