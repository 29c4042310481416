# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Subscriptions to a camera: topic names, the report without images, the rate of CameraInfo."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from ros_process import TIMEOUT_S
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from thfm_ros.ros.message_receiver import MessageReceiver
from thfm_ros.ros.subscriptions import (
    CameraInfoSubscription,
    describe_image_source,
    describe_missing_camera_info,
    input_topics,
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
        (["image:=/cam/rgb/compressed"], "compressed", ("/cam/rgb/compressed", "/cam/camera_info")),
        (["image:=/cam/rgb/compressed"], "raw", ("/cam/rgb/compressed", "/cam/camera_info")),
        (["image:=/compressed"], "compressed", ("/compressed", "/camera_info")),
    ],
)
def test_camera_info_is_expected_in_the_namespace_of_the_image(
    make_node: MakeNode, remapped: list[str], transport: str, expected: tuple[str, str]
) -> None:
    node = make_node("thfm", *remapped, namespace="/robot")
    assert input_topics(node, transport) == expected


@pytest.mark.parametrize(
    ("rules", "is_given"),
    [
        (["-r", "camera_info:=/robot/camera_info"], True),
        (["--remap", "camera_info:=camera_info"], True),
        (["-r", "thfm:camera_info:=camera_info"], True),
        (["-r", "/robot/camera_info:=/robot/camera_info"], True),
        (["-r", "rostopic://camera_info:=camera_info"], True),
        (["-p", "x:=1", "--", "-r", "no", "--ros-args", "-r", "camera_info:=camera_info"], True),
        (["-r", "other:camera_info:=camera_info"], False),
        (["-r", "rosservice://camera_info:=camera_info"], False),
        (["-r", "__node:=thfm"], False),
        (["--", "-r", "camera_info:=camera_info"], False),
        (["-p", "text:=camera_info:=camera_info"], False),
    ],
)
def test_a_remap_of_camera_info_to_its_default_name_is_obeyed(
    make_node: MakeNode, rules: list[str], is_given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """rclpy resolves such a rule to the same name as no rule."""
    monkeypatch.setattr(sys, "argv", ["perception_node", "--ros-args", *rules])
    node = make_node("thfm", "image:=/cam/image_raw", namespace="/robot")
    expected = "/robot/camera_info" if is_given else "/cam/camera_info"
    assert input_topics(node, "raw") == ("/cam/image_raw", expected)


def description_containing(node: Node, kind: type, text: str) -> str:
    """The description of the publishers of /image, once discovery makes it contain ``text``."""
    deadline = time.monotonic() + TIMEOUT_S
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
    assert "sensor_msgs/msg/Image is expected: set image_transport:=compressed" in description
    assert "by camera" in description_containing(node, CompressedImage, "by camera")


def test_the_other_transport_of_the_camera_is_named_where_only_that_has_a_publisher(
    make_node: MakeNode,
) -> None:
    node, camera = make_node(), make_node("camera")
    camera.create_publisher(CompressedImage, "/image/compressed", 1)
    assert "image_transport:=compressed" in description_containing(node, Image, "has one")
    camera.create_publisher(Image, "/raw", 1)
    deadline = time.monotonic() + TIMEOUT_S
    description = ""
    while "has one" not in description and time.monotonic() < deadline:
        description = describe_image_source(node, "/raw/compressed", CompressedImage)
        time.sleep(0.05)
    assert "/raw has one. Set image_transport:=raw." in description


def test_a_missing_camera_info_is_described_with_the_topics_that_exist(make_node: MakeNode) -> None:
    node, camera = make_node(), make_node("camera")
    node.create_publisher(CameraInfo, "~/depth/camera_info", 1)
    assert "none: give the camera's driver" in describe_missing_camera_info(node, "/camera_info")
    camera.create_publisher(CameraInfo, "/cam/camera_info", 1)
    deadline = time.monotonic() + TIMEOUT_S
    description = ""
    while "/cam" not in description and time.monotonic() < deadline:
        description = describe_missing_camera_info(node, "/camera_info")
        time.sleep(0.05)
    assert "/camera_info has no publisher" in description
    assert "(there is /cam/camera_info)" in description and "nothing metric" in description
    assert "has come from camera on" in describe_missing_camera_info(node, "/cam/camera_info")


LATCHED_CAMERA = """
import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo

rclpy.init()
node = rclpy.create_node("camera")
qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
node.create_publisher(CameraInfo, "/camera_info", qos).publish(CameraInfo(width=640))
print("published", flush=True)
rclpy.spin(node)
"""


def test_a_camera_info_that_was_published_once_before_is_received(make_node: MakeNode) -> None:
    """By a latched publisher in another process; volatile publishers are received besides."""
    with subprocess.Popen([sys.executable, "-c", LATCHED_CAMERA], stdout=subprocess.PIPE) as camera:
        try:
            assert camera.stdout is not None and camera.stdout.readline() == b"published\n"
            node, driver = make_node(), make_node("driver")
            received: list[CameraInfo] = []
            receiver = MessageReceiver(node)
            subscription = CameraInfoSubscription(node, receiver, "/camera_info", received.append)
            receiver.start()
            executor = SingleThreadedExecutor()
            executor.add_node(node)
            spin_until(executor, lambda: bool(received))
            assert received[0].width == 640
            publisher = driver.create_publisher(CameraInfo, "/camera_info", 1)
            spin_until(executor, lambda: publisher.get_subscription_count() == 1)
            publisher.publish(CameraInfo(width=320))
            spin_until(executor, lambda: received[-1].width == 320)
            assert receiver.stop()
            subscription.destroy()
            assert "/camera_info" not in {each.topic for each in node.subscriptions}
        finally:
            camera.kill()


def spin_until(executor: SingleThreadedExecutor, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        executor.spin_once(timeout_sec=0.05)


def test_the_quality_of_service_of_camera_info_can_be_overridden(make_node: MakeNode) -> None:
    overrides = {"reliability": "reliable", "durability": "transient_local"}
    name = "qos_overrides./camera_info.subscription."
    node = make_node(
        parameter_overrides=[Parameter(name + key, value=value) for key, value in overrides.items()]
    )
    for _ in range(2):  # as after deactivate and activate
        subscription = CameraInfoSubscription(node, MessageReceiver(node), "/camera_info", print)
        (info,) = node.get_subscriptions_info_by_topic("/camera_info")
        assert info.qos_profile.reliability is ReliabilityPolicy.RELIABLE
        assert info.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL
        subscription.destroy()


def test_the_quality_of_service_of_the_image_can_be_overridden(make_node: MakeNode) -> None:
    override = Parameter("qos_overrides./image.subscription.reliability", value="reliable")
    node = make_node(parameter_overrides=[override])
    for _ in range(2):  # as after deactivate and activate
        subscription = subscribe_to_images(
            node, MessageReceiver(node), Image, "/image", print, print
        )
        (info,) = node.get_subscriptions_info_by_topic("/image")
        assert info.qos_profile.reliability is ReliabilityPolicy.RELIABLE
        node.destroy_subscription(subscription)
    other = make_node("other")
    subscribe_to_images(other, MessageReceiver(other), Image, "/other", print, print)
    (info,) = other.get_subscriptions_info_by_topic("/other")
    assert info.qos_profile.reliability is ReliabilityPolicy.BEST_EFFORT
