"""From what a camera publishes to a `Frame`.

The image is a view of the message's own bytes wherever its layout allows, so a 640x480 image
costs microseconds here and its only copy is the resize in front of the network. Bayer and YUV
have no such view: they are converted once, by OpenCV.

cv_bridge is not used although it is declared for apt installations: its Python side copies every
image, breaks when NumPy's major version is not the one it was built with, and is on no Python
index. Nothing it does is missing here.
"""

import cv2
import numpy as np
from jaxtyping import UInt8
from sensor_msgs.msg import CompressedImage, Image

from thfm_ros.contract import Frame, Intrinsics, PerceptionError

RgbImage = UInt8[np.ndarray, "h w 3"]


class BadInputError(PerceptionError):
    """An image that cannot be used. ``cause`` is one word, the same for the same trouble."""

    def __init__(self, cause: str, text: str) -> None:
        super().__init__(text)
        self.cause = cause


# Channels of a pixel and how to see them as RGB. All samples are 8 bit, so that ``is_bigendian``
# has nothing to say about them; what it would matter for (16 bit) is refused by its name.
_PACKED: dict[str, tuple[int, slice]] = {
    "rgb8": (3, slice(None)),
    "bgr8": (3, slice(None, None, -1)),
    "rgba8": (4, slice(0, 3)),
    "bgra8": (4, slice(2, None, -1)),
}
_GREY = ("mono8", "8UC1")
# The two orders of 4:2:2 have had two names each: the old one of ROS, then the one of the fourcc.
_YUV_422 = {
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
}
# ROS names a mosaic by its first four pixels (rggb: red first); OpenCV's old constants name it by
# the pixels of the second row, second and third column. RGGB here is therefore BG there.
_BAYER = {
    "bayer_rggb8": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr8": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg8": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg8": cv2.COLOR_BayerGB2RGB,
}
ACCEPTED: tuple[str, ...] = (*_PACKED, *_GREY, *_YUV_422, "nv12", *_BAYER)
"""Encodings that `rgb_from_image` reads."""

_AMBIGUOUS = {
    "8UC3": "it does not say whether red or blue comes first: publish rgb8 or bgr8",
    "8UC4": "it does not say whether red or blue comes first: publish rgba8 or bgra8",
}


def frame_from_image(msg: Image, intrinsics: Intrinsics | None) -> Frame:
    """The frame of an Image; ``rgb`` shares its bytes and must not outlive changes to them.

    Raises:
        BadInputError: nothing can be made of it; the text has the cure.
    """
    return Frame(rgb_from_image(msg), stamp_ns(msg), msg.header.frame_id, intrinsics)


def frame_from_compressed(msg: CompressedImage, intrinsics: Intrinsics | None) -> Frame:
    """The frame of a CompressedImage, decoded."""
    return Frame(rgb_from_compressed(msg), stamp_ns(msg), msg.header.frame_id, intrinsics)


def stamp_ns(msg: Image | CompressedImage) -> int:
    """The stamp of a message as nanoseconds."""
    return int(msg.header.stamp.sec) * 1_000_000_000 + int(msg.header.stamp.nanosec)


def rgb_from_image(msg: Image) -> RgbImage:
    """RGB of an image: a view where the encoding allows it, else a new array."""
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
            raise BadInputError("size", f"A Bayer mosaic of {msg.width}x{msg.height} is too small.")
        return np.asarray(cv2.cvtColor(mosaic, _BAYER[encoding]))
    why = _AMBIGUOUS.get(encoding, "it is not an 8-bit colour, grey, Bayer or YUV image")
    raise BadInputError(
        "encoding",
        f"Images arrive with the encoding {encoding!r}: {why}. Accepted: {', '.join(ACCEPTED)}. "
        "Set the camera driver's encoding, or convert with image_proc.",
    )


def rgb_from_compressed(msg: CompressedImage) -> RgbImage:
    """RGB of a JPEG, PNG or other file that OpenCV reads: decoded, then seen in reverse order."""
    if "compressedDepth" in msg.format:
        raise BadInputError(
            "encoding",
            f"CompressedImage has the format {msg.format!r}, which is depth and not an image. "
            "Remap 'image' to the colour camera.",
        )
    data = np.frombuffer(msg.data, np.uint8)
    try:
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error:  # some broken headers raise, others return nothing
        bgr = None
    if bgr is None:
        raise BadInputError(
            "data",
            f"A CompressedImage of format {msg.format!r} with {data.size} bytes cannot be decoded. "
            "JPEG and PNG are read; the topic should be one of image_transport's 'compressed'.",
        )
    return np.asarray(bgr)[:, :, ::-1]


def _rows(msg: Image, rows: int, row_bytes: int, channels: int = 0) -> np.ndarray:
    """A view of the bytes without the rows' padding: [rows, w, channels]; [rows, w] for 0."""
    if rows <= 0 or row_bytes <= 0:
        raise BadInputError(
            "size",
            f"An image of {msg.width}x{msg.height} pixels has nothing in it: check the camera.",
        )
    if msg.step < row_bytes:
        raise BadInputError(
            "step",
            f"The image says step={msg.step} bytes, but a row of {msg.width} pixels of "
            f"{msg.encoding} has {row_bytes}. The camera driver fills step wrongly.",
        )
    needed = msg.step * (rows - 1) + row_bytes
    if len(msg.data) < needed:
        raise BadInputError(
            "data",
            f"The image has {len(msg.data)} bytes; {msg.width}x{msg.height} {msg.encoding} with "
            f"step={msg.step} needs {needed}. The camera driver cuts it off.",
        )
    shape: tuple[int, ...] = (rows, row_bytes)
    strides: tuple[int, ...] = (msg.step, 1)
    if channels:
        shape, strides = (rows, row_bytes // channels, channels), (msg.step, channels, 1)
    view: np.ndarray = np.ndarray(shape, np.uint8, msg.data, strides=strides)
    view.flags.writeable = False  # others share it
    return view


def _require_even(msg: Image, *, height_too: bool) -> None:
    if msg.width % 2 or (height_too and msg.height % 2):
        raise BadInputError(
            "size",
            f"{msg.encoding} shares its colour between neighbours, so {msg.width}x{msg.height} "
            "cannot be right: both sides that share must be even.",
        )
