# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
import numpy as np
import property_tests  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.config import WindowConfig
from thfm_ros.contract import Frame
from thfm_ros.perception.frame_window import FrameWindow


def a_frame(at_s: float, *, width: int = 4, frame_id: str = "camera") -> Frame:
    return Frame(np.zeros((3, width, 3), np.uint8), round(at_s * 1e9), frame_id)


def test_a_clip_is_the_newest_frames_oldest_first_without_copies() -> None:
    window = FrameWindow(WindowConfig(length=3))
    frames = [a_frame(0.1 * i) for i in range(5)]
    clips = [window.push(frame) for frame in frames]
    assert [len(clip.frames) for clip in clips if clip] == [1, 2, 3, 3, 3]
    last = clips[-1]
    assert last is not None and last.newest is frames[-1]
    assert all(a is b for a, b in zip(last.frames, frames[2:], strict=True))
    assert window.fill == 3


def test_a_gap_longer_than_max_gap_begins_a_new_epoch() -> None:
    window = FrameWindow(WindowConfig(max_gap_s=0.5))
    first = window.push(a_frame(0.0))
    second = window.push(a_frame(0.5))  # exactly the allowed gap
    third = window.push(a_frame(1.001))
    assert first and second and third
    assert first.epoch == second.epoch != third.epoch
    assert len(third.frames) == 1
    assert "0.501 s" in window.epoch_reason


def test_a_stamp_that_goes_backwards_begins_a_new_epoch() -> None:
    window = FrameWindow(WindowConfig())
    window.push(a_frame(5.0))
    clip = window.push(a_frame(4.9))
    assert clip is not None and len(clip.frames) == 1
    assert "backwards by 0.100 s" in window.epoch_reason


def test_a_repeated_frame_is_dropped_and_the_stream_continues() -> None:
    window = FrameWindow(WindowConfig())
    before = window.push(a_frame(5.0))
    assert window.push(a_frame(5.0)) is None
    assert "5000000000 ns" in window.dropped_reason
    after = window.push(a_frame(5.1))
    assert before and after and after.epoch == before.epoch and len(after.frames) == 2


def test_another_size_or_frame_id_begins_a_new_epoch_even_with_the_same_stamp() -> None:
    window = FrameWindow(WindowConfig())
    window.push(a_frame(1.0))
    resized = window.push(a_frame(1.0, width=8))
    assert resized and len(resized.frames) == 1 and "from 4x3 to 8x3" in window.epoch_reason
    moved = window.push(a_frame(1.0, width=8, frame_id="other"))
    assert moved and moved.epoch == resized.epoch + 1 and "'other'" in window.epoch_reason


def test_a_reset_begins_a_new_epoch_with_its_reason() -> None:
    window = FrameWindow(WindowConfig())
    first = window.push(a_frame(1.0))
    window.reset("requested")
    second = window.push(a_frame(1.1))
    assert first and second and second.epoch == first.epoch + 1
    assert window.epoch_reason == "requested" and len(second.frames) == 1


def test_the_first_frame_is_the_reason_of_the_first_epoch() -> None:
    window = FrameWindow(WindowConfig())
    assert (window.fill, window.epoch) == (0, 0)
    window.push(a_frame(1.0))
    assert window.epoch_reason == "first frame"


@given(st.lists(st.integers(-30, 30), min_size=1, max_size=40), st.integers(1, 6))
def test_a_clip_never_contains_a_gap(steps: list[int], length: int) -> None:
    window = FrameWindow(WindowConfig(length=length, max_gap_s=0.2))
    stamp = 10_000
    for step in steps:
        stamp += step * 10
        clip = window.push(a_frame(stamp * 1e-3))
        if clip is None:
            assert step == 0
            continue
        stamps = [frame.stamp_ns for frame in clip.frames]
        gaps = np.diff(stamps)
        assert 1 <= len(stamps) <= length
        assert (gaps > 0).all() and (gaps <= 200_000_000).all()
