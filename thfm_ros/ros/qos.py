# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Quality of service of the published topics, and publishers without costly event handlers."""

from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # the module's name in Humble
    from rclpy.qos_event import PublisherEventCallbacks

LATEST = QoSProfile(depth=1)
"""For results: reliable, which matches reliable and best-effort subscriptions; depth 1."""

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""For messages that are published once and must reach late subscribers."""


def create_publisher(node: Node, kind: type, topic: str, qos: QoSProfile) -> Any:
    """A publisher without rclpy's default event handlers.

    The executor adds each of those (three per publisher) to its wait set before every message:
    measured, 2 ms per image with 18 topics. Their only effect is a log line about subscriptions
    with an incompatible quality of service, which the subscriber's side logs as well.
    """
    no_defaults = PublisherEventCallbacks(use_default_callbacks=False)
    return node.create_publisher(kind, topic, qos, event_callbacks=no_defaults)


def has_subscribers(publisher: Any) -> bool:
    """Whether the publisher has a subscription; False for None. May be called in any thread."""
    try:
        return publisher is not None and publisher.get_subscription_count() > 0
    except InvalidHandle:  # another thread has destroyed it
        return False
