# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The fields of a camera's messages that are read, whoever made the objects.

The node has objects of rclpy, bags give objects of their own reader. Both have the fields of
sensor_msgs, so one conversion serves both and needs no ROS.
"""

from collections.abc import Sequence
from typing import Any, Protocol


class Stamp(Protocol):
    """builtin_interfaces/Time."""

    sec: int
    nanosec: int


class Header(Protocol):
    """std_msgs/Header."""

    stamp: Stamp
    frame_id: str


class ImageMessage(Protocol):
    """sensor_msgs/Image; ``data`` has the buffer protocol."""

    header: Header
    height: int
    width: int
    encoding: str
    step: int
    data: Any


class CompressedImageMessage(Protocol):
    """sensor_msgs/CompressedImage; ``data`` has the buffer protocol."""

    header: Header
    format: str
    data: Any


class CameraInfoMessage(Protocol):
    """sensor_msgs/CameraInfo of ROS 2; matrices are row by row."""

    header: Header
    height: int
    width: int
    distortion_model: str
    d: Sequence[float]
    k: Sequence[float]
    r: Sequence[float]
    p: Sequence[float]
    binning_x: int
    binning_y: int
    roi: Any  # RegionOfInterest: x_offset, y_offset, height, width
