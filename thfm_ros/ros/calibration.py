"""The camera's calibration: the newest CameraInfo, as the `Intrinsics` of the images at hand.

CameraInfo is cached and never synchronised by time: a calibration holds until another arrives.
Which matrix: K, that of the raw image, unless the image topic's name says that it is rectified
(``image_rect``, ``rect/image``: the names of image_proc and of camera drivers), then P. Lens
distortion is not undone; for a wide lens feed the rectified topic.

Pixels: CameraInfo puts (0, 0) at the centre of the top-left pixel, contract.py at its corner, so
the principal point moves by half a pixel on its way in, and back on its way out.
"""

import math
import re

import numpy as np
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from thfm_ros.contract import Intrinsics, PerceptionError
from thfm_ros.geometry import resized


class CalibrationError(PerceptionError):
    """A CameraInfo from which nothing metric can follow; the text has the cure."""


_OBLONG = 1.1
"""Of pixels: with sides of 1 to 0.93 as many people are found as with square ones and distances are
right to 2 %; with 1 to 0.5 a third, and distances are wrong by a fifth."""

_RECTIFIED = re.compile(r"(^|[/_])rect(ified)?([/_]|$)")


def is_rectified(image_topic: str) -> bool:
    """True if the topic's name says that lens distortion was undone."""
    return _RECTIFIED.search(image_topic) is not None


def intrinsics_from_info(
    info: CameraInfo, width: int, height: int, *, rectified: bool = False
) -> Intrinsics:
    """The pinhole camera of images of ``width`` x ``height``.

    Region of interest and binning are applied; an image that was resized after that, by the same
    factor both ways within a pixel, gets its intrinsics resized too.

    Raises:
        CalibrationError: no calibration, or one of other images.
    """
    full = _full_resolution(info, rectified)
    roi, step_x, step_y = info.roi, max(info.binning_x, 1), max(info.binning_y, 1)
    has_roi = roi.width > 0 and roi.height > 0
    published = Intrinsics(
        fx=full.fx / step_x,
        fy=full.fy / step_y,
        cx=(full.cx - (roi.x_offset if has_roi else 0)) / step_x,
        cy=(full.cy - (roi.y_offset if has_roi else 0)) / step_y,
        width=(roi.width if has_roi else full.width) // step_x,
        height=(roi.height if has_roi else full.height) // step_y,
    )
    if published.width < 1 or published.height < 1:
        raise CalibrationError(
            f"camera_info leaves no pixel of {full.width}x{full.height}: binning "
            f"{step_x}x{step_y}, region {roi.width}x{roi.height}. 2D and relative results only. "
            "Let the driver fill in the binning and region that its images have."
        )
    if not 1 / _OBLONG < published.fx / published.fy < _OBLONG:
        raise CalibrationError(
            f"pixels are not square (fx / fy = {published.fx / published.fy:.2f}), so people look "
            "stretched to the network: 2D and relative results only. Publish an image with the "
            "same binning both ways, or resize it until fx = fy."
        )
    if (published.width, published.height) == (width, height):
        return published
    # Each side may have been rounded to whole pixels, by up to one.
    twist = abs(published.width * height - published.height * width)
    if twist > published.width + published.height:
        raise CalibrationError(
            f"camera_info is of {published.width}x{published.height} pixels, images have "
            f"{width}x{height}, which is another shape: this calibration is not theirs. Remap "
            "'camera_info' to the one published beside 'image', or calibrate at this size."
        )
    return resized(published, width, height)


def _full_resolution(info: CameraInfo, rectified: bool) -> Intrinsics:
    matrix, row = (info.p, 4) if rectified else (info.k, 3)
    name = "P" if rectified else "K"
    fx, fy, cx, cy = (float(matrix[i]) for i in (0, row + 1, 2, row + 2))
    if fx == 0 or fy == 0:
        raise CalibrationError(
            f"camera_info has no calibration ({name} is zero): 2D and relative results only. "
            "Calibrate the camera (camera_calibration) and give its driver the file."
        )
    if not all(math.isfinite(v) for v in (fx, fy, cx, cy)) or fx < 0 or fy < 0:
        raise CalibrationError(
            f"camera_info has an impossible {name} (fx={fx:g}, fy={fy:g}, cx={cx:g}, cy={cy:g}): "
            "2D and relative results only. Calibrate the camera again."
        )
    if info.width == 0 or info.height == 0:
        raise CalibrationError(
            f"camera_info has {name} but no width and height, so nobody can tell of which image "
            "size it is: 2D and relative results only. Fill both in the calibration file."
        )
    return Intrinsics(fx, fy, cx + 0.5, cy + 0.5, int(info.width), int(info.height))


class Calibration:
    """The newest CameraInfo and what it means for the images that arrive.

    ``trouble`` says why images have no intrinsics (empty: they have them), ``note`` what else is
    worth knowing. Not thread-safe: the subscription's thread owns it.
    """

    def __init__(self, image_topic: str, info_topic: str) -> None:
        self._rectified = is_rectified(image_topic)
        self._info_topic = info_topic
        self._info: CameraInfo | None = None
        self._known: tuple[CameraInfo, str, int, int] | None = None
        self._intrinsics: Intrinsics | None = None
        self.trouble = self._missing()
        self.note = ""

    def receive(self, info: CameraInfo) -> None:
        """Take the newest; a message that repeats the last costs nothing later."""
        if self._info is None or not _same(info, self._info):
            self._info = info

    def for_image(self, frame_id: str, width: int, height: int) -> Intrinsics | None:
        """Intrinsics of such images; None says that nothing metric is known, see ``trouble``."""
        if self._info is None:
            return None
        known = (self._info, frame_id, width, height)
        if self._known is None or known[0] is not self._known[0] or known[1:] != self._known[1:]:
            self._known = known
            self._solve(self._info, frame_id, width, height)
        return self._intrinsics

    def _solve(self, info: CameraInfo, frame_id: str, width: int, height: int) -> None:
        self._intrinsics, self.trouble, self.note = None, "", ""
        other = info.header.frame_id
        if other and frame_id and other != frame_id:
            self.trouble = (
                f"camera_info is of frame {other!r}, images are of frame {frame_id!r}: not the "
                "same camera, so it is not used. Remap 'camera_info' to the one beside 'image'."
            )
            return
        try:
            found = intrinsics_from_info(info, width, height, rectified=self._rectified)
        except CalibrationError as error:
            self.trouble = str(error)
            return
        self._intrinsics = found
        if not self._rectified and any(info.d):
            self.note = (
                f"lens distortion ({info.distortion_model or 'unnamed'}) is not undone: feed a "
                "rectified image (image_proc) where centimetres matter"
            )

    def _missing(self) -> str:
        return (
            f"No CameraInfo on {self._info_topic}: 2D and relative results only, nothing metric. "
            "Remap 'camera_info' to the camera that publishes 'image'."
        )


def _same(a: CameraInfo, b: CameraInfo) -> bool:
    """Equal but for the stamp; whether the lens is the same is all that matters here."""
    plain = ("width", "height", "distortion_model", "binning_x", "binning_y", "roi")
    return (
        a.header.frame_id == b.header.frame_id
        and all(getattr(a, name) == getattr(b, name) for name in plain)
        and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("k", "p", "d"))
    )


def info_of(k: Intrinsics, header: Header) -> CameraInfo:
    """The CameraInfo of an image that was unprojected with ``k``: no distortion, P = K."""
    info = CameraInfo(header=header, width=k.width, height=k.height)
    cx, cy = k.cx - 0.5, k.cy - 0.5
    info.distortion_model = "plumb_bob"
    info.d = [0.0] * 5
    info.k = [k.fx, 0.0, cx, 0.0, k.fy, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [k.fx, 0.0, cx, 0.0, 0.0, k.fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info
