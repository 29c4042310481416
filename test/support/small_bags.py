# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Bags of a few small images, written by rosbags in milliseconds."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="rosbags is not installed: pip install '.[archive]'")

from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Writer2

from thfm_ros.bags.message_types import COMPRESSED_VIDEO, types_of_ros1, types_of_ros2

START_NS = 1_700_000_000_123_456_789
PERIOD_NS = 100_000_000
MCAP, SQLITE = StoragePlugin.MCAP, StoragePlugin.SQLITE3

Message = tuple[str, int, Any]  # topic, time of recording, message


def a_header(stamp_ns: int, frame_id: str = "camera", *, ros1: bool = False) -> Any:
    types = (types_of_ros1() if ros1 else types_of_ros2()).types
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = types["builtin_interfaces/msg/Time"](sec, nanosec)
    header = types["std_msgs/msg/Header"]
    return header(0, stamp, frame_id) if ros1 else header(stamp, frame_id)


def an_image(
    rgb: np.ndarray, stamp_ns: int, frame_id: str = "camera", *, ros1: bool = False
) -> Any:
    """sensor_msgs/Image of an RGB array."""
    return a_raw_image(
        "rgb8", rgb.shape[:2], rgb.tobytes(), 3 * rgb.shape[1], stamp_ns, frame_id, ros1=ros1
    )


def a_raw_image(
    encoding: str,
    shape: tuple[int, ...],
    data: bytes,
    step: int,
    stamp_ns: int,
    frame_id: str = "camera",
    *,
    ros1: bool = False,
) -> Any:
    types = (types_of_ros1() if ros1 else types_of_ros2()).types
    header = a_header(stamp_ns, frame_id, ros1=ros1)
    values = np.frombuffer(data, np.uint8)
    return types["sensor_msgs/msg/Image"](header, shape[0], shape[1], encoding, 0, step, values)


def a_compressed_image(data: bytes, stamp_ns: int, image_format: str = "jpeg") -> Any:
    kind = types_of_ros2().types["sensor_msgs/msg/CompressedImage"]
    return kind(a_header(stamp_ns), image_format, np.frombuffer(data, np.uint8))


def a_compressed_video(data: bytes, stamp_ns: int, video_format: str = "h264") -> Any:
    types = types_of_ros2().types
    stamp = a_header(stamp_ns).stamp
    values = np.frombuffer(data, np.uint8)
    return types[COMPRESSED_VIDEO](stamp, "camera", values, video_format)


def a_camera_info(
    width: int, height: int, fx: float, stamp_ns: int = START_NS, *, ros1: bool = False
) -> Any:
    """CameraInfo of a pinhole whose principal point is the centre of the image."""
    types = (types_of_ros1() if ros1 else types_of_ros2()).types
    cx, cy = (width - 1) / 2, (height - 1) / 2
    matrix = np.array([fx, 0, cx, 0, fx, cy, 0, 0, 1], np.float64)
    projection = np.array([fx, 0, cx, 0, 0, fx, cy, 0, 0, 0, 1, 0], np.float64)
    return types["sensor_msgs/msg/CameraInfo"](
        a_header(stamp_ns, ros1=ros1),
        *(height, width, "plumb_bob", np.zeros(5), matrix, np.eye(3).reshape(-1), projection),
        *(0, 0, types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)),
    )


def images_of(
    frames: Sequence[np.ndarray],
    topic: str = "/camera/image_raw",
    *,
    start_ns: int = START_NS,
    period_ns: int = PERIOD_NS,
    ros1: bool = False,
) -> list[Message]:
    """Messages of RGB frames, recorded 5 ms after their stamps."""
    stamps = [start_ns + number * period_ns for number in range(len(frames))]
    return [
        (topic, stamp + 5_000_000, an_image(rgb, stamp, ros1=ros1))
        for rgb, stamp in zip(frames, stamps, strict=True)
    ]


def write_bag(
    path: Path, messages: Iterable[Message], storage: Any = MCAP, compression: str = ""
) -> Path:
    """Write a rosbag2 folder; ``compression``, by zstd: "FILE", "MESSAGE" or "STORAGE"."""
    writer = Writer2(path, version=9, storage_plugin=storage)
    if compression:
        writer.set_compression(CompressionMode[compression], CompressionFormat.ZSTD)
    with writer:
        _write(writer, messages, types_of_ros2(), types_of_ros2().serialize_cdr)
    return path


def write_ros1_bag(path: Path, messages: Iterable[Message]) -> Path:
    """Write a .bag of ROS 1."""
    with Writer1(path) as writer:
        _write(writer, messages, types_of_ros1(), types_of_ros1().serialize_ros1)
    return path


def _write(
    writer: Any, messages: Iterable[Message], types: Any, serialize: Callable[[Any, str], Any]
) -> None:
    connections: dict[str, Any] = {}
    for topic, received_ns, message in messages:
        kind = message.__msgtype__
        if topic not in connections:
            connections[topic] = writer.add_connection(topic, kind, typestore=types)
        writer.write(connections[topic], received_ns, serialize(message, kind))
