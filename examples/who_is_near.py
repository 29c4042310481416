#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Log which people are near the camera and how far away their wrists are: an example subscriber."""

import math

import rclpy
from geometry_msgs.msg import Point
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from thfm_ros.msg import Body, BodyArray, SkeletonInfo


class WhoIsNear(Node):
    """Subscribes to the bodies, and to the names of their joints."""

    def __init__(self) -> None:
        super().__init__("who_is_near")
        self._near_m = float(self.declare_parameter("near_m", 15.0).value)
        self._joint_names: list[str] = []
        # Latched: it was published before this subscription exists.
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(SkeletonInfo, "/thfm/skeleton_info", self._on_skeleton, latched)
        self.create_subscription(BodyArray, "/thfm/bodies", self._on_bodies, 1)

    def _on_skeleton(self, message: SkeletonInfo) -> None:
        self._joint_names = list(message.joint_names)

    def _on_bodies(self, message: BodyArray) -> None:
        if not message.metric:
            self.get_logger().warning(
                "The camera is not calibrated, so distances are unknown.",
                throttle_duration_sec=10.0,
            )
            return
        # An empty list means that no person was detected in this image.
        for body in message.bodies:
            distance_m = distance(body.root)
            # An unknown distance is NaN, for which every comparison is false.
            confirmed = body.state in (Body.TRACKED, Body.PREDICTED)
            if confirmed and distance_m < self._near_m:
                self.get_logger().info(f"{body.id} is {distance_m:.1f} m away{self._wrists(body)}")

    def _wrists(self, body: Body) -> str:
        text = ""
        for name in ("left_wrist", "right_wrist"):
            if name in self._joint_names:
                joint = body.joints[self._joint_names.index(name)]
                if joint.score > 0.5 and math.isfinite(joint.position.x):
                    text += f", {name.replace('_', ' ')} at {distance(joint.position):.1f} m"
        return text


def distance(point: Point) -> float:
    """Metres from the camera; NaN if unknown."""
    return math.hypot(point.x, point.y, point.z)


def main() -> None:
    """Run the node until it is interrupted."""
    rclpy.init()
    node = WhoIsNear()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
