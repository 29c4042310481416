# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The replay node over DDS, in a process of its own; its sources and calibrations."""

import itertools
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import rclpy
from hypothesis import given
from hypothesis import strategies as st
from ros_process import Listener, ros_arguments, started
from sensor_msgs.msg import CameraInfo, Image
from tiny_films import grey_levels, levels_of, write_film

from thfm_ros.camera.calibration import CalibrationError
from thfm_ros.ros.replay import node as replay_node
from thfm_ros.ros.replay.calibration import calibration_from_file, pinhole
from thfm_ros.ros.replay.sources import ImageSourceError, SourceImage, open_image_source

pytestmark = pytest.mark.ros

MODULE = "thfm_ros.ros.replay.node"


def a_folder_of_images(folder: Path, sizes: list[tuple[int, int]]) -> list[np.ndarray]:
    """Write images of noise, so that a swapped channel, row or image is detected."""
    rng = np.random.default_rng(1)
    folder.mkdir()
    images = []
    for number, (width, height) in enumerate(sizes):
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number:03d}.png"), image)
        images.append(image)
    return images


def pixels(message: Image) -> np.ndarray:
    assert message.step == 3 * message.width
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)


def stamp_ns(message: Image | CameraInfo) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def played(listener: Listener, **parameters: object) -> list[Image]:
    """All images of a replay in this process, which must end by itself."""
    listener.listen(Image, "image")
    listener.listen(CameraInfo, "camera_info")
    values = {"rate_hz": 30.0, "wait_for_subscribers": 1} | parameters
    node = replay_node.ReplayNode(ros_arguments(values))
    listener.host(node)
    assert listener.wait(node.finished.done)
    listener.spin_for(0.1)  # what has arrived already
    node.close()
    return listener.received["image"]


@pytest.mark.parametrize("encoding", ["bgr8", "rgb8"])
def test_images_of_any_size_are_published_unchanged_and_in_order(
    listener: Listener, tmp_path: Path, encoding: str, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = [(64, 48), (64, 48), (33, 21), (64, 48)]
    images = a_folder_of_images(tmp_path / "in", sizes)
    (tmp_path / "in" / "001b.png").write_text("not an image, to be skipped")

    messages = played(listener, source=tmp_path / "in", encoding=encoding)

    assert [(m.width, m.height, m.encoding) for m in messages] == [(*s, encoding) for s in sizes]
    order = slice(None, None, -1 if encoding == "rgb8" else 1)
    for message, image in zip(messages, images, strict=True):
        np.testing.assert_array_equal(pixels(message), image[..., order])
    assert "001b.png is skipped" in caplog.text


def test_every_image_has_a_camera_info_of_the_same_stamp_frame_and_size(
    listener: Listener, tmp_path: Path
) -> None:
    a_folder_of_images(tmp_path / "in", [(64, 48), (33, 21), (64, 48)])
    begin_ns = time.time_ns()

    images = played(listener, source=tmp_path / "in", frame_id="eye")

    infos = listener.received["camera_info"]
    assert [stamp_ns(i) for i in infos] == [stamp_ns(m) for m in images]
    assert [(i.width, i.height) for i in infos] == [(64, 48), (33, 21), (64, 48)]
    assert {i.header.frame_id for i in infos} == {m.header.frame_id for m in images} == {"eye"}
    # The stamps are the times of publication.
    stamps = [stamp_ns(m) for m in images]
    assert begin_ns < stamps[0] and stamps[-1] < time.time_ns()
    assert all(a < b for a, b in itertools.pairwise(stamps))
    assert infos[0].k[0] == pytest.approx(32 / np.tan(np.radians(30)))


def test_a_video_plays_to_its_end_in_its_own_rhythm(listener: Listener, tmp_path: Path) -> None:
    times_ms = [0, 40, 80, 480, 520]
    film = write_film(
        tmp_path / "12:00.webm", grey_levels(5), "libvpx", times_ms=times_ms, rate=1000
    )
    messages = played(listener, source=film, rate_hz=0.0)
    assert levels_of([pixels(m) for m in messages]) == [0, 1, 2, 3, 4]
    gaps_s = np.diff([stamp_ns(m) for m in messages]) / 1e9
    # A busy machine lengthens gaps, and nothing shortens the pause.
    assert gaps_s[2] > 0.35


def test_with_loop_the_images_repeat_until_an_interrupt(listener: Listener, tmp_path: Path) -> None:
    a_folder_of_images(tmp_path / "in", [(16, 16), (8, 8)])
    (tmp_path / "in" / "broken.png").write_text("not an image")
    listener.listen(Image, "image")
    values = {"source": tmp_path / "in", "rate_hz": 50.0, "loop": True, "wait_for_subscribers": 1}
    with started(MODULE, ros_arguments(values), tmp_path / "replay.log") as replay:
        assert listener.wait(lambda: len(listener.received["image"]) >= 5), replay.text()
        assert replay.stop() == 0, replay.text()
    assert [m.width for m in listener.received["image"]][:5] == [16, 8, 16, 8, 16]
    assert replay.text().count("broken.png is skipped") == 1


class UnpluggedCamera:
    """Replaces cv2.VideoCapture: two images, then a failure."""

    def __init__(self, *_: int) -> None:
        self._remaining = [np.full((4, 6, 3), level, np.uint8) for level in (1, 2)]

    def isOpened(self) -> bool:
        return True

    def set(self, *_: float) -> bool:
        return True

    def get(self, _: int) -> float:
        return 30.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        return (True, self._remaining.pop(0)) if self._remaining else (False, None)

    def release(self) -> None:
        pass


@pytest.mark.fault("camera", "a USB camera is unplugged")
def test_a_camera_without_further_images_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", UnpluggedCamera)
    assert replay_node.main(ros_arguments({"source": "/dev/video7"})) == 1
    assert "camera /dev/video7 gives no image: it was unplugged" in capfd.readouterr().err


@pytest.mark.fault("process", "a signal while the replay node publishes")
def test_a_signal_during_a_publication_ends_the_node_without_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_folder_of_images(tmp_path / "in", [(16, 16)])
    shapes = []

    def interrupted(node: replay_node.ReplayNode, image: SourceImage) -> None:
        rclpy.shutdown()
        shapes.append(image.pixels.shape)
        node._images.publish(Image())  # raises, since the context is shut down

    monkeypatch.setattr(replay_node.ReplayNode, "_publish", interrupted)
    assert replay_node.main(ros_arguments({"source": tmp_path / "in"})) == 0
    assert shapes == [(16, 16, 3)]


def test_with_a_field_of_view_of_zero_no_camera_info_is_published(
    listener: Listener, tmp_path: Path
) -> None:
    a_folder_of_images(tmp_path / "in", [(16, 16)] * 3)
    messages = played(listener, source=tmp_path / "in", horizontal_fov_deg=0.0)
    assert len(messages) == 3
    assert listener.received["camera_info"] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", ["source is not set", "Name a video file", "-p source:=VIDEO"]),
        ("nowhere.mp4", ["nowhere.mp4", "Name a video file"]),
        ("text.mp4", ["text.mp4", "ffmpeg"]),
        ("empty", ["holds no images", ".png"]),
        ("63", ["/dev/video63", "usermod"]),
        ("/dev/video63", ["/dev/video63", "usermod"]),
    ],
)
def test_an_unreadable_source_is_reported_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("text.mp4").write_text("no video")
    with pytest.raises(ImageSourceError) as error:
        open_image_source(name)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"source": "broken"}, ["FATAL", "no readable image"]),
        ({"source": "good", "calibration": "small.yaml"}, ["FATAL", "320x240", "16x16"]),
    ],
    ids=["in the first tick", "with the first image"],
)
def test_the_node_exits_with_1_and_no_traceback_if_it_cannot_publish(
    tmp_path: Path,
    parameters: dict[str, object],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    a_folder_of_images(Path("good"), [(16, 16)])
    Path("broken").mkdir()
    Path("broken/0.png").write_text("no image")
    Path("small.yaml").write_text(CALIBRATION)
    assert replay_node.main(ros_arguments(parameters)) == 1
    text = capfd.readouterr().err
    assert "Traceback" not in text
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ("source: []", "source is not set. Name a video file"),
        ("source: [1, 2]", "; give a path"),
        ("source: true", "source is True; give a path"),
        ("source: nowhere.mp4", "'nowhere.mp4' does not exist"),
        ("source:", "No value at line 3"),
        ("{source: a", "Error parsing"),
        ("rate_hz: fast", "rate_hz is 'fast'; give a number from 0 to 1000"),
        ("rate_hz: []", "rate_hz is None; give a number"),
        ("rate_hz: -1", "rate_hz is -1; give a number"),
        ("horizontal_fov_deg: 200", "horizontal_fov_deg is 200; give a number from 0 to 170"),
        ("loop: []", "'loop' is not initialized: loop (an empty list"),
        ("loop: 5", "'loop' to '5'"),
        ("encoding: mono8", "encoding is 'mono8'; choose bgr8 or rgb8"),
        ("calibration: nowhere.yaml", "nowhere.yaml cannot be read"),
    ],
)
@pytest.mark.fault("file", "an invalid parameter file of the replay node")
def test_an_invalid_parameter_file_is_one_line_and_exit_code_2(
    parameters: str, reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(f"/**:\n  ros__parameters:\n    {parameters}\n")
    with pytest.raises(SystemExit) as ended:
        replay_node.main(["--ros-args", "--params-file", str(file)])
    assert ended.value.code == 2
    text = capfd.readouterr().err
    lines = [line for line in text.splitlines() if "[FATAL]" in line]
    assert len(lines) == 1 and "[replay]" in lines[0] and reason in lines[0], text
    assert "Traceback" not in text


@given(width=st.integers(16, 4096), height=st.integers(16, 4096), fov_deg=st.floats(1.0, 170.0))
def test_the_field_of_view_of_a_pinhole_spans_the_image(
    width: int, height: int, fov_deg: float
) -> None:
    info = pinhole(width, height, fov_deg)
    left, right = (-0.5 - info.k[2]) / info.k[0], (width - 0.5 - info.k[2]) / info.k[0]
    assert np.degrees(np.arctan(right) - np.arctan(left)) == pytest.approx(fov_deg)
    assert info.k[5] == (height - 1) / 2
    assert list(info.p[:3]) == list(info.k[:3])


@pytest.mark.parametrize("fov_deg", [-1.0, 0.5, 171.0, float("nan")])
def test_an_impossible_field_of_view_is_refused(fov_deg: float) -> None:
    with pytest.raises(CalibrationError, match="1 to 170"):
        pinhole(640, 480, fov_deg)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2",
        "just words",
        "image_width: 16",
        "\x00\x01",
        "{image_width: 1, image_height: 1, camera_matrix: {data: [1, 2]}, "
        "distortion_coefficients: {data: []}}",
    ],
)
def test_a_malformed_calibration_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(CalibrationError, match=r"bad\.yaml"):
        calibration_from_file(tmp_path / "bad.yaml")


CALIBRATION = """
image_width: 320
image_height: 240
camera_name: eye
camera_matrix: {rows: 3, cols: 3, data: [300, 0, 161.5, 0, 301, 119, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0.001, 0, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [290, 0, 160, 0, 0, 291, 120, 0, 0, 0, 1, 0]}
"""


def test_a_calibration_file_is_read_without_changes(tmp_path: Path) -> None:
    (tmp_path / "ost.yaml").write_text(CALIBRATION)
    info = calibration_from_file(tmp_path / "ost.yaml")
    assert (info.width, info.height, info.distortion_model) == (320, 240, "plumb_bob")
    assert list(info.k) == [300, 0, 161.5, 0, 301, 119, 0, 0, 1]
    assert list(info.d) == [0.1, -0.2, 0.001, 0, 0]
    assert list(info.p) == [290, 0, 160, 0, 0, 291, 120, 0, 0, 0, 1, 0]


def test_the_source_tree_is_not_importable_by_accident() -> None:
    assert str(Path(__file__).parents[3]) not in sys.path
