# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Subscriptions to a camera: topic names, quality of service, and what to report without images."""

from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from thfm_ros.ros.message_receiver import MessageReceiver, OwnThreadGroup
from thfm_ros.ros.remap_rules import is_remapped

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # the module's name in Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

CAMERA_INFO_PERIOD_S = 0.25
_LATCHED_CHECK_S = 0.5  # between two checks of the publishers of camera_info
_COMPRESSED = "/compressed"
_INFO_TYPE = "sensor_msgs/msg/CameraInfo"


def _sensor_qos() -> QoSProfile:
    """Depth 1, since only the newest image is used; best effort matches reliable writers too.

    A new object for each subscription: rclpy writes the user's qos_overrides into it.
    """
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def _latched_qos() -> QoSProfile:
    """For what was published once, before the subscription: it must be reliable to be repeated."""
    return QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def input_topics(node: Node, transport: str) -> tuple[str, str]:
    """Resolved names of the image topic and the camera_info topic.

    If only ``image`` is remapped, camera_info is taken from the same namespace, as in
    image_pipeline; a remapped camera_info is taken as it is, even if it has the default name.
    Compressed images are on a topic below that of the raw ones, as in image_transport, unless
    ``image`` is that topic already.
    """
    image = node.resolve_topic_name("image")
    base = image.removesuffix(_COMPRESSED)
    camera_info = node.resolve_topic_name("camera_info")
    if not is_remapped(node, "camera_info"):
        camera_info = base.rpartition("/")[0] + "/camera_info"
    return (base + _COMPRESSED if transport == "compressed" else image), camera_info


class CameraInfoSubscription:
    """Receives the calibration, with a limited rate, from publishers of both durabilities.

    Cameras repeat their CameraInfo with every image, although calibrations rarely change. A driver
    that does so is volatile, one that publishes it once is transient local. A transient-local
    subscription does not match the former, and drivers would warn of it; a volatile one gets
    nothing that was published before it. So a transient-local subscription is added as soon as
    there is such a publisher. The parameters ``qos_overrides.<topic>.subscription.*`` change the
    volatile one. `MessageReceiver.stop` comes before `destroy`.
    """

    def __init__(
        self,
        node: Node,
        receiver: MessageReceiver,
        topic: str,
        on_camera_info: Callable[[CameraInfo], None],
    ) -> None:
        self._node, self._receiver, self._topic = node, receiver, topic
        self._on_camera_info = on_camera_info
        kinds = (
            *(QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH),
            *(QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY),
        )
        self._subscriptions = [self._subscribe(_sensor_qos(), QoSOverridingOptions(kinds))]
        # Of the machine, not of the node: a paused /clock must not keep the calibration away.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(_LATCHED_CHECK_S, self._add_latched, clock=clock)
        self._add_latched()

    def destroy(self) -> None:
        """Unsubscribe."""
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _add_latched(self) -> None:
        publishers = self._node.get_publishers_info_by_topic(self._topic)
        durabilities = {each.qos_profile.durability for each in publishers}
        if DurabilityPolicy.TRANSIENT_LOCAL in durabilities:
            self._timer.cancel()
            self._subscriptions.append(self._subscribe(_latched_qos(), None))

    def _subscribe(self, qos: QoSProfile, overriding: QoSOverridingOptions | None) -> Any:
        # The default ones log each publisher that only the other subscription matches.
        events = SubscriptionEventCallbacks(use_default_callbacks=overriding is not None)
        subscription = self._node.create_subscription(
            CameraInfo,
            self._topic,
            self._on_camera_info,
            qos,
            callback_group=OwnThreadGroup(),
            event_callbacks=events,
            qos_overriding_options=overriding,
        )
        self._receiver.add(subscription, self._on_camera_info, CAMERA_INFO_PERIOD_S)
        return subscription


def subscribe_to_images(
    node: Node,
    receiver: MessageReceiver,
    kind: type,
    topic: str,
    on_image: Callable[[Any], None],
    on_lost: Callable[[int], None],
) -> Any:
    """Subscribe to images of the message type ``kind``, which ``receiver`` receives.

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
        callback_group=OwnThreadGroup(),
        qos_overriding_options=QoSOverridingOptions.with_default_policies(),
    )
    events = SubscriptionEventCallbacks(
        message_lost=lambda status: on_lost(status.total_count_change)
    )
    try:
        subscription = subscribe(event_callbacks=events)
    except UnsupportedEventTypeError:
        subscription = subscribe()
    receiver.add(subscription, on_image)
    return subscription


def describe_image_source(node: Node, topic: str, kind: type) -> str:
    """A sentence that names the publishers of the images.

    If there are none, or their message type is not ``kind``, it says so and how to correct it.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return f"{topic} has no publisher: {_advice_without_publisher(node, topic, kind)}"
    expected = _type_name(kind)
    others = sorted({each.topic_type for each in publishers} - {expected})
    if others:
        return (
            f"{topic} is published as {', '.join(others)}, but {expected} is expected: "
            f"{_transport_for(others) or 'remap image, or set image_transport.'}"
        )
    return f"{topic} is published by {_names(publishers)}."


def _advice_without_publisher(node: Node, topic: str, kind: type) -> str:
    """Where the other transport of the same camera has a publisher, its name is given."""
    base = topic.removesuffix(_COMPRESSED)
    if base and kind is CompressedImage and _is_published(node, base, Image):
        return f"{base} has one. Set image_transport:=raw."
    if kind is Image and _is_published(node, base + _COMPRESSED, CompressedImage):
        return f"{base}{_COMPRESSED} has one. Set image_transport:=compressed."
    return "start the camera, or remap image (`ros2 topic list` shows the topics)."


def _transport_for(types: list[str]) -> str:
    for kind, transport in ((CompressedImage, "compressed"), (Image, "raw")):
        if _type_name(kind) in types:
            return f"set image_transport:={transport}."
    return ""


def describe_missing_camera_info(node: Node, topic: str) -> str:
    """Why no calibration has been received on ``topic``, and how to get one."""
    without = "only 2D and relative results are published, nothing metric."
    publishers = node.get_publishers_info_by_topic(topic)
    others = sorted({each.topic_type for each in publishers} - {_INFO_TYPE})
    if others:
        return f"{topic} is published as {', '.join(others)}, not {_INFO_TYPE}: {without}"
    if publishers:
        return f"No CameraInfo has come from {_names(publishers)} on {topic} yet: {without}"
    known = sorted(
        name
        for name, types in node.get_topic_names_and_types()
        if _INFO_TYPE in types and not name.startswith(node.get_fully_qualified_name() + "/")
        if node.get_publishers_info_by_topic(name)
    )
    found = ", ".join(known) or "none: give the camera's driver a calibration file"
    return (
        f"No CameraInfo: {topic} has no publisher, {without} Remap 'camera_info' to the topic of "
        f"the camera that publishes 'image' (there is {found})."
    )


def _is_published(node: Node, topic: str, kind: type) -> bool:
    publishers = node.get_publishers_info_by_topic(topic)
    return any(each.topic_type == _type_name(kind) for each in publishers)


def _type_name(kind: type) -> str:
    return f"sensor_msgs/msg/{kind.__name__}"


def _names(publishers: list[Any]) -> str:
    """The names of the publishers' nodes. Right after discovery a node's name is not known yet."""
    names = sorted({each.node_name for each in publishers if "UNKNOWN" not in each.node_name})
    return ", ".join(names) or "a node whose name is not known yet"
