# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Writing videos: true times, one size, and no half file."""

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from full_disk import full_disk
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.media.errors import VideoError
from thfm_ros.media.frame_times import IncreasingTimes
from thfm_ros.media.video import Video
from thfm_ros.media.video_writer import VideoWriter, letterboxed


def test_frames_of_other_sizes_are_letterboxed_into_the_first(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", 5) as writer:
        writer.write(np.full((61, 81, 3), 200, np.uint8))
        writer.write(np.full((300, 100, 3), 200, np.uint8))
    frames = [each.rgb for each in Video(tmp_path / "v.mp4")]
    assert [each.shape for each in frames] == [(62, 82, 3)] * 2
    assert letterboxed(np.ones((10, 20, 3), np.uint8), (20, 10)).shape == (10, 20, 3)


def test_frames_keep_their_times_and_the_film_its_duration(tmp_path: Path) -> None:
    times_ms = [0, 97, 199, 1306, 1413]
    with VideoWriter(tmp_path / "v.mp4", 10) as writer:
        for time in times_ms:
            writer.write(np.full((48, 64, 3), 90, np.uint8), 5_000_000_000 + time * 1_000_000)
    assert [round(f.stamp_ns * 1e-6) for f in Video(tmp_path / "v.mp4")] == times_ms
    with av.open(str(tmp_path / "v.mp4")) as file:
        assert file.duration is not None
        assert file.duration / 1e6 == pytest.approx(1.513, abs=0.002)


def test_frames_without_times_are_evenly_spaced(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", 12.5) as writer:
        for _ in range(4):
            writer.write(np.full((48, 64, 3), 90, np.uint8))
    assert [round(f.stamp_ns * 1e-6) for f in Video(tmp_path / "v.mp4")] == [0, 80, 160, 240]


@pytest.mark.parametrize("after_bytes", [10, 1000, 60_000])
@pytest.mark.fault("disk", "the disk is full while a film is written")
def test_a_film_that_a_full_disk_cuts_is_an_error_and_leaves_no_file(
    tmp_path: Path, after_bytes: int
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 120, 160, 3), np.uint8)
    (tmp_path / "v.mp4").write_text("the film of an earlier run")
    with (
        full_disk(after_bytes),
        pytest.raises(VideoError, match=r"v\.mp4 cannot be written: File too large"),
        VideoWriter(tmp_path / "v.mp4", 10) as writer,
    ):
        for rgb in noise:
            writer.write(rgb)
    assert [path.name for path in tmp_path.iterdir()] == ["v.mp4"]
    assert (tmp_path / "v.mp4").read_text() == "the film of an earlier run"


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="cannot be written"):
        VideoWriter(tmp_path / "nowhere" / "v.mp4", 10).write(np.zeros((48, 64, 3), np.uint8))


TIMES = st.lists(st.none() | st.integers(-(10**13), 10**13), min_size=1, max_size=30)


@given(stated=TIMES, interval_ns=st.integers(1, 10**10))
def test_times_begin_at_zero_and_increase_whatever_is_stated(
    stated: list[int | None], interval_ns: int
) -> None:
    times = IncreasingTimes(interval_ns)
    made = [times.next(each) for each in stated]
    assert made[0] == 0
    assert all(a < b for a, b in pairwise(made))


@given(gaps=st.lists(st.integers(1, 599 * 10**9), max_size=30), start=st.integers(0, 10**15))
def test_times_that_increase_are_kept_with_their_gaps(gaps: list[int], start: int) -> None:
    times = IncreasingTimes(33_000_000)
    stated = start + np.cumsum([0, *gaps])
    assert [times.next(int(each)) for each in stated] == list(stated - start)


@pytest.mark.parametrize(
    ("stated_ms", "expected_ms"),
    [
        ([0, 0, 40, 80], [0, 20, 40, 80]),  # a repeated time takes nothing from the next frame
        ([0, None, 80], [0, 40, 80]),
        ([5000, 5040, 0, 40], [0, 40, 80, 120]),  # another recording was appended
        ([0, 40, 5_000_000, 5_000_040], [0, 40, 80, 120]),
    ],
)
def test_repeated_missing_and_restarted_times(
    stated_ms: list[int | None], expected_ms: list[int]
) -> None:
    times = IncreasingTimes(40_000_000)
    made = [times.next(None if t is None else t * 1_000_000) for t in stated_ms]
    assert made == [t * 1_000_000 for t in expected_ms]
