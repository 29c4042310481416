# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Dense maps as sensor_msgs/Image.

A message shares the memory of its array, so it must be published before the array changes. Only
an array whose data type changes is copied here.
"""

import sys

import numpy as np
from jaxtyping import Float32, UInt8, UInt16
from sensor_msgs.msg import Image
from std_msgs.msg import Header

_ENCODINGS: dict[tuple[str, int], str] = {
    ("uint8", 1): "mono8",
    ("uint8", 3): "rgb8",
    ("uint16", 1): "16UC1",
    ("float32", 1): "32FC1",
    ("float32", 3): "32FC3",
}
UNLABELLED = 255
"""The label of pixels whose class is unknown."""


def image_message(pixels: np.ndarray, header: Header) -> Image:
    """An Image of ``pixels`` [h, w] or [h, w, 3]; data type and channels give the encoding."""
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    msg = Image(header=header, height=height, width=width)
    msg.encoding = _ENCODINGS[pixels.dtype.name, channels]
    msg.is_bigendian = int(sys.byteorder == "big")
    msg.step = pixels.strides[0]
    share_bytes(msg, pixels)
    return msg


def share_bytes(msg: object, values: np.ndarray) -> None:
    """Make ``msg.data`` the memory of a contiguous array, without a copy.

    The property's setter copies; before Kilted it does so element by element, unless the value is
    an array.array. The private attribute accepts any object with the buffer protocol, which rclpy
    converts with one memcpy.
    """
    msg._data = values.data.cast("B")  # type: ignore[attr-defined]


def depth_millimetres(depth_m: Float32[np.ndarray, "h w"]) -> UInt16[np.ndarray, "h w"]:
    """Depth in REP-118's integer form: millimetres; 0 if unknown or out of range."""
    mm = np.clip(depth_m, 0, 100) * np.float32(1000)  # 100 m is out of range too
    mm[~((mm >= 0.5) & (mm < 65535))] = 0  # also for NaN
    return np.asarray(np.rint(mm, out=mm).astype(np.uint16))


def person_labels(mask: Float32[np.ndarray, "h w"], threshold: float) -> UInt8[np.ndarray, "h w"]:
    """Labels: 1 person, 0 background, 255 where the probability is unknown (NaN)."""
    labels: UInt8[np.ndarray, "h w"] = np.greater_equal(mask, np.float32(threshold)).view(np.uint8)
    if np.isnan(mask.sum()):  # saves the second pass if no probability is unknown
        labels[np.isnan(mask)] = UNLABELLED
    return labels
