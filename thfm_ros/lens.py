# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Lens distortion: from pixels to rays and back, with the lens models of OpenCV.

Pixels and frames are those of contract.py. The inverse of a lens model is iterative and does not
exist everywhere: each ray is projected again, and where that does not give the pixel it came from,
the ray is NaN.
"""

import math
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64

from thfm_ros.contract import Distortion, Frame, Intrinsics, LensModel, PerceptionError

MAX_HALF_ANGLE_DEG = 80.0
"""Rays farther from the optical axis are NaN: scaled to z = 1 they grow without limit."""

_MAX_ERROR_PX = 0.05
"""Distance between a pixel and the projection of its ray, above which there is no ray."""

_STRETCH = (0.4, 6.0)
"""Possible ratios of a ray's tangent and that of a pinhole. Beyond them the coefficients are
absurd, or the iteration found another branch of the polynomial."""

_SAME_SHARE = 0.005
"""Drivers with autofocus state a focal length that varies by less than this from image to image."""

_STOP = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 100, 1e-9)
_STEP = 1e-4  # of central differences, at z = 1
_MAX_TANGENT = math.tan(math.radians(MAX_HALF_ANGLE_DEG))


def same_projection(a: Intrinsics | None, b: Intrinsics | None) -> bool:
    """Whether two cameras show a point at the same pixel, but for half a percent of the image."""
    if a is None or b is None or a.distortion != b.distortion:
        return a is b is None
    focal = max(abs(a.fx / b.fx - 1), abs(a.fy / b.fy - 1))
    centre = max(abs(a.cx - b.cx), abs(a.cy - b.cy)) / b.width
    return (a.width, a.height) == (b.width, b.height) and max(focal, centre) < _SAME_SHARE


def check_image_size(frame: Frame) -> None:
    """Check that the frame's calibration, if it has one, is for images of its size.

    Raises:
        PerceptionError: it is for another size.
    """
    k, (height, width) = frame.intrinsics, frame.rgb.shape[:2]
    if k is not None and (k.width, k.height) != (width, height):
        raise PerceptionError(
            f"The calibration is for images of {k.width}x{k.height}, the image has "
            f"{width}x{height}. Calibrate at this size, or publish a CameraInfo that fits."
        )


def distort(points_m: Float[np.ndarray, "*n 3"], k: Intrinsics) -> Float64[np.ndarray, "*n 2"]:
    """Pixels of points in the optical frame; NaN for points that the lens does not show."""
    flat = np.asarray(points_m, np.float64).reshape(-1, 3)
    z = np.where(flat[:, 2] > 0, flat[:, 2], np.nan)
    tangents = flat[:, :2] / z[:, None]
    shown = np.linalg.norm(tangents, axis=1) <= _MAX_TANGENT  # False for NaN
    pixels = np.full((len(flat), 2), np.nan)
    pixels[shown] = _pixels_of(tangents[shown], k)
    return pixels.reshape(*np.shape(points_m)[:-1], 2)


def undistort(pixels: Float[np.ndarray, "*n 2"], k: Intrinsics) -> Float64[np.ndarray, "*n 3"]:
    """Directions through pixels, scaled so that z = 1; NaN where the lens model has none."""
    flat = np.asarray(pixels, np.float64).reshape(-1, 2)
    tangents = np.full(flat.shape, np.nan)
    known = np.isfinite(flat).all(axis=1)
    tangents[known] = _tangents_of(flat[known], k)
    pinhole = np.linalg.norm((flat - [k.cx, k.cy]) / [k.fx, k.fy], axis=1)
    low, high = (limit * pinhole for limit in _STRETCH)
    with np.errstate(invalid="ignore", over="ignore"):
        length = np.linalg.norm(tangents, axis=1)
        inside = (length <= _MAX_TANGENT) & (low - 1e-9 <= length) & (length <= high + 1e-9)
    tangents[~inside] = np.nan
    error_px = np.linalg.norm(_pixels_of(tangents[inside], k) - flat[inside], axis=1)
    tangents[np.flatnonzero(inside)[~(error_px <= _MAX_ERROR_PX)]] = np.nan
    rays = np.column_stack([tangents, np.where(np.isfinite(tangents[:, 0]), 1.0, np.nan)])
    return rays.reshape(*np.shape(pixels)[:-1], 3)


def pixel_derivatives(
    rays: Float[np.ndarray, "*n 3"], k: Intrinsics
) -> Float64[np.ndarray, "*n 2 2"]:
    """Change of the pixel x, y (rows) with x and y (columns) of a ray at z = 1; NaN for NaN."""
    tangents = np.asarray(rays, np.float64).reshape(-1, 3)[:, :2]
    steps = np.array([[_STEP, 0], [-_STEP, 0], [0, _STEP], [0, -_STEP]])
    pixels = _pixels_of((tangents + steps[:, None]).reshape(-1, 2), k).reshape(4, -1, 2)
    columns = (pixels[0] - pixels[1], pixels[2] - pixels[3])
    derivatives = np.stack(columns, axis=-1) / (2 * _STEP)
    derivatives[~np.isfinite(tangents).all(axis=1)] = np.nan
    return derivatives.reshape(*np.shape(rays)[:-1], 2, 2)


@lru_cache(maxsize=2)
def tangent_maps(k: Intrinsics) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """x / z and y / z of the rays through all pixels, computed once for each camera.

    Between every second pixel (fourth, of large images) they are interpolated: the error is below
    0.1 % at 70 degrees from the axis of an image of 640 pixels, and less nearer to it.
    """
    step = 2 if k.width * k.height <= 1_000_000 else 4
    # One cell beyond each edge, so that none of the image's pixels is extrapolated.
    columns, rows = (-(-length // step) + 2 for length in (k.width, k.height))
    x, y = ((np.arange(count) - 0.5) * step for count in (columns, rows))
    rays = undistort(np.stack(np.meshgrid(x, y), axis=-1), k).astype(np.float32)
    size = (columns * step, rows * step)
    inner = slice(step, step + k.height), slice(step, step + k.width)
    maps = [cv2.resize(np.ascontiguousarray(rays[..., i]), size)[inner] for i in range(2)]
    return np.ascontiguousarray(maps[0]), np.ascontiguousarray(maps[1])


def share_with_rays(k: Intrinsics) -> float:
    """The share of the image, 0 to 1, whose pixels have a ray."""
    x, y = ((np.arange(16) + 0.5) * length / 16 for length in (k.width, k.height))
    return float(np.isfinite(undistort(np.stack(np.meshgrid(x, y), axis=-1), k)[..., 2]).mean())


def _tangents_of(pixels: Float64[np.ndarray, "n 2"], k: Intrinsics) -> Float64[np.ndarray, "n 2"]:
    """x / z and y / z by OpenCV's iteration, which may not have converged."""
    if not len(pixels):
        return pixels
    distortion, matrix = _distortion_of(k), _matrix(k)
    coefficients = np.array(distortion.coefficients)
    points = np.ascontiguousarray(pixels[:, None])
    if distortion.model is LensModel.EQUIDISTANT:
        found = cv2.fisheye.undistortPoints(points, matrix, coefficients, criteria=_STOP)
    elif iterate := getattr(cv2, "undistortPointsIter", None):  # its name in OpenCV 4
        found = iterate(points, matrix, coefficients, np.eye(3), np.eye(3), _STOP)
    else:
        undistort_points: Any = cv2.undistortPoints
        found = undistort_points(points, matrix, coefficients, criteria=_STOP)
    return np.asarray(found, np.float64).reshape(-1, 2)


def _pixels_of(tangents: Float64[np.ndarray, "n 2"], k: Intrinsics) -> Float64[np.ndarray, "n 2"]:
    if not len(tangents):
        return tangents
    distortion, matrix = _distortion_of(k), _matrix(k)
    coefficients = np.array(distortion.coefficients)
    if distortion.model is LensModel.EQUIDISTANT:
        found = cv2.fisheye.distortPoints(tangents[:, None], matrix, coefficients)
    else:
        points = np.column_stack([tangents, np.ones(len(tangents))])
        found, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, coefficients)
    return np.asarray(found, np.float64).reshape(-1, 2)


def _distortion_of(k: Intrinsics) -> Distortion:
    assert k.distortion is not None, "a pinhole needs no lens model"
    return k.distortion


def _matrix(k: Intrinsics) -> Float64[np.ndarray, "3 3"]:
    return np.array([[k.fx, 0, k.cx], [0, k.fy, k.cy], [0, 0, 1]])
