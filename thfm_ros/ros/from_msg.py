"""Conversion of image messages to RGB arrays.

The array is a view of the message's own bytes wherever the encoding allows it: a 640x480 image
then costs microseconds, and its only copy is the resize before the network. Bayer and YUV images
have no such view; OpenCV converts them once.

cv_bridge is not used. Its Python part copies every image and fails if NumPy's major version is not
the one it was built with, and it is on no Python index, while this package also runs on ROS 2 from
Python wheels. All that is needed of it are the encodings below.
"""

import cv2
import numpy as np
from jaxtyping import UInt8
from sensor_msgs.msg import CompressedImage, Image

from thfm_ros.contract import PerceptionError

RgbImage = UInt8[np.ndarray, "h w 3"]


class BadInputError(PerceptionError):
    """An image that cannot be used. ``cause`` is one word: encoding, size, step or data."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


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
# ROS names a Bayer pattern by its first four pixels (rggb: red first). These constants of OpenCV
# name it by the second row's second and third pixel: RGGB of ROS is BG of OpenCV.
_BAYER = {
    "bayer_rggb8": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr8": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg8": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg8": cv2.COLOR_BayerGB2RGB,
}
ACCEPTED: tuple[str, ...] = (*_PACKED, *_GREY, *_YUV_422, "nv12", *_BAYER)
"""Encodings that `rgb_from_image` accepts."""

_AMBIGUOUS = {
    "8UC3": "it does not define whether red or blue comes first: publish rgb8 or bgr8",
    "8UC4": "it does not define whether red or blue comes first: publish rgba8 or bgra8",
}


def stamp_ns(msg: Image | CompressedImage) -> int:
    """The stamp of a message in nanoseconds."""
    return int(msg.header.stamp.sec) * 1_000_000_000 + int(msg.header.stamp.nanosec)


def rgb_from_image(msg: Image) -> RgbImage:
    """The RGB array of an image: a read-only view of ``msg.data`` if the encoding allows it.

    Raises:
        BadInputError: the image cannot be used; the text says how to correct it.
    """
    encoding = msg.encoding
    if encoding in _PACKED:
        channels, order = _PACKED[encoding]
        return _rows(msg, msg.height, msg.width * channels, channels)[:, :, order]
    if encoding in _GREY:
        grey = _rows(msg, msg.height, msg.width)
        return np.broadcast_to(grey[:, :, None], (*grey.shape, 3))
    if encoding in _YUV_422:
        _require_even(msg, height_too=False)
        pairs = _rows(msg, msg.height, msg.width * 2, 2)
        return np.asarray(cv2.cvtColor(pairs, _YUV_422[encoding]))
    if encoding == "nv12":
        _require_even(msg, height_too=True)
        planes = _rows(msg, msg.height * 3 // 2, msg.width)
        return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_NV12))
    if encoding in _BAYER:
        mosaic = _rows(msg, msg.height, msg.width)
        if min(mosaic.shape) < 4:
            raise BadInputError("size", f"A Bayer image of {msg.width}x{msg.height} is too small.")
        return np.asarray(cv2.cvtColor(mosaic, _BAYER[encoding]))
    reason = _AMBIGUOUS.get(encoding, "it is not an 8-bit colour, grey, Bayer or YUV image")
    raise BadInputError(
        "encoding",
        f"Images have the encoding {encoding!r}: {reason}. Accepted: {', '.join(ACCEPTED)}. "
        "Change the encoding in the camera driver, or convert with image_proc.",
    )


def rgb_from_compressed(msg: CompressedImage) -> RgbImage:
    """The RGB array of a JPEG, PNG or other format that OpenCV decodes.

    Raises:
        BadInputError: the image cannot be decoded; the text says how to correct it.
    """
    if "compressedDepth" in msg.format:
        raise BadInputError(
            "encoding",
            f"CompressedImage has the format {msg.format!r}, which is depth and not colour. "
            "Remap 'image' to the colour camera.",
        )
    data = np.frombuffer(msg.data, np.uint8)
    try:
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error:  # for some broken headers it raises, for others it returns None
        bgr = None
    if bgr is None:
        raise BadInputError(
            "data",
            f"A CompressedImage of format {msg.format!r} with {data.size} bytes cannot be decoded. "
            "JPEG and PNG are accepted, as published by image_transport's 'compressed'.",
        )
    return np.asarray(bgr)[:, :, ::-1]


def _rows(msg: Image, rows: int, row_bytes: int, channels: int = 0) -> np.ndarray:
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


def _require_even(msg: Image, *, height_too: bool) -> None:
    if msg.width % 2 or (height_too and msg.height % 2):
        raise BadInputError(
            "size",
            f"{msg.encoding} shares colour samples between neighbouring pixels, so the sides that "
            f"share them must be even; {msg.width}x{msg.height} is not.",
        )
