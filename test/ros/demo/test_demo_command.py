"""The demo around a stand-in node: real processes, real topics, real files."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.ros

SUPPORT = Path(__file__).parents[2] / "support"
RUN = "import sys; from thfm_ros.ros.demo.command import main; sys.exit(main(node='stand_in_node'))"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds of a white square on blue, 20 images."""
    path = tmp_path / "clip.avi"
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for _ in range(20):
        image = np.full((240, 320, 3), (200, 0, 0), np.uint8)
        image[10:40, 10:40] = 255
        film.write(image)
    film.release()
    return path


def start_demo(tmp_path: Path, *options: object, mode: str = "") -> "subprocess.Popen[str]":
    paths = os.pathsep.join(filter(None, [str(SUPPORT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-c", RUN, "--out", str(tmp_path / "out"), *map(str, options)],
        env=os.environ | {"STAND_IN": mode, "PYTHONPATH": paths},
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )


def finished(demo: "subprocess.Popen[str]", timeout_s: float = 60.0) -> tuple[int, str]:
    try:
        said = demo.communicate(timeout=timeout_s)[1]
    except subprocess.TimeoutExpired:
        demo.kill()
        raise AssertionError("the demo did not end: " + demo.communicate()[1]) from None
    return demo.returncode, said


def left_over(tmp_path: Path) -> list[str]:
    """Command lines of processes that still work for this test's output folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(tmp_path / "out").encode() in path.read_bytes():
                lines.append((path.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:  # ended meanwhile, or somebody else's
            continue
    return lines


def test_a_clip_becomes_a_film_a_contact_sheet_and_a_summary(tmp_path: Path, clip: Path) -> None:
    code, said = finished(start_demo(tmp_path, "--video", clip, "--seconds", 3))
    assert code == 0, said
    out = tmp_path / "out"
    summary = json.loads((out / "summary.json").read_text())
    # Three seconds of 10 Hz from the first result, so the clip began again; and a frame in
    # flight at either end.
    assert 28 <= summary["input_images"] <= 34
    assert 28 <= summary["results"] <= 34
    assert summary["input_hz"] == pytest.approx(10, abs=0.5)
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"] < 2000
    assert summary["bodies_seen"] == 1
    assert summary["drops"] == {"overwritten": 3}
    assert summary["checkpoint"] == "stand-in"
    assert summary["engine"] == "no engine at all"
    assert summary["messages"]["/thfm/normals/image"] >= 15
    assert summary["messages"]["/thfm/skeleton_info"] == 1
    assert list(summary["silent"]) == ["/thfm/depth_relative/image"]
    assert summary["failed"] == []
    film = cv2.VideoCapture(str(out / "overlay.mp4"))
    images = []
    while (read := film.read())[0]:
        images.append(read[1])
    assert len(images) >= 15
    assert images[0].shape == (480, 4 * 640, 3)  # input, mask, skeletons, depth
    blue, green, red = images[0][60, 640 + 60]
    assert green > blue > red  # the mask's own colour lies on the square
    assert cv2.imread(str(out / "contact.png")) is not None
    assert left_over(tmp_path) == []


def test_a_node_that_dies_is_reported_with_the_end_of_its_log(tmp_path: Path, clip: Path) -> None:
    code, said = finished(start_demo(tmp_path, "--video", clip, mode="dies"))
    assert code == 1
    assert "node process ended with code 1" in said
    assert "the stand-in dies as it was told to" in said
    assert left_over(tmp_path) == []


def test_a_topic_without_messages_is_named_and_fails_the_demo(tmp_path: Path, clip: Path) -> None:
    code, said = finished(start_demo(tmp_path, "--video", clip, mode="mute"))
    assert code == 1
    assert "stayed silent: /thfm/normals/image" in said
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["failed"] == ["/thfm/normals/image"]
    assert (tmp_path / "out" / "overlay.mp4").exists()


def test_a_video_that_cannot_be_read_ends_it_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "clip.avi").write_text("no video")
    code, said = finished(start_demo(tmp_path, "--video", tmp_path / "clip.avi"), timeout_s=20)
    assert code == 1
    assert "ffmpeg" in said and "Traceback" not in said
    assert not (tmp_path / "out" / "log").exists()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_running_when_the_demo_is_stopped(
    tmp_path: Path, clip: Path, sent: signal.Signals
) -> None:
    demo = start_demo(tmp_path, "--video", clip, "--seconds", 60)
    log = tmp_path / "out" / "log" / "replay.txt"
    end = time.monotonic() + 30
    while not (log.exists() and "Playing" in log.read_text()) and time.monotonic() < end:
        time.sleep(0.1)
    assert len(left_over(tmp_path)) >= 3
    demo.send_signal(sent)
    code, said = finished(demo, timeout_s=20)
    assert code == (-9 if sent is signal.SIGKILL else 130), said
    end = time.monotonic() + 10
    while left_over(tmp_path) and time.monotonic() < end:
        time.sleep(0.1)
    assert left_over(tmp_path) == []
