# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What should exist once and exists twice: nodes of this name, publishers of the images.

ROS lets both happen without a word. A process that was killed is known for some time after its
end (Fast DDS: 20 s), so its successor reports it until then.
"""

from rclpy.node import Node

_KILLED = "(one that was killed remains known for 20 s)"


def describe_same_name(node: Node) -> str:
    """How many nodes have this node's name, and what follows; empty if it is the only one."""
    name = node.get_fully_qualified_name()
    names = [
        f"{namespace.rstrip('/')}/{each}"
        for each, namespace in node.get_node_names_and_namespaces()
    ]
    if (number := names.count(name)) < 2:
        return ""
    return (
        f"{number} nodes are called {name} {_KILLED}: their results are published on the same "
        "topics, and each request for a service or a parameter reaches any of them. Give each its "
        "own name: --ros-args -r __node:=NAME, or -r __ns:=/NAMESPACE."
    )


def describe_mixed_images(node: Node, topic: str) -> str:
    """The publishers of the images if there are several, and what follows; else empty."""
    publishers = node.get_publishers_info_by_topic(topic)
    if len(publishers) < 2:
        return ""
    names = ", ".join(sorted(each.node_name for each in publishers))
    return (
        f"{topic} has {len(publishers)} publishers {_KILLED}: {names}. The images of several "
        "cameras are mixed into one stream; remap image to the topic of one camera, or stop the "
        "other one."
    )
