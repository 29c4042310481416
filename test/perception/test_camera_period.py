# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
from collections.abc import Iterable

import numpy as np
import property_tests  # noqa: F401
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.contract import Clip, Frame
from thfm_ros.perception.camera_period import CameraPeriod

IMAGE = np.zeros((2, 2, 3), np.uint8)


def clip(*stamps_s: float, epoch: int = 1) -> Clip:
    return Clip(tuple(Frame(IMAGE, round(each * 1e9), "c", None) for each in stamps_s), epoch)


def watched(stamps_s: Iterable[float], pace: float = 1.0, every: int = 1) -> CameraPeriod:
    """Steps with every n-th image; clips hold the newest four."""
    period, stamps = CameraPeriod(), list(stamps_s)
    for number in range(0, len(stamps), every):
        newest = stamps[max(number - 3, 0) : number + 1]
        period.update(clip(*newest), now_s=100 + pace * stamps[number])
    return period


@given(rate_hz=st.floats(1, 300), every=st.integers(1, 6))
def test_the_period_is_that_of_the_camera_however_many_images_are_overtaken(
    rate_hz: float, every: int
) -> None:
    period = watched((number / rate_hz for number in range(60)), every=every)
    assert period.seconds == pytest.approx(1 / rate_hz, rel=1e-3)


def test_no_period_is_known_before_two_images_of_a_stream() -> None:
    period = CameraPeriod()
    assert period.seconds is None
    for epoch in range(1, 4):  # a camera so slow that each image begins a stream
        period.update(clip(float(epoch), epoch=epoch), float(epoch))
        assert period.seconds is None


def test_lost_images_and_a_jump_of_the_stamps_do_not_change_the_period() -> None:
    stamps = [number / 10 for number in range(80) if number % 5 != 2]
    assert watched(stamps).seconds == pytest.approx(0.1)
    jumped = [each + (0.35 if each > 4 else 0) for each in stamps]
    assert watched(jumped).seconds == pytest.approx(0.1)


def test_another_rate_is_known_after_eight_images() -> None:
    slow = [3 + number / 10 for number in range(1, 9)]
    assert watched([*np.arange(0, 3, 1 / 30), *slow]).seconds == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("pace", [0.25, 2.0, 10.0])
def test_stamps_of_a_simulation_that_runs_slower_or_faster_are_converted(pace: float) -> None:
    period = watched((number / 30 for number in range(60)), pace=pace)
    assert period.seconds == pytest.approx(pace / 30)


def test_delays_and_a_long_first_step_are_no_other_pace() -> None:
    rng, period = np.random.default_rng(1), CameraPeriod()
    for number in range(40):
        newest = [each / 10 for each in range(max(number - 3, 0), number + 1)]
        delay_s = 0.4 if number == 0 else float(rng.uniform(0, 0.1))
        period.update(clip(*newest), number / 10 + delay_s)
        if number > 1:
            assert period.seconds == pytest.approx(0.1)


def test_a_stream_that_begins_anew_elsewhere_in_time_keeps_the_period() -> None:
    period = watched(number / 10 for number in range(30))
    for start_s in (7200.0, 5.0):  # forward, then backwards
        for number in range(4):
            stamps = [start_s + each / 10 for each in range(number + 1)]
            period.update(clip(*stamps, epoch=round(start_s)), 200 + start_s + number / 10)
            assert period.seconds == pytest.approx(0.1)
