# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Whether the people of a camera stand on their feet in the world, whose z axis points upwards.

If they stand on their heads, the camera is upside down and its tf frame is not, or the other way
round. One person may really do a handstand: a camera that has shown mostly upright people is
trusted.
"""

from collections.abc import Sequence

import numpy as np

from thfm_ros.fusion.detections import CameraFrame, Detection
from thfm_ros.skeleton import Joint

INVERTED_COSINE = -0.5
"""Of the angle from the z axis to the direction from pelvis to head: below it one is inverted."""
TRUSTED_SHARE = 3.0
"""A camera is trusted if it has shown this many times as many upright as inverted people."""
_FADE = 0.98  # per frame with people


class Uprightness:
    """What one camera has shown so far. Inverted bodies of a camera that is not trusted are
    withheld, from the first one on."""

    def __init__(self) -> None:
        self._upright = self._inverted = 0.0
        self.is_withholding = False

    def checked(self, frame: CameraFrame) -> CameraFrame:
        """The frame without what must not be used."""
        inverted = [_is_inverted(each) for each in frame.detections]
        if not inverted:
            return frame
        self._upright = self._upright * _FADE + inverted.count(False)
        self._inverted = self._inverted * _FADE + inverted.count(True)
        is_trusted = self._upright >= TRUSTED_SHARE * self._inverted
        self.is_withholding = not is_trusted
        if is_trusted:
            return frame
        kept = tuple(
            each for each, turned in zip(frame.detections, inverted, strict=True) if not turned
        )
        return CameraFrame(frame.camera, frame.stamp_ns, kept, frame.left_out)

    def problem(self, camera: str, world: str) -> str:
        """Why bodies are withheld; empty if they are not."""
        if not self.is_withholding:
            return ""
        return (
            f"people of camera {camera} stand on their heads in {world}: they are not used. Either "
            "the camera is mounted upside down and its tf frame is not (turn the frame by 180 "
            f"degrees about its z axis), or the image was turned after it was taken, or {world} "
            "has no z axis that points upwards"
        )


def _is_inverted(detection: Detection) -> bool:
    top = _first_known(detection, (Joint.HEAD, Joint.NECK, Joint.SPINE_UPPER))
    if top is None:
        return False
    up = top - detection.root_m
    return bool(up[2] < INVERTED_COSINE * np.linalg.norm(up))


def _first_known(detection: Detection, joints: Sequence[Joint]) -> np.ndarray | None:
    for joint in joints:
        if np.isfinite(detection.joints_m[joint]).all():
            return np.asarray(detection.joints_m[joint])
    return None
