# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The demo with a stand-in node, in real processes, with real topics and files."""

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
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for _ in range(20):
        image = np.full((240, 320, 3), (200, 0, 0), np.uint8)
        image[10:40, 10:40] = 255
        video.write(image)
    video.release()
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


def wait_for(demo: "subprocess.Popen[str]") -> tuple[int, str]:
    try:
        output = demo.communicate(timeout=300)[1]
    except subprocess.TimeoutExpired:
        demo.kill()
        raise AssertionError("the demo did not end: " + demo.communicate()[1]) from None
    return demo.returncode, output


def running_processes(tmp_path: Path) -> list[str]:
    """Command lines of the processes that use this test's output folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(tmp_path / "out").encode() in path.read_bytes():
                lines.append((path.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended, or belongs to another user
            continue
    return lines


def test_the_demo_writes_a_video_a_contact_sheet_and_a_summary(tmp_path: Path, clip: Path) -> None:
    code, output = wait_for(start_demo(tmp_path, "--video", clip, "--seconds", 3))
    assert code == 0, output
    out = tmp_path / "out"
    summary = json.loads((out / "summary.json").read_text())
    # Three seconds at 10 Hz from the first result, fewer images on a busy machine.
    assert 1 < summary["results"] <= summary["input_images"] <= 34
    assert 0 < summary["latency_ms"]["p50"] <= summary["latency_ms"]["p99"]
    assert summary["bodies_seen"] == 1
    assert summary["drops"] == {"overwritten": 3}
    assert summary["checkpoint"] == "stand-in"
    assert summary["engine"] == "no engine at all"
    assert summary["messages"]["/thfm/normals/image"] > 1
    assert summary["messages"]["/thfm/skeleton_info"] == 1
    assert set(summary["sampled"]) <= {"/thfm/normals/image"}  # not drawn
    assert list(summary["silent"]) == ["/thfm/depth_relative/image"]
    assert summary["failed"] == []
    overlay = cv2.VideoCapture(str(out / "overlay.mp4"))
    images = []
    while (read := overlay.read())[0]:
        images.append(read[1])
    assert 1 < len(images) <= summary["results"]
    assert images[0].shape == (480, 4 * 640, 3)  # input, mask, skeletons, depth
    blue, green, red = images[0][60, 640 + 60]
    assert green > blue > red  # the colour of the mask on the square
    assert cv2.imread(str(out / "contact.png")) is not None
    assert running_processes(tmp_path) == []


@pytest.mark.fault("process", "the node ends during the demo")
def test_a_node_that_ends_is_reported_with_the_end_of_its_log(tmp_path: Path, clip: Path) -> None:
    code, output = wait_for(start_demo(tmp_path, "--video", clip, mode="exits"))
    assert code == 1
    assert "node process ended with code 1" in output
    assert "the stand-in exits as requested" in output
    assert running_processes(tmp_path) == []


def test_a_topic_without_messages_is_reported_as_a_failure(tmp_path: Path, clip: Path) -> None:
    code, output = wait_for(start_demo(tmp_path, "--video", clip, mode="no_normals"))
    assert code == 1
    assert "topics without messages: /thfm/normals/image" in output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["failed"] == ["/thfm/normals/image"]
    assert (tmp_path / "out" / "overlay.mp4").exists()


def test_a_video_that_cannot_be_read_is_reported_before_any_process_starts(tmp_path: Path) -> None:
    (tmp_path / "clip.avi").write_text("no video")
    code, output = wait_for(start_demo(tmp_path, "--video", tmp_path / "clip.avi"))
    assert code == 1
    assert "ffmpeg" in output and "Traceback" not in output
    assert not (tmp_path / "out" / "log").exists()


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.fault("process", "SIGINT and SIGKILL of the demo")
def test_all_processes_end_when_the_demo_is_stopped(
    tmp_path: Path, clip: Path, signal_number: signal.Signals
) -> None:
    demo = start_demo(tmp_path, "--video", clip, "--seconds", 600)
    log = tmp_path / "out" / "log" / "replay.txt"
    deadline = time.monotonic() + 120
    while not (log.exists() and "Playing" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(running_processes(tmp_path)) >= 3
    demo.send_signal(signal_number)
    code, output = wait_for(demo)
    assert code == (-9 if signal_number is signal.SIGKILL else 130), output
    deadline = time.monotonic() + 120
    while running_processes(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert running_processes(tmp_path) == []
