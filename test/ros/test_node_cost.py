# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Processor time of the node per 640x480 frame, without the network.

    pytest -m slow -s test/ros/test_node_cost.py

The limits are wide, since other processes increase the cost of a frame; the figures are printed.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from canned_node import CAMERA
from fake_engine import image
from node_client import SUPPORT, Client
from ros_process import Listener, NodeProcess, ros_arguments, started
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from thfm_ros.msg import BodyArray
from thfm_ros.ros.dds_profile import prepare_ros_environment
from thfm_ros.ros.to_msg.camera_info import camera_info_from_intrinsics

pytestmark = [pytest.mark.ros, pytest.mark.slow]

RATE_HZ, FRAMES = 10.0, 150
BODIES: dict[str, type] = {"bodies": BodyArray}
IMAGES = (
    *("depth/image", "segmentation/image", "parts/image", "instances/image"),
    *("normals/image", "dense_pose/image"),
)
ESTIMATES: dict[str, type] = {**BODIES, **dict.fromkeys(IMAGES, Image)}
ALL: dict[str, type] = {
    **ESTIMATES,
    **dict.fromkeys(("overlay", "normals/color", "dense_pose/color"), Image),
    "depth/camera_info": CameraInfo,
    "points": PointCloud2,
    "markers": MarkerArray,
}


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """The usual listener, with the DDS profile for 640x480 images."""
    prepare_ros_environment()
    rclpy.init()
    try:
        yield Listener()
    finally:
        rclpy.try_shutdown()
        for name in ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"):
            os.environ.pop(name, None)


def processor_ticks(process: NodeProcess) -> Counter[str]:
    """Processor time of each thread; "python" are the executor, the worker and OpenCV's."""
    used: Counter[str] = Counter()
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        name, _, rest = (thread / "stat").read_text().partition("(")[2].rpartition(")")
        fields = rest.split()
        ticks = int(fields[11]) + int(fields[12])
        used[f"{name.partition('.')[0]} {thread.name}"] = ticks
    return used


@pytest.mark.parametrize(
    ("topics", "output_scale", "limit_ms"),
    [
        ({}, 1.0, 15.0),
        (BODIES, 1.0, 25.0),
        (ESTIMATES, 1.0, 50.0),
        (ESTIMATES, 0.5, 40.0),
        (ALL, 1.0, 80.0),
    ],
    ids=["none", "bodies", "estimates", "estimates at half the size", "all"],
)
def test_processor_time_per_frame_is_below_the_limit(
    listener: Listener,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    topics: dict[str, type],
    output_scale: float,
    limit_ms: float,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT))
    rgb, counts = image(CAMERA), dict.fromkeys(topics, 0)

    def count(topic: str) -> None:
        counts[topic] += 1

    parameters = ros_arguments({"output_scale": output_scale})
    with started("canned_node", parameters, tmp_path / "log") as process:
        client = Client(listener, process)
        client.wait_for_subscription()
        for topic, kind in topics.items():
            callback = lambda _, topic=topic: count(topic)  # noqa: E731
            client.node.create_subscription(kind, f"/thfm/{topic}", callback, 1, raw=True)
        info = camera_info_from_intrinsics(CAMERA, Image().header)
        info.header.frame_id = "camera"

        def send() -> None:
            client._info.publish(info)
            client.publish(rgb, calibrated=False)

        def stream(frames: int) -> None:
            end = time.monotonic() + frames / RATE_HZ
            client.stream(lambda: time.monotonic() > end, "", send=send, rate_hz=RATE_HZ)

        stream(40)
        ticks_before, counts_before = processor_ticks(process), dict(counts)
        stream(FRAMES)
        spent = processor_ticks(process) - ticks_before
    received = [counts[topic] - counts_before[topic] for topic in topics]
    frames = max(received, default=FRAMES)  # on a busy machine some images are dropped
    assert min(received, default=frames) > 0.3 * frames > 0.1 * FRAMES, received
    ms = 1e3 / os.sysconf("SC_CLK_TCK") / frames
    by_thread = {name: ms * ticks for name, ticks in spent.most_common(6)}
    spent_ms = ms * sum(spent.values())
    print(
        f"\n{spent_ms:.1f} ms of processor time per frame with {len(topics)} topics, {frames} "
        f"frames, load average {os.getloadavg()[0]:.1f}; by thread: "
        + ", ".join(f"{name} {cost:.1f}" for name, cost in by_thread.items())
    )
    assert spent_ms < limit_ms
