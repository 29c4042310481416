# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The unmodified node over DDS, with a tiny checkpoint of the full-size family."""

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import genception_fixtures as reference
import numpy as np
import pytest
from fake_engine import image
from fake_node import CAMERA, HEIGHT, WIDTH
from node_client import Client
from ros_process import NodeProcess, ros_arguments, stamp_ns, started
from sensor_msgs.msg import Image

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.config import Config, EngineConfig
from thfm_ros.contract import Frame, Perception, Task
from thfm_ros.loading import load_pipeline
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.srv import SetTasks

pytestmark = pytest.mark.ros

TOPICS = {  # encoding
    "depth_relative/image": "32FC1",
    "normals/image": "32FC3",
    "segmentation/image": "mono8",
    "overlay": "rgb8",
}


def perception_after(checkpoint: Path, frames: int) -> Perception:
    """The perception after ``frames`` copies of the same image."""
    pipeline = load_pipeline(Config(engine=EngineConfig(checkpoint=str(checkpoint))))
    window = FrameWindow(pipeline.config.window)
    for number in range(frames):
        clip = window.push(Frame(image(CAMERA), 1 + number * 33_000_000, "camera", CAMERA))
        assert clip is not None
        perception = pipeline.step(clip, frozenset({Task.DEPTH}))
    return perception


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reference.write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "release")


@pytest.fixture(scope="module")
def process(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    settings = {
        "engine.checkpoint": str(checkpoint),
        "engine.kind": "onnx",  # PyTorch is used instead
        "diagnostics_period_s": 0.2,
    }
    log = tmp_path_factory.mktemp("node") / "log"
    with started("thfm_ros.ros.node", ros_arguments(settings), log) as running:
        yield running


def test_a_full_size_checkpoint_runs_through_the_node(client: Client, checkpoint: Path) -> None:
    expected = perception_after(checkpoint, frames=7).depth_relative
    assert expected is not None
    received = {topic: client.listen(Image, topic) for topic in TOPICS}
    metric = client.listen(Image, "depth/image")
    times = count(time.time_ns(), 33_000_000)  # a stream without gaps, however long it takes
    sent: list[int] = []

    def send() -> int:
        sent.append(client.publish(stamp_ns=next(times)))
        return sent[-1]

    for _ in range(8):
        client.exchange(list(received.values()), send=send)
    for topic, encoding in TOPICS.items():
        for msg in received[topic]:
            if stamp_ns(msg) < sent[0]:
                continue  # of an image of another test
            assert (msg.encoding, msg.width, msg.height) == (encoding, WIDTH, HEIGHT)
            assert stamp_ns(msg) in sent and msg.header.frame_id == "camera"
    last = received["depth_relative/image"][-1]
    depth = np.frombuffer(last.data, np.float32).reshape(HEIGHT, WIDTH)
    scale = np.median(depth) / np.median(expected)  # different for each stream
    np.testing.assert_allclose(depth, scale * expected, rtol=1e-3)
    assert not metric, "this family has no metric scale, with or without a calibration"

    names = {name for name, _ in client.node.get_topic_names_and_types()}
    assert "/thfm/normals/color" in names
    assert not names & {"/thfm/bodies", "/thfm/markers", "/thfm/parts/image"}
    level, text, values = client.status("engine")
    assert level == 1 and "(instead of onnx: ONNX Runtime runs nano checkpoints only" in text
    assert "PyTorch" in text and "48x32x5" in text
    assert (values["checkpoint"], values["tasks"]) == (
        "genception_tiny",
        "depth, normals, segmentation",
    )


def test_tasks_and_parameters_change_while_the_node_runs(client: Client) -> None:
    refused = client.call(SetTasks, "set_tasks", SetTasks.Request(tasks=["bodies"]))
    assert not refused.success and "it has: depth, normals, segmentation" in refused.message
    chosen = client.call(
        SetTasks, "set_tasks", SetTasks.Request(tasks=["Input: RGB. Output: Surface Normal."])
    )
    assert chosen.success and list(chosen.active) == ["normals"]
    chosen_ns = time.time_ns()
    assert client.set_parameter("window.max_gap_s", 2.0) == (True, "")
    normals = client.listen(Image, "normals/image")
    depth = client.listen(Image, "depth_relative/image")
    client.stream(lambda: len(normals) >= 3, "normals", rate_hz=8.0)
    assert all(stamp_ns(msg) < chosen_ns for msg in depth), "this task is not active"
    client.wait(
        lambda: client.status("window")[2].get("fill", "").endswith("of 5 frames"),
        "the window has the network's length after a parameter was set",
    )
    assert client.set_parameter("window.max_gap_s", 0.5) == (True, "")
    tasks = list(chosen.available)
    assert client.call(SetTasks, "set_tasks", SetTasks.Request(tasks=tasks)).success
