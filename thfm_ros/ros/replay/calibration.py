# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""CameraInfo for images that have none: from a calibration file, or of an ideal pinhole camera.

In CameraInfo (0, 0) is the centre of the top-left pixel, so the centre of an image is at
(width - 1) / 2.
"""

import math
from pathlib import Path
from typing import Any

import yaml
from sensor_msgs.msg import CameraInfo

from thfm_ros.camera.calibration import CalibrationError

MAX_FOV_DEG = 170.0
"""Largest horizontal field of view of a pinhole camera."""


def pinhole(width: int, height: int, horizontal_fov_deg: float) -> CameraInfo:
    """A camera without distortion whose image is ``horizontal_fov_deg`` degrees wide.

    Raises:
        CalibrationError: the field of view is not one of a pinhole camera.
    """
    if not 1.0 <= horizontal_fov_deg <= MAX_FOV_DEG:
        raise CalibrationError(
            f"A pinhole camera cannot have a horizontal field of view of {horizontal_fov_deg} "
            f"degrees; give 1 to {MAX_FOV_DEG:g}, or 0 for no CameraInfo."
        )
    focal_px = width / 2 / math.tan(math.radians(horizontal_fov_deg) / 2)
    matrix = [focal_px, 0.0, (width - 1) / 2, 0.0, focal_px, (height - 1) / 2, 0.0, 0.0, 1.0]
    return _message(width, height, matrix, "plumb_bob", [0.0] * 5)


def calibration_from_file(path: Path) -> CameraInfo:
    """Read a file of ROS's camera_calibration (``ost.yaml``).

    Raises:
        CalibrationError: the file cannot be read, or a field is missing or malformed.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise CalibrationError(f"The calibration {path} cannot be read: {error}") from error
    try:
        info = _message(
            _side(values["image_width"]),
            _side(values["image_height"]),
            _floats(values["camera_matrix"]["data"], 9),
            str(values.get("distortion_model", "plumb_bob")),
            _floats(values["distortion_coefficients"]["data"]),
        )
        if "rectification_matrix" in values:
            info.r = _floats(values["rectification_matrix"]["data"], 9)
        if "projection_matrix" in values:
            info.p = _floats(values["projection_matrix"]["data"], 12)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CalibrationError(
            f"The calibration {path} is not in the format of camera_calibration (image_width, "
            f"image_height, camera_matrix.data, distortion_coefficients.data): {error!r}"
        ) from error
    return info


def check_size(info: CameraInfo, width: int, height: int) -> None:
    """Check that a calibration is for images of this size.

    Raises:
        CalibrationError: it is for another size.
    """
    if (info.width, info.height) != (width, height):
        raise CalibrationError(
            f"The calibration is for {info.width}x{info.height}, but the images are "
            f"{width}x{height}. Calibrate at that size, or set horizontal_fov_deg instead of a "
            "calibration."
        )


def _side(value: Any) -> int:
    if type(value) is not int or not 0 < value < 2**31:
        raise ValueError(f"{value!r} is no number of pixels")
    return value


def _floats(values: Any, count: int | None = None) -> list[float]:
    floats = [float(value) for value in values]
    if not all(math.isfinite(value) for value in floats):
        raise ValueError("a number is not finite")
    if count is not None and len(floats) != count:
        raise ValueError(f"{len(floats)} numbers instead of {count}")
    return floats


def _message(
    width: int, height: int, matrix: list[float], model: str, distortion: list[float]
) -> CameraInfo:
    fx, _, cx, _, fy, cy = matrix[:6]
    return CameraInfo(
        width=width,
        height=height,
        k=matrix,
        distortion_model=model,
        d=distortion,
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
