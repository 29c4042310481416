# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Conversion of sensor_msgs/Image.

The array is a view of the message's own bytes wherever the encoding allows it: a 640x480 image
then costs microseconds, and its only copy is the resize before the network. Bayer and YUV images
have no such view; OpenCV converts them once.
"""

import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.camera.bad_input import BadInputError
from thfm_ros.camera.bayer import PATTERNS, demosaic
from thfm_ros.camera.messages import CompressedImageMessage, ImageMessage

RgbImage = UInt8[np.ndarray, "h w 3"]


# Channels per pixel, and the slice of them that is RGB. All samples have 8 bits, so
# ``is_bigendian`` does not matter; 16-bit encodings, for which it would, are rejected by name.
_PACKED: dict[str, tuple[int, slice]] = {
    "rgb8": (3, slice(None)),
    "bgr8": (3, slice(None, None, -1)),
    "rgba8": (4, slice(0, 3)),
    "bgra8": (4, slice(2, None, -1)),
}
_GREY = ("mono8", "8UC1")
# Each of the two byte orders of 4:2:2 has two names: the older one of ROS, then the fourcc.
_YUV_422 = {
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
}
# 4:2:0 in two planes: luma, then both chroma samples interleaved. nv12 is no encoding of ROS, but
# drivers of phones and SoCs publish it.
_YUV_420 = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}
ACCEPTED: tuple[str, ...] = (*_PACKED, *_GREY, *_YUV_422, *_YUV_420, *PATTERNS)
"""Encodings that `rgb_from_image` accepts."""

_AMBIGUOUS = {
    "8uc3": "it does not define whether red or blue comes first: publish rgb8 or bgr8",
    "8uc4": "it does not define whether red or blue comes first: publish rgba8 or bgra8",
    "nv24": "it does not define how long the rows of its planes are: publish yuv422 or nv21",
}


def stamp_ns(msg: ImageMessage | CompressedImageMessage) -> int:
    """The stamp of a message in nanoseconds."""
    return int(msg.header.stamp.sec) * 1_000_000_000 + int(msg.header.stamp.nanosec)


def rgb_from_image(msg: ImageMessage) -> RgbImage:
    """The RGB array of an image: a read-only view of ``msg.data`` if the encoding allows it.

    Raises:
        BadInputError: the image cannot be used; the text says how to correct it.
    """
    encoding = msg.encoding
    if encoding in _PACKED:
        channels, order = _PACKED[encoding]
        return _rows(msg, msg.height, msg.width * channels, channels)[:, :, order]
    if encoding in _GREY:
        return repeat_grey(_rows(msg, msg.height, msg.width))
    if encoding in _YUV_422:
        _require_even(msg, height_too=False)
        pairs = _rows(msg, msg.height, msg.width * 2, 2)
        return np.asarray(cv2.cvtColor(pairs, _YUV_422[encoding]))
    if encoding in _YUV_420:
        _require_even(msg, height_too=True)
        rows = msg.height * 3 // 2
        planes = _rows(msg, rows, msg.width)
        _require_no_rest(msg, rows)
        return np.asarray(cv2.cvtColor(planes, _YUV_420[encoding]))
    if encoding in PATTERNS:
        return demosaic(_rows(msg, msg.height, msg.width), encoding)
    reason = why_ambiguous(encoding) or "it is not an 8-bit colour, grey, Bayer or YUV image"
    raise BadInputError(
        "encoding",
        f"Images have the encoding {encoding!r}: {reason}. Accepted: {', '.join(ACCEPTED)}. "
        "Change the encoding in the camera driver, or convert with image_proc.",
    )


def repeat_grey(grey: UInt8[np.ndarray, "h w"]) -> RgbImage:
    """The RGB array of a grey image: a read-only view."""
    return np.broadcast_to(grey[:, :, None], (*grey.shape, 3))


def why_ambiguous(encoding: str) -> str:
    """Why an encoding of 8 bits cannot be converted; empty for all others. Ignores case."""
    return _AMBIGUOUS.get(encoding.lower(), "")


def _rows(msg: ImageMessage, rows: int, row_bytes: int, channels: int = 0) -> np.ndarray:
    """A view of the data without row padding: [rows, w, channels], or [rows, w] for 0 channels."""
    if rows <= 0 or row_bytes <= 0:
        raise BadInputError(
            "size",
            f"An image of {msg.width}x{msg.height} pixels is empty: check the camera driver.",
        )
    if msg.step < row_bytes:
        raise BadInputError(
            "step",
            f"The image has step={msg.step} bytes, but a row of {msg.width} pixels of "
            f"{msg.encoding} has {row_bytes}. The camera driver sets step wrongly.",
        )
    needed = msg.step * (rows - 1) + row_bytes
    if len(msg.data) < needed:
        raise BadInputError(
            "data",
            f"The image has {len(msg.data)} bytes; {msg.width}x{msg.height} {msg.encoding} with "
            f"step={msg.step} needs {needed}. The camera driver truncates it.",
        )
    shape: tuple[int, ...] = (rows, row_bytes)
    strides: tuple[int, ...] = (msg.step, 1)
    if channels:
        shape, strides = (rows, row_bytes // channels, channels), (msg.step, channels, 1)
    view: np.ndarray = np.ndarray(shape, np.uint8, msg.data, strides=strides)
    view.flags.writeable = False  # the message owns the memory
    return view


def _require_even(msg: ImageMessage, *, height_too: bool) -> None:
    if msg.width % 2 or (height_too and msg.height % 2):
        raise BadInputError(
            "size",
            f"{msg.encoding} shares colour samples between neighbouring pixels, so the sides that "
            f"share them must be even; {msg.width}x{msg.height} is not.",
        )


def _require_no_rest(msg: ImageMessage, rows: int) -> None:
    """Refuse planes of another height: where the second one begins would not be known."""
    if len(msg.data) > msg.step * rows:
        raise BadInputError(
            "data",
            f"The image has {len(msg.data)} bytes; {msg.width}x{msg.height} {msg.encoding} with "
            f"step={msg.step} has {msg.step * rows}. If the camera driver pads the height, it must "
            "publish the padded height, or remove the padding.",
        )
