# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Stands in for the perception node in tests of the demo: one person, on every topic.

With STAND_IN=exits it ends after five images, with STAND_IN=no_normals it never publishes
normals/image.
"""

import os
import signal
import sys

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from thfm_ros.msg import Body, BodyArray, Joint, SkeletonInfo
from thfm_ros.skeleton import BONES, JOINT_NAMES

MODE = os.environ.get("STAND_IN", "")


class StandIn(Node):
    def __init__(self) -> None:
        super().__init__("thfm")
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.count = 0
        self.bodies = self.create_publisher(BodyArray, "~/bodies", 1)
        self.images = {
            name: self.create_publisher(Image, f"~/{name}/image", 1)
            for name in ("depth", "depth_relative", "segmentation", "normals")
        }
        self.diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 1)
        info = self.create_publisher(SkeletonInfo, "~/skeleton_info", latched)
        info.publish(
            SkeletonInfo(
                model="stand-in",
                joint_names=JOINT_NAMES,
                bone_parents=[int(parent) for parent, _ in BONES],
                bone_children=[int(child) for _, child in BONES],
            )
        )
        self.create_subscription(Image, "image", self.on_image, qos_profile_sensor_data)

    def on_image(self, image: Image) -> None:
        self.count += 1
        if MODE == "exits" and self.count > 5:
            sys.exit("the stand-in exits as requested")
        self.bodies.publish(self.body_array(image))
        labels = np.zeros((image.height, image.width), np.uint8)
        labels[10:40, 10:40] = 1
        depth = np.where(labels == 1, np.float32(2.5), np.float32(np.nan))
        self.publish("segmentation", image, labels, "mono8")
        self.publish("depth", image, depth, "32FC1")
        if MODE != "no_normals":
            self.publish("normals", image, np.dstack([depth] * 3), "32FC3")
        status = DiagnosticStatus(name="thfm: input", message="good")
        status.values = [KeyValue(key="dropped: overwritten", value="3")]
        engine = DiagnosticStatus(name="thfm: engine", message="no engine at all")
        self.diagnostics.publish(DiagnosticArray(status=[status, engine]))

    def publish(self, name: str, image: Image, pixels: np.ndarray, encoding: str) -> None:
        message = Image(header=image.header, height=image.height, width=image.width)
        message.encoding, message.step = encoding, pixels.strides[0]
        message.data = pixels.tobytes()
        self.images[name].publish(message)

    def body_array(self, image: Image) -> BodyArray:
        body = Body(id="abcde", state=Body.TRACKED, score=0.9, box=[10.0, 10.0, 40.0, 40.0])
        keypoints = np.random.default_rng(1).uniform(12, 38, (len(JOINT_NAMES), 2))
        body.joints = [Joint(x=x, y=y, score=0.9) for x, y in keypoints.tolist()]
        size = {"image_width": image.width, "image_height": image.height}
        return BodyArray(header=image.header, metric=True, bodies=[body], **size)


if __name__ == "__main__":
    # Signals end it at once. With rclpy's handlers one that had been sent SIGTERM was still waiting
    # in spin() after two minutes, on a busy machine.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    rclpy.spin(StandIn())
