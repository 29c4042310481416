"""Where images come from: names, what is said when none come, and how often CameraInfo is read."""

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
    image_source,
    input_topics,
    subscribe_to_images,
    subscribe_to_info,
)

pytestmark = pytest.mark.ros

MakeNode = Callable[..., Node]


@pytest.fixture
def make_node() -> Iterator[MakeNode]:
    """Nodes of this process, with remappings."""
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
def test_the_calibration_is_looked_for_beside_the_image(
    make_node: MakeNode, remapped: list[str], transport: str, expected: tuple[str, str]
) -> None:
    node = make_node("thfm", *remapped, namespace="/robot")
    assert input_topics(node, transport) == expected


def said_when(node: Node, kind: type, until: Callable[[str], bool]) -> str:
    """What is said about /image, once discovery has told."""
    deadline = time.monotonic() + 10
    while not until(said := image_source(node, "/image", kind)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return said


def test_silence_has_a_reason_and_a_cure(make_node: MakeNode) -> None:
    node, camera = make_node(), make_node("camera")
    assert "Nobody publishes /image" in image_source(node, "/image", Image)
    camera.create_publisher(CompressedImage, "/image", 1)
    said = said_when(node, Image, lambda text: "CompressedImage" in text)
    assert "sensor_msgs/msg/Image is expected" in said and "image_transport" in said
    assert "by camera" in said_when(node, CompressedImage, lambda text: "by camera" in text)


def test_the_quality_of_service_of_the_image_can_be_overridden(make_node: MakeNode) -> None:
    override = Parameter("qos_overrides./image.subscription.reliability", value="reliable")
    node = make_node(parameter_overrides=[override])
    for _ in range(2):  # as after deactivate and activate
        made = subscribe_to_images(node, Image, "/image", print, print)
        (info,) = node.get_subscriptions_info_by_topic("/image")
        assert info.qos_profile.reliability is ReliabilityPolicy.RELIABLE
        node.destroy_subscription(made)
    other = make_node("other")
    subscribe_to_images(other, Image, "/other", print, print)
    (info,) = other.get_subscriptions_info_by_topic("/other")
    assert info.qos_profile.reliability is ReliabilityPolicy.BEST_EFFORT


def test_calibrations_are_read_now_and_then_and_the_newest_is_not_missed(
    make_node: MakeNode,
) -> None:
    node, camera = make_node(), make_node("camera")
    got: list[CameraInfo] = []
    subscribe_to_info(node, "/camera_info", got.append)
    publisher = camera.create_publisher(CameraInfo, "/camera_info", 1)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    node.create_timer(0.01, lambda: None)  # stands for the images, which wake the executor
    began, sent = time.monotonic(), 0
    while time.monotonic() < began + 1.5:
        sent += 1
        publisher.publish(CameraInfo(width=sent))
        executor.spin_once(timeout_sec=0.02)
    assert sent > 40
    assert 2 <= len(got) <= 8  # 1.5 s / 0.25 s, and what discovery took
    deadline = time.monotonic() + 5
    while got[-1].width != sent and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.02)
    assert got[-1].width == sent
