# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The camera's calibration: from the newest CameraInfo to the `Intrinsics` of the images.

CameraInfo is cached and not synchronised by time: whatever its stamp, a calibration is valid until
another arrives. The camera matrix is K, that of the raw image, with the lens model in D, unless the
name of the image topic says that the image is rectified (``image_rect``, ``rect/image``: names of
image_proc and of camera drivers); then it is P, and there is no distortion.

Pixel coordinates: in CameraInfo (0, 0) is the centre of the top-left pixel, in contract.py its
corner. The principal point is therefore shifted by half a pixel in both conversions.
"""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from thfm_ros.camera.lens_models import CalibrationError, lens_model
from thfm_ros.camera.messages import CameraInfoMessage
from thfm_ros.contract import Intrinsics, LensModel
from thfm_ros.geometry import resize_intrinsics
from thfm_ros.lens import share_with_rays

__all__ = ["Calibration", "CalibrationError", "intrinsics_from_camera_info"]

_MAX_PIXEL_ASPECT = 1.1
"""Largest ratio of fx and fy, either way. Measured: with a ratio of 1 to 0.93 as many people are
detected as with square pixels and distances are right to 2 %; with 1 to 0.5 a third of the people
are detected and distances are wrong by a fifth."""

_FOCAL_RANGE = (0.05, 200.0)
"""Possible focal lengths in units of the image's longer side: 169 to 0.3 degrees of a pinhole."""

_MAX_OFFSET = 3.0
"""Possible distance of the principal point from the image's centre, same unit."""

_MIN_SHARE_WITH_RAYS = 0.1
"""A lens model that has a ray for less of the image is not the one of these images."""

_NOT_METRIC = "only 2D and relative results are published"

_RECTIFIED = re.compile(r"(^|[/_])rect(ified)?([/_]|$)")


def is_rectified(image_topic: str) -> bool:
    """Whether the topic's name says that lens distortion was corrected."""
    return _RECTIFIED.search(image_topic) is not None


def intrinsics_from_camera_info(
    info: CameraInfoMessage, width: int, height: int, *, rectified: bool = False
) -> Intrinsics:
    """The camera of images of ``width`` x ``height`` pixels.

    Region of interest and binning are applied, as by image_geometry (``roi.do_rectify`` has no
    effect). If the image was resized after that, by the same factor in both directions to within a
    pixel, the intrinsics are resized as well.

    Args:
        info: the camera's calibration.
        width: of the received images.
        height: of the received images.
        rectified: use the matrix P of the rectified image instead of K and D.

    Raises:
        CalibrationError: there is no calibration, it is impossible, of an unknown lens, or one of
            other images.
    """
    full = _full_resolution(info, rectified)
    published = _published(full, info)
    _refuse_region_of_whole_image(full, published, info, width, height)
    if not 1 / _MAX_PIXEL_ASPECT < published.fx / published.fy < _MAX_PIXEL_ASPECT:
        raise CalibrationError(
            f"pixels are not square (fx / fy = {published.fx / published.fy:.2f}), so people "
            f"appear stretched: {_NOT_METRIC}. Publish an image with "
            "the same binning in both directions, or resize it until fx = fy."
        )
    # Each side may have been rounded to whole pixels, by up to one.
    aspect_difference = abs(published.width * height - published.height * width)
    if aspect_difference > published.width + published.height:
        raise CalibrationError(
            f"camera_info is for {published.width}x{published.height} pixels, but images have "
            f"{width}x{height}, which is another aspect ratio: the calibration is not for these "
            f"images, and {_NOT_METRIC}. Remap 'camera_info' to the topic of the camera that "
            "publishes 'image', or calibrate at this size."
        )
    if (published.width, published.height) != (width, height):
        published = resize_intrinsics(published, width, height)
    if published.distortion and share_with_rays(published) < _MIN_SHARE_WITH_RAYS:
        values = ", ".join(f"{value:g}" for value in published.distortion.coefficients)
        raise CalibrationError(
            f"camera_info has D = [{values}] ({info.distortion_model}), a lens model without rays "
            f"for most of the image: {_NOT_METRIC}. Calibrate the camera again."
        )
    return published


def _published(full: Intrinsics, info: CameraInfoMessage) -> Intrinsics:
    """The intrinsics of the images that the driver publishes: binning and region of interest."""
    roi, bin_x, bin_y = info.roi, max(info.binning_x, 1), max(info.binning_y, 1)
    # A length of 0 is the rest of the image.
    roi_width = roi.width or max(full.width - roi.x_offset, 0)
    roi_height = roi.height or max(full.height - roi.y_offset, 0)
    region = f"{roi_width}x{roi_height} at ({roi.x_offset}, {roi.y_offset})"
    width, height = roi_width // bin_x, roi_height // bin_y
    if width < 1 or height < 1:
        raise CalibrationError(
            f"camera_info leaves no pixel of {full.width}x{full.height}: binning {bin_x}x{bin_y}, "
            f"region of interest {region}, so {_NOT_METRIC}. "
            "The driver must fill in the binning and region that its images have."
        )
    if roi.x_offset + roi_width > full.width or roi.y_offset + roi_height > full.height:
        raise CalibrationError(
            f"camera_info has a region of interest ({region}) that reaches beyond its image of "
            f"{full.width}x{full.height}: {_NOT_METRIC}. Region, width and height are in pixels "
            "before binning; the driver must fill them in so."
        )
    return replace(
        full,
        fx=full.fx / bin_x,
        fy=full.fy / bin_y,
        cx=(full.cx - roi.x_offset) / bin_x,
        cy=(full.cy - roi.y_offset) / bin_y,
        width=width,
        height=height,
    )


def _refuse_region_of_whole_image(
    full: Intrinsics, published: Intrinsics, info: CameraInfoMessage, width: int, height: int
) -> None:
    """Refuse a region of interest that the images, which have the full size, do not show.

    Some drivers leave a region in camera_info that they do not apply. As a region that was enlarged
    afterwards the focal length, and with it every distance, would be too large by that factor.
    """
    whole = full.width // max(info.binning_x, 1), full.height // max(info.binning_y, 1)
    if (width, height) == whole and (published.width, published.height) != whole:
        raise CalibrationError(
            f"camera_info has a region of interest of {published.width}x{published.height} pixels "
            f"at ({info.roi.x_offset}, {info.roi.y_offset}), but images have the whole "
            f"{width}x{height}: {_NOT_METRIC}. The driver must publish the region, or leave roi at "
            "zero if it does not apply it."
        )


def _full_resolution(info: CameraInfoMessage, rectified: bool) -> Intrinsics:
    """The intrinsics before binning and region of interest."""
    k_is_zero, p_is_zero = info.k[0] == info.k[4] == 0, info.p[0] == info.p[5] == 0
    if k_is_zero and p_is_zero:
        raise CalibrationError(
            f"camera_info has no calibration (K and P are zero): {_NOT_METRIC}. Calibrate the "
            "camera (camera_calibration) and give its driver the file."
        )
    distortion = None if rectified and not p_is_zero else lens_model(info.distortion_model, info.d)
    if rectified and p_is_zero and distortion is not None:
        raise CalibrationError(
            "camera_info has K but no P (P is zero), and the images are rectified according to "
            f"their topic's name: their camera matrix is in P only, so {_NOT_METRIC}. "
            "Give the driver a calibration file with projection_matrix (camera_calibration writes "
            "it), or remap 'image' to the topic of the raw image."
        )
    if not rectified and k_is_zero:
        raise CalibrationError(
            "camera_info has P but no K (K is zero), and the images are not rectified according "
            f"to their topic's name: {_NOT_METRIC}. Give the driver a calibration file with "
            "camera_matrix, or remap 'image' to the rectified image, a topic named like image_rect."
        )
    # Where P is missing and the lens has no distortion, the rectified image is the raw one.
    name = "P" if rectified and not p_is_zero else "K"
    fx, fy, cx, cy = _camera_matrix(info, name)
    if info.width == 0 or info.height == 0:
        raise CalibrationError(
            f"camera_info has {name} but no width and height, so the image size of the calibration "
            f"is unknown: {_NOT_METRIC}. Fill in both in the calibration file."
        )
    longer = float(max(info.width, info.height))
    low, high = (limit * longer for limit in _FOCAL_RANGE)
    offset = max(abs(cx - info.width / 2), abs(cy - info.height / 2))
    if not (low <= min(fx, fy) and max(fx, fy) <= high and offset <= _MAX_OFFSET * longer):
        raise _impossible(name, f"fx={fx:g}, fy={fy:g}, cx={cx:g}, cy={cy:g}", info)
    return Intrinsics(fx, fy, cx + 0.5, cy + 0.5, int(info.width), int(info.height), distortion)


def _camera_matrix(info: CameraInfoMessage, name: str) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy of K or P, after a check that the other entries are those of a camera."""
    values, columns = (info.p, 4) if name == "P" else (info.k, 3)
    matrix = np.array(values, dtype=np.float64).reshape(3, columns)
    rest = matrix[:, :3].copy()
    rest[[0, 1, 0, 1], [0, 1, 2, 2]] = 0
    if rest[2, 2] == 1:  # some drivers leave it out
        rest[2, 2] = 0
    if not np.isfinite(matrix).all() or np.abs(rest).max() > 1e-6 * np.abs(matrix).max():
        text = ", ".join(f"{value:g}" for value in matrix.reshape(-1))
        raise _impossible(name, f"[{text}]; it is row by row, [fx, 0, cx, ...]", info)
    return float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])


def _impossible(name: str, values: str, info: CameraInfoMessage) -> CalibrationError:
    return CalibrationError(
        f"camera_info has an impossible {name} for {info.width}x{info.height} pixels ({values}): "
        f"{_NOT_METRIC}. Calibrate the camera again."
    )


def tf_frame(frame_id: str) -> str:
    """A frame_id as tf2 knows it: ROS 1 permitted a leading slash, which tf2 refuses."""
    return frame_id.removeprefix("/")


class Calibration:
    """The newest CameraInfo and the intrinsics that follow from it for the received images.

    ``warning`` is a doubt about intrinsics that are used, ``note`` a remark about them. Not
    thread-safe: apart from reading these, used by the thread that receives messages only.

    Args:
        image_topic: whether the images are rectified is read off its name.
        describe_missing: says why there is no CameraInfo, and what to do.
    """

    def __init__(self, image_topic: str, describe_missing: Callable[[], str]) -> None:
        self._rectified = is_rectified(image_topic)
        self._describe_missing = describe_missing
        self._info: CameraInfoMessage | None = None
        self._key: tuple[CameraInfoMessage, str, int, int] | None = None
        self._intrinsics: Intrinsics | None = None
        self._problem = ""
        self.warning = self.note = ""

    @property
    def problem(self) -> str:
        """Why images have no intrinsics; empty if they have."""
        return self._describe_missing() if self._info is None else self._problem

    def receive(self, info: CameraInfoMessage) -> None:
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

    def _compute(self, info: CameraInfoMessage, frame_id: str, width: int, height: int) -> None:
        self._intrinsics, self._problem, self.warning, self.note = None, "", "", ""
        try:
            self._intrinsics = intrinsics_from_camera_info(
                info, width, height, rectified=self._rectified
            )
        except CalibrationError as error:
            self._problem = str(error)
            return
        info_frame, image_frame = tf_frame(info.header.frame_id), tf_frame(frame_id)
        if info_frame and image_frame and info_frame != image_frame:
            # Drivers and simulators name the body of the camera here, or its other imager.
            self.warning = (
                f"camera_info has the frame_id {info_frame!r}, images have {image_frame!r}: the "
                "calibration is used, and results are in the frame of the images. If it is of "
                "another camera, remap 'camera_info' to the topic of the one that publishes "
                "'image'; else let the driver set one frame_id."
            )
        if self._intrinsics.distortion is not None:
            self.note = _describe_lens(self._intrinsics)


def _describe_lens(k: Intrinsics) -> str:
    """What is done about the distortion, and what the lens model does not cover."""
    assert k.distortion is not None
    text = f"metric, with the lens model {k.distortion.model.value}"
    share = share_with_rays(k)
    if share < 1:
        text += f"; it has rays for {share:.0%} of the image, elsewhere nothing is metric"
    if k.distortion.model is LensModel.EQUIDISTANT:
        text += "; the rectified image gives better skeletons where it shows enough"
    return text


def _same_calibration(a: CameraInfoMessage, b: CameraInfoMessage) -> bool:
    """Equal except for the stamp."""
    scalars = ("width", "height", "distortion_model", "binning_x", "binning_y", "roi")
    return (
        a.header.frame_id == b.header.frame_id
        and all(getattr(a, name) == getattr(b, name) for name in scalars)
        and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("k", "p", "d"))
    )
