# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm perceive` with rosbags, and an engine that knows the scene."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_engine import camera, image
from small_bags import (
    MCAP,
    START_NS,
    Message,
    a_camera_info,
    images_of,
    write_bag,
    write_ros1_bag,
)

K = camera(160, 120, 150.0)
INFO = ("/camera/camera_info", START_NS, a_camera_info(160, 120, 150.0))

Thfm = Callable[..., int]


def frames(count: int) -> list[np.ndarray]:
    return [image(K)] * count


def test_a_bag_becomes_arrays_with_the_stamps_and_the_calibration_of_its_messages(
    tmp_path: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture
) -> None:
    bag = write_bag(tmp_path / "bag", [INFO, *images_of(frames(4))])
    assert thfm(bag, "--out", tmp_path / "out", "--overlay") == 0
    arrays = np.load(tmp_path / "out" / "perception.npz")
    assert (arrays["stamps"] - START_NS).tolist() == [0, 10**8, 2 * 10**8, 3 * 10**8]
    assert arrays["frames"].tolist() == [0, 1, 2, 3]
    assert np.nanmedian(arrays["depth_m"][-1]) == pytest.approx(3, abs=0.05)
    assert len(set(arrays["ids"].ravel())) == 1
    assert (tmp_path / "out" / "overlay.mp4").stat().st_size > 1000
    assert "No focal length" not in caplog.text


def test_both_kinds_of_bags_give_the_same_arrays(tmp_path: Path, thfm: Thfm) -> None:
    one = write_bag(tmp_path / "bag", [INFO, *images_of(frames(3))], MCAP, "FILE")
    info = (INFO[0], INFO[1], a_camera_info(160, 120, 150.0, ros1=True))
    two = write_ros1_bag(tmp_path / "two.bag", [info, *images_of(frames(3), ros1=True)])
    for bag in (one, two):
        out = tmp_path / f"of {bag.name}"
        assert thfm(bag, "--out", out, "--set", "track.seed=1") == 0
    first, second = (np.load(tmp_path / f"of {bag.name}" / "perception.npz") for bag in (one, two))
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], name)


def test_an_option_replaces_the_calibration_of_the_bag(tmp_path: Path, thfm: Thfm) -> None:
    bag = write_bag(tmp_path / "bag", [INFO, *images_of(frames(3))])
    assert thfm(bag, "--out", tmp_path / "out", "--fx", 300) == 0
    arrays = np.load(tmp_path / "out" / "perception.npz")
    assert np.nanmedian(arrays["depth_m"][-1]) == pytest.approx(6, rel=0.05)


def two_cameras(folder: Path) -> Path:
    other = ("/rear/camera_info", START_NS, INFO[2])
    rear = images_of(frames(2), "/rear/image_raw", start_ns=START_NS + 7)
    messages: list[Message] = [INFO, other, *images_of(frames(3)), *rear]
    return write_bag(folder / "bag", sorted(messages, key=lambda each: each[1]))


def test_one_of_two_cameras_must_be_chosen(
    tmp_path: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture
) -> None:
    bag = two_cameras(tmp_path)
    assert thfm(bag, "--out", tmp_path / "out") == 2
    assert "/camera/image_raw (Image, 3 messages), /rear/image_raw" in caplog.text
    assert not (tmp_path / "out").exists()
    assert thfm(bag, "--out", tmp_path / "out", "--topic", "/rear/image_raw") == 0
    assert len(np.load(tmp_path / "out" / "perception.npz")["frames"]) == 2


def test_all_cameras_of_a_bag_get_a_folder_each(tmp_path: Path, thfm: Thfm) -> None:
    bag = two_cameras(tmp_path)
    assert thfm(bag, "--out", tmp_path / "out", "--topic", "all") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "camera.image_raw",
        "rear.image_raw",
    ]
    rear = np.load(tmp_path / "out" / "rear.image_raw" / "perception.npz")
    assert (rear["stamps"] - START_NS).tolist() == [7, 7 + 10**8]


def test_one_bad_camera_does_not_cost_the_others(
    tmp_path: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture
) -> None:
    zero = images_of(frames(2), "/zero/image_raw", start_ns=0, period_ns=0)
    messages = [INFO, *images_of(frames(2)), *[(t, START_NS + n, m) for t, n, m in zero]]
    bag = write_bag(tmp_path / "bag", sorted(messages, key=lambda each: each[1]))
    assert thfm(bag, "--out", tmp_path / "out", "--topic", "all") == 2
    assert "stamps" in caplog.text and "--stamps received" in caplog.text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["camera.image_raw"]


def test_a_gap_begins_a_new_stream_as_in_the_node(tmp_path: Path, thfm: Thfm) -> None:
    late = images_of(frames(2), start_ns=START_NS + 10**10)
    bag = write_bag(tmp_path / "bag", [INFO, *images_of(frames(2)), *late])
    assert thfm(bag, "--out", tmp_path / "out") == 0
    ids = np.load(tmp_path / "out" / "perception.npz")["ids"][:, 0]
    assert ids[0] == ids[1] != ids[2] == ids[3]


def test_slow_images_are_named_with_the_parameter(
    tmp_path: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture
) -> None:
    bag = write_bag(tmp_path / "bag", [INFO, *images_of(frames(6), period_ns=2 * 10**9)])
    assert thfm(bag, "--out", tmp_path / "out") == 0
    assert "6 of 6 frames began a new stream" in caplog.text
    assert "--set window.max_gap_s=4" in caplog.text


def test_repeated_stamps_are_left_out_and_counted(
    tmp_path: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture
) -> None:
    messages = images_of(frames(3))
    bag = write_bag(tmp_path / "bag", [INFO, *messages[:2], messages[1], messages[2]])
    assert thfm(bag, "--out", tmp_path / "out") == 0
    assert np.load(tmp_path / "out" / "perception.npz")["frames"].tolist() == [0, 1, 3]
    assert "1 frames have the stamp of the frame before" in caplog.text


def test_what_was_perceived_before_a_change_of_size_is_kept(
    tmp_path: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture
) -> None:
    larger = images_of([np.zeros((240, 320, 3), np.uint8)], start_ns=START_NS + 10**9)
    bag = write_bag(tmp_path / "bag", [INFO, *images_of(frames(2)), *larger])
    assert thfm(bag, "--out", tmp_path / "out") == 2
    assert "from 160x120 to 320x240 at image 2" in caplog.text
    assert np.load(tmp_path / "out" / "perception.npz")["frames"].tolist() == [0, 1]


def test_warnings_about_a_bag_come_also_when_only_some_frames_are_perceived(
    tmp_path: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture
) -> None:
    bag = write_bag(tmp_path / "bag", images_of(frames(4)))
    assert thfm(bag, "--out", tmp_path / "out", "--max-frames", 1) == 0
    (text,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert text.startswith(f"{bag}, /camera/image_raw: nothing is metric: there is no message on")
    caplog.clear()
    assert thfm(bag, "--out", tmp_path / "out", "--fx", 150) == 0
    assert "nothing is metric" not in caplog.text
    assert thfm(bag, "--out", tmp_path / "out", "--max-frames", -1) == 2
    assert "--max-frames -1: give 1 or more, or 0 for all" in caplog.text


def test_options_of_bags_are_refused_for_other_input(
    tmp_path: Path, thfm: Thfm, caplog: pytest.LogCaptureFixture
) -> None:
    assert thfm(tmp_path / "film.mp4", "--out", tmp_path / "out", "--topic", "/image") == 2
    assert "are for rosbags" in caplog.text
