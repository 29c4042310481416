# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What the fusion node publishes: bodies, markers, tf and REP-155, as the node of one camera."""

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.node import Node
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from thfm_ros.config_node import NodeConfig
from thfm_ros.contract import Perception
from thfm_ros.fusion.settings import FusionNodeSettings
from thfm_ros.msg import BodyArray
from thfm_ros.result_messages.bodies import BodyArrayMaker
from thfm_ros.result_messages.markers import BodyMarkers
from thfm_ros.ros.qos import LATEST, create_publisher, has_subscribers
from thfm_ros.ros.rep155.publisher import HumansPublisher, check_namespace
from thfm_ros.ros.to_msg.kinds import ros_message

_NO_IMAGE = np.zeros((0, 0, 3), np.uint8)


class Outputs:
    """All publishers of the fusion node.

    Raises:
        PerceptionError: humans_namespace is not a valid name.
    """

    def __init__(self, node: Node, settings: FusionNodeSettings) -> None:
        check_namespace(settings.humans_namespace)
        self._node, self._settings = node, settings
        self._bodies = create_publisher(node, BodyArray, "~/bodies", LATEST)
        self._markers = create_publisher(node, MarkerArray, "~/markers", LATEST)
        self._maker, self._body_markers = BodyArrayMaker(ros_message), BodyMarkers(ros_message)
        humans = NodeConfig(
            publish_tf=settings.publish_tf,
            body_frame_prefix=settings.body_frame_prefix,
            humans_namespace=settings.humans_namespace,
            publish_camera_images=False,
        )
        self._humans = HumansPublisher(node, humans)

    @property
    def type_hash(self) -> str:
        """The type hash of BodyArray in this process; empty where ROS has none."""
        infos = self._node.get_publishers_info_by_topic(self._bodies.topic_name)
        name = self._node.get_name()
        own = [getattr(info, "topic_type_hash", "") for info in infos if info.node_name == name]
        return str(own[0]) if own else ""

    def have_subscribers(self) -> bool:
        """Whether any topic has a subscriber."""
        topics = has_subscribers(self._bodies) or has_subscribers(self._markers)
        return topics or self._humans.has_subscribers()

    def publish(self, people: Perception) -> None:
        """Publish all people, in the frame ``people.frame_id``."""
        seconds, nanoseconds = divmod(people.stamp_ns, 1_000_000_000)
        header = Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=people.frame_id)
        if has_subscribers(self._bodies):
            self._bodies.publish(self._maker.array(people, header))
        if has_subscribers(self._markers):
            confidence = self._settings.min_keypoint_confidence
            self._markers.publish(self._body_markers.markers(people, header, confidence))
        self._humans.publish(people, _NO_IMAGE, header)

    def clear(self) -> None:
        """Remove markers, tf frames and REP-155 bodies."""
        header = Header(stamp=self._node.get_clock().now().to_msg())
        self._markers.publish(self._body_markers.clear(header))
        self._humans.clear(header)

    def close(self) -> None:
        """Destroy all publishers."""
        self._humans.close()
        for each in (self._bodies, self._markers):
            self._node.destroy_publisher(each)
