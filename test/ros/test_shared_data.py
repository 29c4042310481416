# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Messages published without a copy of their data: the same bytes as through rclpy."""

import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from perceived import a_perception, an_image
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from ros_process import TIMEOUT_S
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from thfm_ros.ros import shared_data
from thfm_ros.ros.to_msg.images import image_message
from thfm_ros.ros.to_msg.points import PointCloudMaker

pytestmark = pytest.mark.ros

HEADER = Header(frame_id="camera")


@pytest.fixture
def node() -> Iterator[Node]:
    rclpy.init()
    try:
        yield rclpy.create_node("thfm")
    finally:
        rclpy.try_shutdown()


def cloud() -> PointCloud2:
    message = PointCloudMaker(with_normals=True).cloud(a_perception(), an_image(), HEADER)
    assert message is not None
    return message


MESSAGES: list[Callable[[], Any]] = [
    *(
        lambda shape=shape, dtype=dtype: image_message(
            np.random.default_rng(0).uniform(0, 200, shape).astype(dtype), HEADER
        )
        for shape, dtype in [
            ((3, 5), "uint8"),
            ((120, 160, 3), "float32"),
            ((41, 1), "uint8"),  # as long as the marker by which the field is found
            ((7, 9), "uint16"),
        ]
    ),
    cloud,
]


@pytest.mark.parametrize("make", MESSAGES)
def test_messages_equal_those_that_rclpy_publishes(node: Node, make: Callable[[], Any]) -> None:
    received: list[bytes] = []
    kind = type(make())
    node.create_subscription(kind, "/map", received.append, 5, raw=True)
    publisher = node.create_publisher(kind, "/map", 5)
    plain = publisher.publish
    for _ in range(2):  # the second time with what the first one left
        shared_data.publish(publisher, make())
        plain(make())
    deadline = time.monotonic() + TIMEOUT_S
    while len(received) < 4 and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    # Bytes between fields are undefined, so messages are compared.
    expected = make()
    expected.data = array("B", bytes(expected.data))
    assert [deserialize_message(each, kind) for each in received] == [expected] * 4


@pytest.mark.parametrize("kind", [Image, PointCloud2])
def test_images_and_clouds_are_published_without_a_copy_here(node: Node, kind: type) -> None:
    assert shared_data._shared_data(kind) is not None


def test_the_array_is_neither_kept_nor_freed(node: Node) -> None:
    publisher = node.create_publisher(Image, "/map", 1)
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    message = image_message(pixels, HEADER)
    for _ in range(100):
        shared_data.publish(publisher, message)
    np.testing.assert_array_equal(pixels.reshape(-1), np.arange(12))
    assert np.shares_memory(np.frombuffer(message.data, np.uint8), pixels)


def test_a_type_without_such_a_field_is_published_by_rclpy(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises((LookupError, TypeError, AssertionError)):
        shared_data.SharedData(CameraInfo)
    published: list[Any] = []

    class Publisher:
        def publish(self, message: Any) -> None:
            published.append(message)

    shared_data.publish(Publisher(), CameraInfo())
    monkeypatch.setattr(shared_data, "_shared_data", lambda _: None)
    shared_data.publish(Publisher(), image_message(np.zeros((2, 2), np.uint8), HEADER))
    assert [type(each) for each in published] == [CameraInfo, Image]


def test_an_error_of_the_middleware_is_raised_as_by_rclpy(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = node.create_publisher(Image, "/map", 1)
    message = image_message(np.zeros((2, 2), np.uint8), HEADER)
    shared = shared_data._shared_data(Image)
    assert shared is not None
    monkeypatch.setattr(shared, "_publish", lambda *_: 1)
    calls: list[Any] = []
    monkeypatch.setattr(publisher, "publish", calls.append)
    shared_data.publish(publisher, message)
    assert calls == [message] and len(message.data) == 4
