# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What exists twice: nodes of one name, publishers of the images."""

import time
from collections.abc import Callable, Iterator

import pytest
import rclpy
from rclpy.node import Node
from ros_process import TIMEOUT_S
from sensor_msgs.msg import Image

from thfm_ros.ros.duplicates import describe_mixed_images, describe_same_name

pytestmark = pytest.mark.ros


@pytest.fixture
def node() -> Iterator[Node]:
    rclpy.init()
    node = rclpy.create_node("camera", namespace="/robot")
    try:
        yield node
    finally:
        rclpy.try_shutdown()


def wait_for(description: Callable[[], str], *, empty: bool) -> str:
    """What discovery leads to."""
    end = time.monotonic() + TIMEOUT_S
    while (description() == "") is not empty:
        assert time.monotonic() < end, description()
        time.sleep(0.01)
    return description()


@pytest.mark.fault("process", "two nodes have one name")
def test_another_node_of_this_name_is_described_with_the_cure(node: Node) -> None:
    assert describe_same_name(node) == ""
    rclpy.create_node("camera", namespace="/other")
    other = rclpy.create_node("camera", namespace="/robot")
    text = wait_for(lambda: describe_same_name(node), empty=False)
    assert text.startswith("2 nodes are called /robot/camera (") and "-r __node:=NAME" in text
    other.destroy_node()
    wait_for(lambda: describe_same_name(node), empty=True)


@pytest.mark.fault("camera", "two cameras publish on one topic")
def test_several_publishers_of_the_images_are_named(node: Node) -> None:
    assert describe_mixed_images(node, "/image") == ""
    node.create_publisher(Image, "/image", 1)
    other = rclpy.create_node("second_camera")
    other.create_publisher(Image, "/image", 1)
    text = wait_for(lambda: describe_mixed_images(node, "/image"), empty=False)
    assert text.startswith("/image has 2 publishers (") and ": camera, second_camera." in text
    other.destroy_node()
    wait_for(lambda: describe_mixed_images(node, "/image"), empty=True)
