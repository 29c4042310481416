# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Intrinsics as sensor_msgs/CameraInfo."""

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from thfm_ros.contract import Intrinsics, LensModel


def camera_info_from_intrinsics(k: Intrinsics, header: Header) -> CameraInfo:
    """The CameraInfo of an image with the intrinsics ``k``: P = K, and D if it has a distortion."""
    info = CameraInfo(header=header, width=k.width, height=k.height)
    cx, cy = k.cx - 0.5, k.cy - 0.5
    info.distortion_model, info.d = "plumb_bob", [0.0] * 5
    if k.distortion is not None:
        info.d = list(k.distortion.coefficients)
        is_rational = k.distortion.model is LensModel.PLUMB_BOB and len(info.d) > 5
        info.distortion_model = "rational_polynomial" if is_rational else k.distortion.model.value
    info.k = [k.fx, 0.0, cx, 0.0, k.fy, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [k.fx, 0.0, cx, 0.0, 0.0, k.fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info
