# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The unmodified node over DDS, with the shipped checkpoint and a video of a street."""

import time
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import pytest
from node_client import Client
from ros_process import Listener, ros_arguments, started
from sensor_msgs.msg import Image

import thfm_ros
from thfm_ros.msg import BodyArray

pytestmark = pytest.mark.ros

PACKAGE = Path(thfm_ros.__file__).resolve().parent


def frames_of(clip: Path, count: int) -> list[np.ndarray]:
    """The first frames, RGB, at half size: DDS transports these without a profile."""
    video = cv2.VideoCapture(str(clip))
    frames = [image for ok, image in (video.read() for _ in range(count)) if ok]
    return [np.ascontiguousarray(frame[::2, ::2, ::-1]) for frame in frames]


def test_people_in_the_street_clip_are_tracked(listener: Listener, tmp_path: Path) -> None:
    if not (PACKAGE / "weights" / "nano.safetensors").is_file():
        pytest.skip("thfm_ros/weights contains no checkpoint")
    images = frames_of(next((PACKAGE / "clips").glob("*.mp4")), 30)
    assert len(images) == 30
    settings = {"engine.kind": "torch", "diagnostics_period_s": 0.2}
    with started("thfm_ros.ros.node", ros_arguments(settings), tmp_path / "log") as process:
        client = Client(listener, process)
        client.wait(client._image.get_subscription_count, "the node subscribes")
        bodies = client.listen(BodyArray, "bodies")
        labels = client.listen(Image, "segmentation/image")
        began, numbers = time.time_ns(), count()

        def send() -> None:
            number = next(numbers)  # a stream without gaps, however busy the machine is
            stamp = began + number * 40_000_000
            client.publish(images[number % 30], stamp_ns=stamp, calibrated=False)

        client.stream(
            lambda: labels and any(each.state == 1 for m in bodies[-3:] for each in m.bodies),
            "a tracked person",
            send=send,
            rate_hz=8.0,
        )
        height, width = images[0].shape[:2]
        assert (bodies[-1].image_width, bodies[-1].image_height) == (width, height)
        level, text, values = client.status("engine")
        assert level == 0 and "PyTorch" in text
        assert values["checkpoint"]
