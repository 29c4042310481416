# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The message types that are read from bags, with their definitions."""

import functools
from typing import Any

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
COMPRESSED_VIDEO = "foxglove_msgs/msg/CompressedVideo"
INFO = "sensor_msgs/msg/CameraInfo"
IS_IMAGE = frozenset({IMAGE, COMPRESSED_IMAGE, COMPRESSED_VIDEO})
COMPRESSED = "/compressed"
"""How image_transport ends the topic of compressed images."""

_COMPRESSED_VIDEO_FIELDS = """
builtin_interfaces/Time timestamp
string frame_id
uint8[] data
string format
"""


@functools.cache
def types_of_ros2() -> Any:
    """The library's store of types. The fields of the types above are the same since Foxy."""
    from rosbags.typesys import Stores

    return _store(Stores.ROS2_HUMBLE, _COMPRESSED_VIDEO_FIELDS)


@functools.cache
def types_of_ros1() -> Any:
    """The same for bags of ROS 1."""
    from rosbags.typesys import Stores

    fields = _COMPRESSED_VIDEO_FIELDS.replace("builtin_interfaces/Time", "time")
    return _store(Stores.ROS1_NOETIC, fields)


def _store(name: Any, compressed_video: str) -> Any:
    from rosbags.typesys import get_types_from_msg, get_typestore

    store = get_typestore(name)
    store.register(get_types_from_msg(compressed_video, COMPRESSED_VIDEO))
    return store
