# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Videos, images and the .npz writer."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thfm_ros.media.npz_writer import NpzWriter
from thfm_ros.media.video import Video, VideoError, VideoWriter, image_files, letterboxed


def test_numpy_reads_what_the_writer_wrote(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(40, 300, 17)).astype(np.float16)
    rows[5:30] = np.nan  # compresses a thousandfold: decompressed in chunks
    large = np.zeros((64, 1 << 20), np.uint8)
    writer = NpzWriter(tmp_path / "a.npz")
    for row in rows:
        writer.append("rows", row)
    for row in large:
        writer.append("large", row)
    writer.close(whole=np.arange(3))
    loaded = np.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(loaded["rows"], rows)
    np.testing.assert_array_equal(loaded["large"], large)
    assert loaded["whole"].tolist() == [0, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_rows_of_one_array_must_have_one_shape(tmp_path: Path) -> None:
    writer = NpzWriter(tmp_path / "a.npz")
    writer.append("rows", np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="rows"):
        writer.append("rows", np.zeros(4, np.float32))
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_frames_of_other_sizes_are_letterboxed_into_the_first(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", 5) as writer:
        writer.write(np.full((61, 81, 3), 200, np.uint8))
        writer.write(np.full((300, 100, 3), 200, np.uint8))
    frames = [each.rgb for each in Video(tmp_path / "v.mp4")]
    assert [each.shape for each in frames] == [(62, 82, 3)] * 2
    assert letterboxed(np.ones((10, 20, 3), np.uint8), (20, 10)).shape == (10, 20, 3)


def test_images_are_sorted_by_name(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in image_files(tmp_path)] == ["a.png", "b.JPG"]


def test_a_full_disk_leaves_no_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    writer = NpzWriter(tmp_path / "a.npz")
    writer.append("rows", np.zeros(3, np.float32))
    monkeypatch.setattr("thfm_ros.media.npz_writer.zipfile.ZipFile", full)
    with pytest.raises(OSError, match="No space"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


class Damaged:
    """A capture of which every third frame cannot be decoded."""

    def __init__(self, capture: Any) -> None:
        self._capture, self._count = capture, 0
        self.release = capture.release

    def read(self) -> tuple[bool, Any]:
        self._count += 1
        is_decoded, frame = self._capture.read()
        return (False, None) if self._count % 3 == 0 else (is_decoded, frame)


def test_a_damaged_frame_is_logged_and_does_not_end_the_video(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with VideoWriter(tmp_path / "v.mp4", 5) as writer:
        for _ in range(9):
            writer.write(np.full((60, 80, 3), 200, np.uint8))
    video = Video(tmp_path / "v.mp4")
    vars(video)["_capture"] = Damaged(vars(video)["_capture"])
    frames = list(video)
    assert [frame.index for frame in frames] == [0, 1, 3, 4, 6, 7]
    assert frames[2].stamp_ns == pytest.approx(3 / 5 * 1e9)
    assert "3 of 9 frames" in caplog.text


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(name, "wb"):
        pass
    with pytest.raises(VideoError, match="not UTF-8: rename it"):
        image_files(tmp_path)
    with pytest.raises(VideoError, match="not UTF-8: rename it"):
        Video(Path(os.fsdecode(name)))
