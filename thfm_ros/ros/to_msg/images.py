"""Dense results as sensor_msgs/Image.

A message shares the memory of the array that it shows, so it must be published before that array
changes. Nothing is copied here but what changes its type on the way out.
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
"""The label of pixels about which nothing is said."""

NO_INSTANCE = 65535
"""The number of pixels that belong to nobody in ``Perception.bodies``."""


def image_message(pixels: np.ndarray, header: Header) -> Image:
    """An Image of ``pixels`` [h, w] or [h, w, 3]; the encoding follows from type and channels."""
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
    """Let ``msg.data`` be the memory of a contiguous array.

    The setter of ``data`` copies, element by element before Kilted unless it is given an
    array.array. Writing behind its back is what rclpy's converter wants anyway: anything with
    the buffer protocol is taken over by one memcpy.
    """
    msg._data = values.data.cast("B")  # type: ignore[attr-defined]


def depth_millimetres(depth_m: Float32[np.ndarray, "h w"]) -> UInt16[np.ndarray, "h w"]:
    """REP-118's other form: millimetres, 0 unknown or out of range."""
    mm = np.clip(depth_m, 0, 100) * np.float32(1000)  # 100 m is out of range too
    mm[~((mm >= 0.5) & (mm < 65535))] = 0  # NaN fails both
    return np.asarray(np.rint(mm, out=mm).astype(np.uint16))


def person_labels(mask: Float32[np.ndarray, "h w"], threshold: float) -> UInt8[np.ndarray, "h w"]:
    """1 person, 0 background, 255 where the probability is unknown."""
    labels: UInt8[np.ndarray, "h w"] = np.greater_equal(mask, np.float32(threshold)).view(np.uint8)
    if np.isnan(mask.sum()):  # one pass instead of two where nothing is unknown
        labels[np.isnan(mask)] = UNLABELLED
    return labels
