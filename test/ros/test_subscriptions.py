# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Subscriptions to a camera: topic names, the report without images, the rate of CameraInfo."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from thfm_ros.ros.subscriptions import (
    describe_image_source,
    input_topics,
    subscribe_to_camera_info,
    subscribe_to_images,
)

pytestmark = pytest.mark.ros

MakeNode = Callable[..., Node]


@pytest.fixture
def make_node() -> Iterator[MakeNode]:
    """Creates nodes with remappings, in this process."""
    rclpy.init()

    def make(name: str = "thfm", *remapped: str, **options: Any) -> Node:
        arguments = ["--ros-args", *(part for each in remapped for part in ("-r", each))]
        return rclpy.create_node(name, cli_args=arguments, **options)

    try:
        yield make
    finally:
        rclpy.try_shutdown()


@pytest.mark.parametrize(
    ("remapped", "transport", "expected"),
    [
        ([], "raw", ("/robot/image", "/robot/camera_info")),
        (["image:=/cam/image_raw"], "raw", ("/cam/image_raw", "/cam/camera_info")),
        (["image:=/cam/rgb"], "compressed", ("/cam/rgb/compressed", "/cam/camera_info")),
        (
            ["image:=/cam/image_raw", "camera_info:=/other/info"],
            "raw",
            ("/cam/image_raw", "/other/info"),
        ),
    ],
)
def test_camera_info_is_expected_in_the_namespace_of_the_image(
    make_node: MakeNode, remapped: list[str], transport: str, expected: tuple[str, str]
) -> None:
    node = make_node("thfm", *remapped, namespace="/robot")
    assert input_topics(node, transport) == expected


def description_containing(node: Node, kind: type, text: str) -> str:
    """The description of the publishers of /image, once discovery makes it contain ``text``."""
    deadline = time.monotonic() + 10
    description = ""
    while text not in description and time.monotonic() < deadline:
        description = describe_image_source(node, "/image", kind)
        time.sleep(0.05)
    return description


def test_missing_images_are_described_with_the_reason_and_a_remedy(make_node: MakeNode) -> None:
    node, camera = make_node(), make_node("camera")
    assert "/image has no publisher" in describe_image_source(node, "/image", Image)
    camera.create_publisher(CompressedImage, "/image", 1)
    description = description_containing(node, Image, "CompressedImage")
    assert "sensor_msgs/msg/Image is expected" in description and "image_transport" in description
    assert "by camera" in description_containing(node, CompressedImage, "by camera")


def test_the_quality_of_service_of_the_image_can_be_overridden(make_node: MakeNode) -> None:
    override = Parameter("qos_overrides./image.subscription.reliability", value="reliable")
    node = make_node(parameter_overrides=[override])
    for _ in range(2):  # as after deactivate and activate
        subscription = subscribe_to_images(node, Image, "/image", print, print)
        (info,) = node.get_subscriptions_info_by_topic("/image")
        assert info.qos_profile.reliability is ReliabilityPolicy.RELIABLE
        node.destroy_subscription(subscription)
    other = make_node("other")
    subscribe_to_images(other, Image, "/other", print, print)
    (info,) = other.get_subscriptions_info_by_topic("/other")
    assert info.qos_profile.reliability is ReliabilityPolicy.BEST_EFFORT


def test_camera_info_is_received_at_a_limited_rate_and_the_newest_always(
    make_node: MakeNode,
) -> None:
    node, camera = make_node(), make_node("camera")
    received: list[CameraInfo] = []
    subscribe_to_camera_info(node, "/camera_info", received.append)
    publisher = camera.create_publisher(CameraInfo, "/camera_info", 1)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    node.create_timer(0.01, lambda: None)  # wakes the executor, as images do
    began, sent = time.monotonic(), 0
    while time.monotonic() < began + 1.5:
        sent += 1
        publisher.publish(CameraInfo(width=sent))
        executor.spin_once(timeout_sec=0.02)
    assert sent > 40
    assert 2 <= len(received) <= 8  # 1.5 s / 0.25 s, less the time of discovery
    deadline = time.monotonic() + 5
    while received[-1].width != sent and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.02)
    assert received[-1].width == sent
