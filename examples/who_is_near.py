#!/usr/bin/env python3
"""Say who is near the camera, and where their hands are: a subscriber to start from."""

import math

import rclpy
from geometry_msgs.msg import Point
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from thfm_ros.msg import Body, BodyArray, SkeletonInfo


class WhoIsNear(Node):
    """Listens to bodies, and once to what their joints mean."""

    def __init__(self) -> None:
        super().__init__("who_is_near")
        self._near_m = float(self.declare_parameter("near_m", 15.0).value)
        self._joints: list[str] = []
        # Latched: the node has published it before we came.
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(SkeletonInfo, "/thfm/skeleton_info", self._on_skeleton, latched)
        self.create_subscription(BodyArray, "/thfm/bodies", self._on_bodies, 1)

    def _on_skeleton(self, message: SkeletonInfo) -> None:
        self._joints = list(message.joint_names)

    def _on_bodies(self, message: BodyArray) -> None:
        if not message.metric:
            self.get_logger().warning(
                "The camera is not calibrated, so nobody knows how far anybody is.",
                throttle_duration_sec=10.0,
            )
            return
        # An empty list is an answer: the node has looked, and nobody is there.
        for body in message.bodies:
            away_m = distance(body.root)
            # Unknown is NaN, and NaN is never less than anything.
            if body.state == Body.TRACKED and away_m < self._near_m:
                self.get_logger().info(f"{body.id} is {away_m:.1f} m away{self._hands(body)}")

    def _hands(self, body: Body) -> str:
        told = ""
        for name in ("left_wrist", "right_wrist"):
            if name in self._joints:
                joint = body.joints[self._joints.index(name)]
                if joint.score > 0.5 and math.isfinite(joint.position.x):
                    told += f", {name.replace('_', ' ')} at {distance(joint.position):.1f} m"
        return told


def distance(point: Point) -> float:
    """Metres from the camera; NaN when unknown."""
    return math.hypot(point.x, point.y, point.z)


def main() -> None:
    """Listen until interrupted."""
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
