# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The bodies of one camera: a subscription that exists only while its topic can be trusted."""

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from thfm_ros.contract import PerceptionError
from thfm_ros.msg import BodyArray

BODY_ARRAY = "thfm_ros/msg/BodyArray"
_QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Matches publishers of both kinds; several cameras' messages may wait at a time."""


def camera_names(topics: Sequence[str]) -> dict[str, str]:
    """Topic by the name of its camera: the topic without the slash and without /bodies.

    Raises:
        PerceptionError: there is no topic, or one is given twice.
    """
    given = [topic.strip() for topic in topics if topic.strip()]
    if not given:
        raise PerceptionError(
            "inputs is empty: give the topics of the cameras' bodies, as in "
            "-p \"inputs:=['/left/thfm/bodies','/right/thfm/bodies']\"."
        )
    named: dict[str, str] = {}
    for topic in given:
        name = topic.strip("/").removesuffix("/bodies")
        if name in named:
            raise PerceptionError(
                f"inputs has {topic} twice: two cameras cannot have one name. Start each camera's "
                "node in a namespace of its own (-r __ns:=/left)."
            )
        named[name] = topic if topic.startswith("/") else f"/{topic}"
    return named


def publisher_problem(topic: str, publishers: Sequence[Any], own_hash: str) -> str:
    """Why the topic cannot be used; empty if it can.

    Args:
        topic: its name.
        publishers: as of Node.get_publishers_info_by_topic.
        own_hash: type hash of this process's BodyArray; empty where ROS has none (Humble).
    """
    if not publishers:
        return f"no node publishes {topic}"
    nodes = ", ".join(sorted(f"{p.node_namespace.rstrip('/')}/{p.node_name}" for p in publishers))
    for publisher in publishers:
        if publisher.topic_type != BODY_ARRAY:
            return f"{topic} has the type {publisher.topic_type} ({nodes}); {BODY_ARRAY} is needed"
        other_hash = str(getattr(publisher, "topic_type_hash", ""))
        if own_hash and other_hash and other_hash != own_hash:
            return (
                f"{topic} is published by {nodes} with another version of {BODY_ARRAY} (type hash "
                f"{other_hash[:19]}..., here {own_hash[:19]}...): install one version of thfm_ros "
                "on all machines. Its bodies are not used"
            )
    if len(publishers) > 1:
        return (
            f"{topic} has {len(publishers)} publishers ({nodes}): two cameras have one name, and "
            "their people would be mixed. Its bodies are not used; start each node in a namespace "
            "of its own (-r __ns:=/left)"
        )
    return ""


class BodiesInput:
    """Subscribes to a camera's bodies while `check` finds nothing wrong with its publishers.

    ``problem`` says what is wrong; empty if nothing is.
    """

    def __init__(
        self, node: Node, topic: str, own_hash: str, receive: Callable[[BodyArray], None]
    ) -> None:
        self._node, self._topic = node, topic
        self._own_hash, self._receive = own_hash, receive
        self._subscription: Any = None
        self.problem = ""

    def check(self) -> None:
        """Look at the publishers, and subscribe or unsubscribe accordingly."""
        publishers = self._node.get_publishers_info_by_topic(self._topic)
        self.problem = publisher_problem(self._topic, publishers, self._own_hash)
        if self.problem:
            self.close()
        elif self._subscription is None:
            self._subscription = self._node.create_subscription(
                BodyArray, self._topic, self._receive, _QOS
            )

    def close(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
