# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
import time
from collections.abc import Callable
from pathlib import Path

import rclpy
from ros_process import Listener
from sensor_msgs.msg import Image

from thfm_ros.ros.demo.listener import ENOUGH_MESSAGES, DemoListener
from thfm_ros.ros.demo.stamp_sync import StampSynchronizer


def wait(listener: Listener, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not done():
        assert time.monotonic() < deadline
        listener.spin(0.01)


def test_images_that_are_not_drawn_are_given_up_after_a_few_messages(
    listener: Listener, tmp_path: Path
) -> None:
    demo = DemoListener(60.0, StampSynchronizer(tmp_path))
    node = rclpy.create_node("thfm")
    listener.host(demo)
    drawn, other = (
        node.create_publisher(Image, f"/thfm/{name}/image", 10)
        for name in ("segmentation", "normals")
    )
    try:
        wait(
            listener, lambda: 1 == drawn.get_subscription_count() == other.get_subscription_count()
        )

        def enough() -> bool:
            other.publish(Image())
            return demo.summary.topics["/thfm/normals/image"] >= ENOUGH_MESSAGES

        wait(listener, enough)
        wait(listener, lambda: other.get_subscription_count() == 0)
        assert drawn.get_subscription_count() == 1
        assert demo.summary.as_json()["sampled"] == ["/thfm/normals/image"]
        assert demo.summary.as_json()["failed"] == ["/thfm/bodies", "/thfm/segmentation/image"]
    finally:
        node.destroy_node()
        demo.destroy_node()
