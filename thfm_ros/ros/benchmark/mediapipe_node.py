# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The baseline of the benchmark: MediaPipe Pose (33 landmarks and a mask) as a ROS node.

This file imports nothing of the package, since another Python interpreter runs it: mediapipe
requires NumPy 1. To set that interpreter up:

    python3 -m venv mediapipe_env
    mediapipe_env/bin/pip install mediapipe==0.10.21 -r requirements-ros.txt
    thfm benchmark node --mediapipe-python mediapipe_env/bin/python

The node subscribes to ``image`` with a queue of one, so that it always takes the newest image, and
publishes ``skeleton`` (a MarkerArray with the 33 landmarks in metres) and ``mask``.
"""

import argparse
import array
import contextlib
import os
import sys

# MediaPipe and TensorFlow log dozens of lines; they read these variables when imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GLOG_minloglevel", "3")
os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)

import mediapipe  # type: ignore[import-not-found,unused-ignore]
import numpy as np
import rclpy
from geometry_msgs.msg import Point
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from visualization_msgs.msg import Marker, MarkerArray

RADIUS_M = 0.04


class MediaPipePose(Node):
    """One image in, one skeleton and one mask out, in the subscription's callback."""

    def __init__(self, complexity: int) -> None:
        super().__init__("mediapipe_pose")
        self._complexity = complexity
        self._create_graph((480, 640, 3))
        self._skeletons = self.create_publisher(MarkerArray, "skeleton", 5)
        self._masks = self.create_publisher(Image, "mask", 5)
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(Image, "image", self._on_image, newest)

    def _create_graph(self, shape: tuple[int, ...]) -> None:
        """Create MediaPipe's graph, which works for one image size only."""
        self._shape = shape
        self._pose = mediapipe.solutions.pose.Pose(
            static_image_mode=False, model_complexity=self._complexity, enable_segmentation=True
        )
        self._pose.process(np.zeros(shape, np.uint8))  # the first call is slow

    def _on_image(self, image: Image) -> None:
        rgb = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
        if rgb.shape != self._shape:
            self._create_graph(rgb.shape)
        results = self._pose.process(rgb)
        skeleton = Marker(header=image.header, type=Marker.SPHERE_LIST)
        skeleton.scale.x = skeleton.scale.y = skeleton.scale.z = RADIUS_M
        skeleton.color.a = skeleton.color.g = 1.0
        if results.pose_world_landmarks:
            skeleton.points = [
                Point(x=landmark.x, y=landmark.y, z=landmark.z)
                for landmark in results.pose_world_landmarks.landmark
            ]
        self._skeletons.publish(MarkerArray(markers=[skeleton]))
        if results.segmentation_mask is None:
            mask = np.zeros(rgb.shape[:2], np.uint8)
        else:
            mask = (results.segmentation_mask * 255).astype(np.uint8)
        self._masks.publish(_mono8(image, mask))


def _mono8(image: Image, mask: np.ndarray) -> Image:
    height, width = mask.shape
    message = Image(header=image.header, height=height, width=width, encoding="mono8", step=width)
    message.data = array.array("B", mask.tobytes())  # the setter checks each byte of a `bytes`
    return message


def main() -> None:
    """Run the node until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--complexity", type=int, default=1, choices=(0, 1, 2))
    args, ros_arguments = parser.parse_known_args()
    rclpy.init(args=ros_arguments)
    node = MediaPipePose(args.complexity)
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)


if __name__ == "__main__":
    main()
