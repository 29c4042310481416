"""Publishers as this node wants them."""

from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble has it elsewhere
    from rclpy.qos_event import PublisherEventCallbacks

NEWEST = QoSProfile(depth=1)
"""Reliable, which suits readers of either kind; and of results only the newest matters."""

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""For what is said once and must reach whoever comes later."""


def publisher(node: Node, kind: type, topic: str, qos: QoSProfile) -> Any:
    """A publisher without rclpy's default event handlers.

    Each of those (three per publisher) is another thing that the executor puts into its wait set
    before every message: with 18 topics 2 ms per image, measured. All they do is log a reader
    with an incompatible quality of service, and the reader's own side logs that as well.
    """
    quiet = PublisherEventCallbacks(use_default_callbacks=False)
    return node.create_publisher(kind, topic, qos, event_callbacks=quiet)


def has_listener(to: Any) -> bool:
    """Whether anybody subscribes; False for None."""
    return to is not None and to.get_subscription_count() > 0
