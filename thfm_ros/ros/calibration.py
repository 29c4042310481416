# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The camera's calibration: from the newest CameraInfo to the `Intrinsics` of the images.

CameraInfo is cached and not synchronised by time: a calibration is valid until another arrives.
The camera matrix is K, that of the raw image, unless the name of the image topic says that the
image is rectified (``image_rect``, ``rect/image``: names of image_proc and of camera drivers); then
it is P. Lens distortion is not corrected; for a wide lens use the rectified topic.

Pixel coordinates: in CameraInfo (0, 0) is the centre of the top-left pixel, in contract.py its
corner. The principal point is therefore shifted by half a pixel in both conversions.
"""

import math
import re

import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from thfm_ros.contract import Intrinsics, PerceptionError
from thfm_ros.geometry import resize_intrinsics


class CalibrationError(PerceptionError):
    """A calibration that cannot be used for the images; the text says how to correct it."""


_MAX_PIXEL_ASPECT = 1.1
"""Largest ratio of fx and fy, either way. Measured: with a ratio of 1 to 0.93 as many people are
detected as with square pixels and distances are right to 2 %; with 1 to 0.5 a third of the people
are detected and distances are wrong by a fifth."""

_RECTIFIED = re.compile(r"(^|[/_])rect(ified)?([/_]|$)")


def is_rectified(image_topic: str) -> bool:
    """Whether the topic's name says that lens distortion was corrected."""
    return _RECTIFIED.search(image_topic) is not None


def intrinsics_from_camera_info(
    info: CameraInfo, width: int, height: int, *, rectified: bool = False
) -> Intrinsics:
    """The pinhole camera of images of ``width`` x ``height`` pixels.

    Region of interest and binning are applied. If the image was resized after that, by the same
    factor in both directions to within a pixel, the intrinsics are resized as well.

    Args:
        info: the camera's calibration.
        width: of the received images.
        height: of the received images.
        rectified: use the matrix P of the rectified image instead of K.

    Raises:
        CalibrationError: there is no calibration, or it is one of other images.
    """
    full = _full_resolution(info, rectified)
    roi, bin_x, bin_y = info.roi, max(info.binning_x, 1), max(info.binning_y, 1)
    has_roi = roi.width > 0 and roi.height > 0
    published = Intrinsics(
        fx=full.fx / bin_x,
        fy=full.fy / bin_y,
        cx=(full.cx - (roi.x_offset if has_roi else 0)) / bin_x,
        cy=(full.cy - (roi.y_offset if has_roi else 0)) / bin_y,
        width=(roi.width if has_roi else full.width) // bin_x,
        height=(roi.height if has_roi else full.height) // bin_y,
    )
    if published.width < 1 or published.height < 1:
        raise CalibrationError(
            f"camera_info leaves no pixel of {full.width}x{full.height}: binning {bin_x}x{bin_y}, "
            f"region of interest {roi.width}x{roi.height}. Only 2D and relative results are "
            "published. The driver must fill in the binning and region that its images have."
        )
    if not 1 / _MAX_PIXEL_ASPECT < published.fx / published.fy < _MAX_PIXEL_ASPECT:
        raise CalibrationError(
            f"pixels are not square (fx / fy = {published.fx / published.fy:.2f}), so people "
            "appear stretched: only 2D and relative results are published. Publish an image with "
            "the same binning in both directions, or resize it until fx = fy."
        )
    if (published.width, published.height) == (width, height):
        return published
    # Each side may have been rounded to whole pixels, by up to one.
    aspect_difference = abs(published.width * height - published.height * width)
    if aspect_difference > published.width + published.height:
        raise CalibrationError(
            f"camera_info is for {published.width}x{published.height} pixels, but images have "
            f"{width}x{height}, which is another aspect ratio: the calibration is not for these "
            "images. Remap 'camera_info' to the topic of the camera that publishes 'image', or "
            "calibrate at this size."
        )
    return resize_intrinsics(published, width, height)


def _full_resolution(info: CameraInfo, rectified: bool) -> Intrinsics:
    """The intrinsics before binning and region of interest."""
    matrix, row = (info.p, 4) if rectified else (info.k, 3)
    name = "P" if rectified else "K"
    fx, fy, cx, cy = (float(matrix[i]) for i in (0, row + 1, 2, row + 2))
    if fx == 0 or fy == 0:
        raise CalibrationError(
            f"camera_info has no calibration ({name} is zero): only 2D and relative results are "
            "published. Calibrate the camera (camera_calibration) and give its driver the file."
        )
    if not all(math.isfinite(v) for v in (fx, fy, cx, cy)) or fx < 0 or fy < 0:
        raise CalibrationError(
            f"camera_info has an impossible {name} (fx={fx:g}, fy={fy:g}, cx={cx:g}, cy={cy:g}): "
            "only 2D and relative results are published. Calibrate the camera again."
        )
    if info.width == 0 or info.height == 0:
        raise CalibrationError(
            f"camera_info has {name} but no width and height, so the image size of the calibration "
            "is unknown: only 2D and relative results are published. Fill in both in the "
            "calibration file."
        )
    return Intrinsics(fx, fy, cx + 0.5, cy + 0.5, int(info.width), int(info.height))


class Calibration:
    """The newest CameraInfo and the intrinsics that follow from it for the received images.

    ``problem`` says why images have no intrinsics (empty if they have), ``note`` is a remark about
    intrinsics that are usable. Not thread-safe: used by the subscriptions' thread only.
    """

    def __init__(self, image_topic: str, info_topic: str) -> None:
        self._rectified = is_rectified(image_topic)
        self._info: CameraInfo | None = None
        self._key: tuple[CameraInfo, str, int, int] | None = None
        self._intrinsics: Intrinsics | None = None
        self.problem = (
            f"No CameraInfo on {info_topic}: only 2D and relative results are published, nothing "
            "metric. Remap 'camera_info' to the topic of the camera that publishes 'image'."
        )
        self.note = ""

    def receive(self, info: CameraInfo) -> None:
        """Store the newest calibration, unless it equals the stored one."""
        if self._info is None or not _same_calibration(info, self._info):
            self._info = info

    def intrinsics_for(self, frame_id: str, width: int, height: int) -> Intrinsics | None:
        """Intrinsics of images of this frame_id and size; None: see ``problem``."""
        if self._info is None:
            return None
        key = (self._info, frame_id, width, height)
        if self._key is None or key[0] is not self._key[0] or key[1:] != self._key[1:]:
            self._key = key
            self._compute(self._info, frame_id, width, height)
        return self._intrinsics

    def _compute(self, info: CameraInfo, frame_id: str, width: int, height: int) -> None:
        self._intrinsics, self.problem, self.note = None, "", ""
        info_frame = info.header.frame_id
        if info_frame and frame_id and info_frame != frame_id:
            self.problem = (
                f"camera_info has the frame_id {info_frame!r}, images have {frame_id!r}: it is of "
                "another camera and is not used. Remap 'camera_info' to the topic of the camera "
                "that publishes 'image'."
            )
            return
        try:
            self._intrinsics = intrinsics_from_camera_info(
                info, width, height, rectified=self._rectified
            )
        except CalibrationError as error:
            self.problem = str(error)
            return
        if not self._rectified and any(info.d):
            self.note = (
                f"lens distortion ({info.distortion_model or 'unnamed'}) is not corrected: use a "
                "rectified image (image_proc) if an accuracy of centimetres is needed"
            )


def _same_calibration(a: CameraInfo, b: CameraInfo) -> bool:
    """Equal except for the stamp."""
    scalars = ("width", "height", "distortion_model", "binning_x", "binning_y", "roi")
    return (
        a.header.frame_id == b.header.frame_id
        and all(getattr(a, name) == getattr(b, name) for name in scalars)
        and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("k", "p", "d"))
    )


def camera_info_from_intrinsics(k: Intrinsics, header: Header) -> CameraInfo:
    """The CameraInfo of an image with the intrinsics ``k``: no distortion, P = K."""
    info = CameraInfo(header=header, width=k.width, height=k.height)
    cx, cy = k.cx - 0.5, k.cy - 0.5
    info.distortion_model = "plumb_bob"
    info.d = [0.0] * 5
    info.k = [k.fx, 0.0, cx, 0.0, k.fy, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [k.fx, 0.0, cx, 0.0, 0.0, k.fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info
