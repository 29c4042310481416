"""Where images come from: names, quality of service, and what to say when none come."""

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
except ImportError:  # Humble has them elsewhere
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

INFO_PERIOD_S = 0.25


def _newest() -> QoSProfile:
    """Of a camera only the newest matters, and best effort takes from reliable writers too.

    A new object each time: rclpy writes the user's qos_overrides into it.
    """
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class NowAndThen(MutuallyExclusiveCallbackGroup):
    """Lets the executor look at its subscriptions at most once per ``period_s``.

    Cameras repeat their CameraInfo with every image, and each message costs the executor as much
    as an image does (0.8 ms of processor time, measured). Nobody changes lenses that often.
    """

    def __init__(self, period_s: float) -> None:
        super().__init__()
        self._period_s = period_s
        self._next_s = 0.0

    def can_execute(self, entity: Any) -> bool:
        """Asked by the executor before it waits."""
        return time.monotonic() >= self._next_s and super().can_execute(entity)

    def ending_execution(self, entity: Any) -> None:
        """Told by the executor after a callback."""
        self._next_s = time.monotonic() + self._period_s
        super().ending_execution(entity)


def input_topics(node: Node, transport: str) -> tuple[str, str]:
    """Full names of the image and the camera_info topic.

    Who remaps ``image`` alone gets the camera_info beside it, as in image_pipeline. Compressed
    images lie below the raw ones, as image_transport has it.
    """
    image = node.resolve_topic_name("image")
    info = node.resolve_topic_name("camera_info")
    if info == node.get_namespace().rstrip("/") + "/camera_info":
        info = image.rpartition("/")[0] + "/camera_info"
    return (f"{image}/compressed" if transport == "compressed" else image), info


def subscribe_to_info(node: Node, topic: str, receive: Callable[[CameraInfo], None]) -> Any:
    """Subscribe to the calibration."""
    group = NowAndThen(INFO_PERIOD_S)
    return node.create_subscription(CameraInfo, topic, receive, _newest(), callback_group=group)


def subscribe_to_images(
    node: Node,
    kind: type,
    topic: str,
    receive: Callable[[Any], None],
    lost: Callable[[int], None],
) -> Any:
    """Subscribe; ``lost`` gets the number of images that the middleware lost, if it tells.

    Parameters ``qos_overrides.<topic>.subscription.*`` change history, depth and reliability.
    """
    subscribe = partial(
        node.create_subscription,
        kind,
        topic,
        receive,
        _newest(),
        qos_overriding_options=QoSOverridingOptions.with_default_policies(),
    )
    events = SubscriptionEventCallbacks(message_lost=lambda seen: lost(seen.total_count_change))
    try:
        return subscribe(event_callbacks=events)
    except UnsupportedEventTypeError:
        return subscribe()


def image_source(node: Node, topic: str, kind: type) -> str:
    """Who publishes the images; and what to do if nobody does, or something else."""
    wanted = f"sensor_msgs/msg/{kind.__name__}"
    sources = node.get_publishers_info_by_topic(topic)
    if not sources:
        return (
            f"Nobody publishes {topic}: start the camera, or remap image (`ros2 topic list` shows "
            "what there is)."
        )
    others = sorted({each.topic_type for each in sources} - {wanted})
    if others:
        return (
            f"{topic} is published as {', '.join(others)}, but {wanted} is expected: remap image, "
            "or set image_transport."
        )
    # Just after its discovery the name of a node is not known yet.
    names = [each.node_name for each in sources if "UNKNOWN" not in each.node_name]
    return f"{topic} is published by {', '.join(names) or 'somebody'}."
