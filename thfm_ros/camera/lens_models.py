# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The lens model of a CameraInfo: its distortion_model and D, or a reason why it cannot be used."""

import math
from collections.abc import Sequence

from thfm_ros.contract import Distortion, LensModel, PerceptionError


class CalibrationError(PerceptionError):
    """A calibration that cannot be used for the images; the text says how to correct it."""


_PLUMB_BOB_COUNTS = (4, 5, 8, 12, 14)
_EQUIDISTANT_COUNT = 4

# REP-104's name, and those that drivers use for the same polynomial. OpenCV tells plumb_bob and
# rational_polynomial apart by the number of coefficients, as image_geometry does.
_MODELS = {
    "plumb_bob": LensModel.PLUMB_BOB,
    "rational_polynomial": LensModel.PLUMB_BOB,
    "equidistant": LensModel.EQUIDISTANT,
    "fisheye": LensModel.EQUIDISTANT,
    "kannala_brandt": LensModel.EQUIDISTANT,
}
_PINHOLE_NAMES = ("", "none", "pinhole")  # without coefficients
_CURE = (
    "Only 2D and relative results are published. Subscribe to the rectified image, for example "
    "`ros2 run image_proc rectify_node` and image:=<namespace>/image_rect"
)


def lens_model(name: str, coefficients: Sequence[float]) -> Distortion | None:
    """The lens model of distortion_model ``name`` with D; None: a pinhole.

    Without coefficients plumb_bob and rational_polynomial are a pinhole, and so is no name at all.
    An equidistant lens is not: its coefficients are corrections to the angle from the axis.

    Raises:
        CalibrationError: an unknown model, or coefficients that do not belong to it.
    """
    d = [float(value) for value in coefficients]
    if not all(math.isfinite(value) for value in d):
        raise CalibrationError(
            f"camera_info has D with a value that is not a number ({_listed(d)}): only 2D and "
            "relative results are published. Calibrate the camera again (camera_calibration)."
        )
    plain = name.strip().lower().replace(" ", "_").replace("-", "_")
    if plain in _PINHOLE_NAMES and not any(d):
        return None
    model = _MODELS.get(plain)
    if model is None:
        raise CalibrationError(
            f"camera_info has the distortion_model {name!r}, which is not known; known are "
            f"{', '.join(_MODELS)}. {_CURE}, or name the model that the "
            f"{len(d)} coefficients of D belong to."
        )
    if model is LensModel.EQUIDISTANT:
        return Distortion(model, _equidistant(name, d))
    if not any(d):
        return None
    if len(d) not in _PLUMB_BOB_COUNTS:
        raise CalibrationError(
            f"camera_info has {len(d)} coefficients in D for the distortion_model {name!r}, which "
            f"has {', '.join(map(str, _PLUMB_BOB_COUNTS))}. {_CURE}, or calibrate the camera again."
        )
    return Distortion(model, tuple(d))


def _equidistant(name: str, d: list[float]) -> tuple[float, ...]:
    """Four coefficients; none are zeros, and zeros after the fourth are ignored."""
    if d and (len(d) < _EQUIDISTANT_COUNT or any(d[_EQUIDISTANT_COUNT:])):
        raise CalibrationError(
            f"camera_info has {len(d)} coefficients in D for the distortion_model {name!r}, which "
            f"has {_EQUIDISTANT_COUNT}. {_CURE}, or calibrate the camera as a fisheye camera "
            "(camera_calibration --fisheye-k-coefficients 4)."
        )
    return tuple((d or [0.0] * _EQUIDISTANT_COUNT)[:_EQUIDISTANT_COUNT])


def _listed(d: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in d)
