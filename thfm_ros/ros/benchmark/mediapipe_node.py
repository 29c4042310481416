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

MediaPipe's Pose finds one person. With ``--cells ROWS COLUMNS`` one graph runs on each cell of a
grid over the image: the people of the benchmark stand in such cells, which this node is told.
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
    """One image in, one skeleton per cell and one mask out, in the subscription's callback."""

    def __init__(self, complexity: int, cells: "tuple[int, int]", with_mask: bool) -> None:
        super().__init__("mediapipe_pose")
        self._complexity, self._cells, self._with_mask = complexity, cells, with_mask
        self._shape: "tuple[int, ...]" = ()
        self._create_graphs((480, 640, 3))
        self._skeletons = self.create_publisher(MarkerArray, "skeleton", 5)
        self._masks = self.create_publisher(Image, "mask", 5) if with_mask else None
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(Image, "image", self._on_image, newest)

    def _create_graphs(self, shape: "tuple[int, ...]") -> None:
        """Create MediaPipe's graphs, which work for one image size only."""
        self._shape = shape
        self._slices = _cells(shape, *self._cells)
        self._poses = [
            mediapipe.solutions.pose.Pose(
                static_image_mode=False,
                model_complexity=self._complexity,
                enable_segmentation=self._with_mask,
            )
            for _ in self._slices
        ]
        for pose, cell in zip(self._poses, self._slices, strict=True):
            pose.process(np.zeros(shape, np.uint8)[cell])  # the first call is slow

    def _on_image(self, image: Image) -> None:
        rgb = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
        if rgb.shape != self._shape:
            self._create_graphs(rgb.shape)
        mask = np.zeros(rgb.shape[:2], np.uint8)
        markers: list[Marker] = []
        for pose, cell in zip(self._poses, self._slices, strict=True):
            results = pose.process(np.ascontiguousarray(rgb[cell]))
            skeleton = Marker(header=image.header, type=Marker.SPHERE_LIST, id=len(markers))
            skeleton.scale.x = skeleton.scale.y = skeleton.scale.z = RADIUS_M
            skeleton.color.a = skeleton.color.g = 1.0
            if results.pose_world_landmarks:
                skeleton.points = [
                    Point(x=landmark.x, y=landmark.y, z=landmark.z)
                    for landmark in results.pose_world_landmarks.landmark
                ]
            markers.append(skeleton)
            if self._with_mask and results.segmentation_mask is not None:
                mask[cell] = (results.segmentation_mask * 255).astype(np.uint8)
        self._skeletons.publish(MarkerArray(markers=markers))
        if self._masks is not None:
            self._masks.publish(_mono8(image, mask))


def _cells(shape: "tuple[int, ...]", rows: int, columns: int) -> "list[tuple[slice, slice]]":
    """The cells of a grid over an image, row by row."""
    y = np.linspace(0, shape[0], rows + 1).round().astype(int)
    x = np.linspace(0, shape[1], columns + 1).round().astype(int)
    return [
        (slice(y[row], y[row + 1]), slice(x[column], x[column + 1]))
        for row in range(rows)
        for column in range(columns)
    ]


def _mono8(image: Image, mask: np.ndarray) -> Image:
    height, width = mask.shape
    message = Image(header=image.header, height=height, width=width, encoding="mono8", step=width)
    message.data = array.array("B", mask.tobytes())  # the setter checks each byte of a `bytes`
    return message


def main() -> None:
    """Run the node until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--complexity", type=int, default=1, choices=(0, 1, 2))
    parser.add_argument("--cells", type=int, nargs=2, default=(1, 1), metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--without-mask", action="store_true")
    args, ros_arguments = parser.parse_known_args()
    rclpy.init(args=ros_arguments)
    node = MediaPipePose(args.complexity, tuple(args.cells), not args.without_mask)
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)


if __name__ == "__main__":
    main()
