"""Dense results as sensor_msgs/Image.

A message shares the memory of the array that it shows, so it must be published before that array
changes. Nothing is copied here but what changes its type on the way out.
"""

import sys

import cv2
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
    mm = depth_m * np.float32(1000)
    mm[~((mm >= 0.5) & (mm < 65535))] = 0  # NaN fails both
    return np.asarray(np.rint(mm, out=mm).astype(np.uint16))


def person_labels(mask: Float32[np.ndarray, "h w"], threshold: float) -> UInt8[np.ndarray, "h w"]:
    """1 person, 0 background, 255 where the probability is unknown."""
    labels: UInt8[np.ndarray, "h w"] = np.greater_equal(mask, np.float32(threshold)).view(np.uint8)
    if np.isnan(mask.sum()):  # one pass instead of two where nothing is unknown
        labels[np.isnan(mask)] = UNLABELLED
    return labels


def normals_rgb(normals: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """(n + 1) / 2 as a colour; unknown is black. For viewers, which cannot show 32FC3."""
    flat = np.ascontiguousarray(normals).reshape(len(normals), -1)
    # OpenCV saturates NaN to 0; a test holds it to that.
    return np.asarray(cv2.convertScaleAbs(flat, None, 127.5, 127.5)).reshape(normals.shape)


def _surface_colours() -> UInt8[np.ndarray, "17 16 16 3"]:
    """Colour of a body part at 16 x 16 places of its surface: hue by part, u and v by shade."""
    parts = np.arange(17)
    hue = (parts * 180 * 0.381966) % 180  # the golden section keeps neighbours apart
    u, v = np.meshgrid(np.linspace(0, 1, 16), np.linspace(0, 1, 16), indexing="ij")
    hsv = np.empty((17, 16, 16, 3), np.uint8)
    hsv[..., 0] = hue[:, None, None]
    hsv[..., 1] = 255 - 150 * v  # pale towards the far end
    hsv[..., 2] = 125 + 130 * np.abs(2 * u - 1)  # u is 0 in front and 0.5 at the back
    rgb = cv2.cvtColor(hsv.reshape(1, -1, 3), cv2.COLOR_HSV2RGB)
    return np.asarray(rgb).reshape(17, 16, 16, 3)


_SURFACE = _surface_colours()


def dense_pose_rgb(dense_pose: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Hue by part, brightness by u (bright in front), saturation by v; black off people."""
    height, width = dense_pose.shape[:2]
    flat = np.ascontiguousarray(dense_pose).reshape(-1, 3)
    rgb = np.zeros((height * width, 3), np.uint8)
    seen = np.flatnonzero(flat[:, 0] > 0)  # False for NaN
    part, u, v = flat[seen].T
    place = np.clip((u * 16).astype(np.intp), 0, 15), np.clip((v * 16).astype(np.intp), 0, 15)
    rgb[seen] = _SURFACE[part.astype(np.intp), place[0], place[1]]
    return rgb.reshape(height, width, 3)
