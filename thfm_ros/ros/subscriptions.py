# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Subscriptions to a camera: topic names, quality of service, and what to report without images."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # the module's name in Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

CAMERA_INFO_PERIOD_S = 0.25


def _sensor_qos() -> QoSProfile:
    """Depth 1, since only the newest image is used; best effort matches reliable writers too.

    A new object for each subscription: rclpy writes the user's qos_overrides into it.
    """
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class RateLimitedCallbackGroup(MutuallyExclusiveCallbackGroup):
    """Lets the executor serve its subscriptions at most once per ``period_s``.

    Cameras repeat their CameraInfo with every image, and each message costs the executor as much
    as an image does (0.8 ms of processor time, measured), although calibrations rarely change.
    """

    def __init__(self, period_s: float) -> None:
        super().__init__()
        self._period_s = period_s
        self._next_s = 0.0

    def can_execute(self, entity: Any) -> bool:
        """Called by the executor before it waits."""
        return time.monotonic() >= self._next_s and super().can_execute(entity)

    def ending_execution(self, entity: Any) -> None:
        """Called by the executor after a callback."""
        self._next_s = time.monotonic() + self._period_s
        super().ending_execution(entity)


def input_topics(node: Node, transport: str) -> tuple[str, str]:
    """Resolved names of the image topic and the camera_info topic.

    If only ``image`` is remapped, camera_info is taken from the same namespace, as in
    image_pipeline. Compressed images are on a topic below that of the raw ones, as in
    image_transport.
    """
    image = node.resolve_topic_name("image")
    camera_info = node.resolve_topic_name("camera_info")
    if camera_info == node.get_namespace().rstrip("/") + "/camera_info":
        camera_info = image.rpartition("/")[0] + "/camera_info"
    return (f"{image}/compressed" if transport == "compressed" else image), camera_info


def subscribe_to_camera_info(
    node: Node, topic: str, on_camera_info: Callable[[CameraInfo], None]
) -> Any:
    """Subscribe to the calibration, with a limited rate."""
    group = RateLimitedCallbackGroup(CAMERA_INFO_PERIOD_S)
    return node.create_subscription(
        CameraInfo, topic, on_camera_info, _sensor_qos(), callback_group=group
    )


def subscribe_to_images(
    node: Node,
    kind: type,
    topic: str,
    on_image: Callable[[Any], None],
    on_lost: Callable[[int], None],
) -> Any:
    """Subscribe to images of the message type ``kind``.

    ``on_lost`` is called with the number of images that the middleware lost, where it supports
    that event. The parameters ``qos_overrides.<topic>.subscription.*`` change history, depth and
    reliability.
    """
    subscribe = partial(
        node.create_subscription,
        kind,
        topic,
        on_image,
        _sensor_qos(),
        qos_overriding_options=QoSOverridingOptions.with_default_policies(),
    )
    events = SubscriptionEventCallbacks(
        message_lost=lambda status: on_lost(status.total_count_change)
    )
    try:
        return subscribe(event_callbacks=events)
    except UnsupportedEventTypeError:
        return subscribe()


def describe_image_source(node: Node, topic: str, kind: type) -> str:
    """A sentence that names the publishers of the images.

    If there are none, or their message type is not ``kind``, it says so and how to correct it.
    """
    expected = f"sensor_msgs/msg/{kind.__name__}"
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return (
            f"{topic} has no publisher: start the camera, or remap image (`ros2 topic list` shows "
            "the topics)."
        )
    others = sorted({each.topic_type for each in publishers} - {expected})
    if others:
        return (
            f"{topic} is published as {', '.join(others)}, but {expected} is expected: remap "
            "image, or set image_transport."
        )
    # Right after its discovery the name of a node is not known yet.
    names = [each.node_name for each in publishers if "UNKNOWN" not in each.node_name]
    return f"{topic} is published by {', '.join(names) or 'a node whose name is not known yet'}."
