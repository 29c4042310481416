# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm perceive` with files of unusual formats, sizes and times, and with a full disk."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_engine import Person, camera, image
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_films import packets_of, write_film, write_packets

from thfm_ros.media import reduction
from thfm_ros.media.images import write_image
from thfm_ros.media.video import Video

K = camera(160, 120, 150.0)

Thfm = Callable[..., int]


def test_formats_without_a_decoder_are_named_and_rarer_ones_read(
    tmp_path: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.jfif", "b.gif"):
        Image.fromarray(image(K)).save(folder / name, "JPEG" if name == "a.jfif" else None)
    (folder / "c.cr2").write_bytes(b"a raw photograph")
    assert thfm(folder, "--out", tmp_path) == 0
    assert "c.cr2" in caplog.text and "without a decoder" in caplog.text
    assert np.load(tmp_path / "perception.npz")["frames"].tolist() == [0, 1]


def test_a_single_image_is_a_folder_of_one(tmp_path: Path, thfm: Thfm) -> None:
    write_image(tmp_path / "a.png", image(K))
    assert thfm(tmp_path / "a.png", "--out", tmp_path) == 0
    assert np.load(tmp_path / "perception.npz")["mask"].shape == (1, 120, 160)


@pytest.mark.parametrize("size", [(3000, 1), (1, 3000), (1, 1), (5000, 3)])
def test_every_panel_has_a_pixel_at_least(
    tmp_path: Path, thfm: Thfm, people: list[Person], size: tuple[int, int]
) -> None:
    people.clear()
    folder = tmp_path / "images"
    folder.mkdir()
    write_image(folder / "a.png", np.full((size[1], size[0], 3), 90, np.uint8))
    assert thfm(folder, "--out", tmp_path / "out", "--overlay") == 0
    frame = next(iter(Video(tmp_path / "out" / "overlay.mp4"))).rgb
    assert min(frame.shape[:2]) >= 2 and max(frame.shape[:2]) <= 4096


def test_large_images_are_reduced_with_a_warning_and_all_results_with_them(
    tmp_path: Path, thfm: Thfm, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reduction, "MAX_PERCEIVED_PIXELS", 160 * 120)
    large = cv2.resize(image(K), (320, 240), interpolation=cv2.INTER_NEAREST)
    for name, rgb in (("large.png", large), ("plain.png", image(K))):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / name, rgb)
        fx = 300 if rgb is large else 150
        assert thfm(tmp_path / name, "--out", tmp_path / f"of_{name}", "--fx", fx) == 0
    assert "large.png: 320x240 pixels are reduced to 160x120" in caplog.text
    of_large, of_plain = (
        dict(np.load(tmp_path / f"of_{name}.png" / "perception.npz")) for name in ("large", "plain")
    )
    assert of_large.pop("scale").tolist() == [0.5] and "scale" not in of_plain
    for name in ("keypoints2d", "keypoints3d", "depth_m"):  # also the focal length is reduced
        np.testing.assert_allclose(of_large[name], of_plain[name], atol=1e-3)


@given(width=st.integers(1, 100_000), height=st.integers(1, 100_000))
def test_no_image_takes_more_than_its_share_of_memory(width: int, height: int) -> None:
    new_width, new_height = reduction.reduced_size(width, height)
    assert 1 <= new_width <= width and 1 <= new_height <= height
    assert new_width * new_height <= max(reduction.MAX_PERCEIVED_PIXELS, width, height)
    if width * height <= reduction.MAX_PERCEIVED_PIXELS:
        assert (new_width, new_height) == (width, height)


def test_the_overlay_of_an_uneven_video_keeps_its_times(tmp_path: Path, thfm: Thfm) -> None:
    times_ms = [0, 97, 199, 806, 913]
    video = write_film(
        tmp_path / "12:00.webm", [image(K)] * 5, "libvpx", times_ms=times_ms, rate=1000
    )
    assert thfm(video, "--out", tmp_path / "out", "--overlay") == 0
    overlay = Video(tmp_path / "out" / "overlay.mp4")
    stamps_ms = [frame.stamp_ns * 1e-6 for frame in overlay]
    assert stamps_ms == pytest.approx(times_ms, abs=1)


@pytest.mark.fault("disk", "the disk is full during `thfm perceive`")
def test_a_full_disk_is_one_line_and_keeps_no_half_overlay(
    tmp_path: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thfm_ros.media.video_writer._Encoder._encode", full)
    video = write_film(tmp_path / "walk.avi", [image(K)] * 4)
    assert thfm(video, "--out", tmp_path / "out", "--overlay") == 2
    assert "overlay.mp4 cannot be written: No space left on device" in caplog.text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["perception.npz"]


def test_a_video_that_changes_its_size_is_refused_and_keeps_what_was_before(
    tmp_path: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture
) -> None:
    small = write_film(tmp_path / "small.mkv", [image(K)] * 2, "mjpeg")
    large = write_film(tmp_path / "large.mkv", [np.zeros((240, 320, 3), np.uint8)], "mjpeg")
    film = write_packets(tmp_path / "f.mkv", packets_of(small) + packets_of(large), small)
    assert thfm(film, "--out", tmp_path / "out") == 2
    assert "changes its size from 160x120 to 320x240 at frame 2" in caplog.text
    assert np.load(tmp_path / "out" / "perception.npz")["frames"].tolist() == [0, 1]
