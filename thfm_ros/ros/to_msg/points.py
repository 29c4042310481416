# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Depth and colour as an organised PointCloud2.

sensor_msgs_py is not used here: it makes the same bytes from a structured array, which must first
be filled field by field and is then copied again. Where it is installed, a test reads these clouds
with it.
"""

import sys

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from thfm_ros.contract import Intrinsics, Perception
from thfm_ros.lens import tangent_maps
from thfm_ros.ros.to_msg.images import share_bytes
from thfm_ros.ros.to_msg.map_size import image_for, map_intrinsics

_XYZ = ("x", "y", "z")
_NORMALS = ("normal_x", "normal_y", "normal_z")
# PCL's convention: the bytes b, g, r, 0 as one float. The fourth byte, which PCL calls alpha, must
# be 0: with 255, a red of 128 or more makes all exponent bits 1, which is NaN, and readers that
# skip NaN (read_points of sensor_msgs_py) would lose the point.
_RGB_TO_COLOUR = (
    [0, 2, 1, 1, 2, 0] if sys.byteorder == "little" else [0, 1, 1, 2, 2, 3]
)  # pairs: a channel of the image, the byte that it fills


class PointCloudMaker:
    """Makes one cloud per frame; keeps what depends on the camera only.

    The cloud shares memory with this object: publish it before making the next.
    """

    def __init__(self, *, with_normals: bool, with_colours: bool = True) -> None:
        colours = ("rgb",) if with_colours else ()
        self._field_names = (*_XYZ, *colours, *(_NORMALS if with_normals else ()))
        self._with_normals, self._with_colours = with_normals, with_colours
        self._intrinsics: Intrinsics | None = None
        self._points: np.ndarray = np.empty(0, np.float32)

    def cloud(
        self, perception: Perception, rgb: UInt8[np.ndarray, "h w 3"], header: Header
    ) -> PointCloud2 | None:
        """One point per pixel of the depth, NaN where it is unknown; None without metric depth."""
        intrinsics = map_intrinsics(perception)
        if perception.depth_m is None or intrinsics is None:
            return None
        self._prepare(intrinsics)
        channels = self._xyz(perception.depth_m)
        if self._with_colours:
            image = image_for(rgb, (intrinsics.width, intrinsics.height))
            cv2.mixChannels([np.ascontiguousarray(image)], [self._colour], _RGB_TO_COLOUR)
            channels.append(self._colour.view(np.float32)[..., 0])
        if self._with_normals:
            normals = perception.normals
            unknown = np.full_like(perception.depth_m, np.nan)
            channels += [unknown] * 3 if normals is None else list(cv2.split(normals))
        cv2.merge(channels, self._points)
        return self._message(header)

    def _xyz(self, depth_m: Float32[np.ndarray, "h w"]) -> list[Float32[np.ndarray, "h w"]]:
        np.multiply(depth_m, self._ray_x, out=self._x)
        np.multiply(depth_m, self._ray_y, out=self._y)
        return [self._x, self._y, depth_m]

    def _prepare(self, k: Intrinsics) -> None:
        """Compute the rays of all pixels, unless the intrinsics are those of the last frame."""
        if k == self._intrinsics:
            return
        self._intrinsics = k
        if k.distortion is None:
            columns, rows = (np.arange(n, dtype=np.float32) for n in (k.width, k.height))
            self._ray_x = (columns + np.float32(0.5 - k.cx)) / k.fx
            self._ray_y = ((rows + np.float32(0.5 - k.cy)) / k.fy)[:, None]
        else:
            self._ray_x, self._ray_y = tangent_maps(k)
        self._x, self._y = (np.empty((k.height, k.width), np.float32) for _ in range(2))
        self._colour = np.zeros((k.height, k.width, 4), np.uint8)
        self._points = np.empty((k.height, k.width, len(self._field_names)), np.float32)

    def _message(self, header: Header) -> PointCloud2:
        height, width, fields = self._points.shape
        msg = PointCloud2(header=header, height=height, width=width, is_dense=False)
        msg.fields = [
            PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
            for i, name in enumerate(self._field_names)
        ]
        msg.is_bigendian = sys.byteorder == "big"
        msg.point_step = 4 * fields
        msg.row_step = 4 * fields * width
        share_bytes(msg, self._points)
        return msg
