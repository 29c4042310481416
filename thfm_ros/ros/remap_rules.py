# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Whether the user remapped a topic, also where the new name equals the old one.

rclpy resolves names by the remap rules of the command line but does not tell whether a rule was
applied, so that ``camera_info:=/camera_info`` in the root namespace looks like no rule.
"""

import sys
from collections.abc import Iterator, Sequence

from rclpy.node import Node

_FLAGS = ("-r", "--remap")
_TOPIC_SCHEMES = ("rostopic://", "")


def is_remapped(node: Node, topic: str, arguments: Sequence[str] | None = None) -> bool:
    """Whether a remap rule names ``topic`` of ``node``.

    Args:
        node: with the rules of its own ``cli_args`` and of the process.
        topic: as it is given to create_subscription.
        arguments: of the process, which rclpy.init got; None: sys.argv.
    """
    expanded = node.resolve_topic_name(topic, only_expand=True)
    if node.resolve_topic_name(topic) != expanded:
        return True
    return any(
        node_name in ("", node.get_name())
        and node.resolve_topic_name(match, only_expand=True) == expanded
        for node_name, match in _topic_rules(sys.argv if arguments is None else arguments)
    )


def _topic_rules(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Node name (empty: all nodes) and old name of each rule ``[node:]old:=new`` for topics.

    Rules stand between ``--ros-args`` and ``--``, which may both be repeated. They are valid: ROS
    has parsed them before.
    """
    is_ros = False
    for flag, rule in zip(arguments, [*arguments[1:], ""], strict=True):
        if flag in ("--ros-args", "--"):
            is_ros = flag == "--ros-args"
        if not is_ros or flag not in _FLAGS or ":=" not in rule:
            continue
        left = rule.partition(":=")[0]
        node_name, colon, match = left.partition(":")
        if not colon or match.startswith("//"):
            node_name, match = "", left
        scheme, separator, name = match.rpartition("://")
        if scheme + separator in _TOPIC_SCHEMES and not name.startswith("__"):
            yield node_name, name
