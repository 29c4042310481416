# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What one camera saw at one time, in the world: float64, with matrices, ready to be compared."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from thfm_ros.contract import Body, TrackState
from thfm_ros.fusion.covariance_intersection import with_least_sigma
from thfm_ros.fusion.settings import FusionSettings
from thfm_ros.geometry import unpack_covariance
from thfm_ros.size_error import size_covariance
from thfm_ros.skeleton import JOINT_NAMES

MEASURED = (TrackState.TENTATIVE, TrackState.TRACKED)
"""States of bodies that were detected in the image; the values of all others are predicted."""

MIN_SIGMA_M = 1e-3
"""Of a position in any direction, after the error of the size was taken out."""


class Member(NamedTuple):
    """A body of one camera."""

    camera: str
    body_id: str


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """A body of one camera. All fields in the world's axes, metres; NaN where unknown.

    The covariances contain all errors but that of the person's size (``size_sigma``), which is
    the same for all cameras.
    """

    member: Member
    state: TrackState
    score: float
    joint_scores: Float64[np.ndarray, " k"]
    root_m: Float64[np.ndarray, "3"]
    root_covariance: Float64[np.ndarray, "3 3"]
    joints_m: Float64[np.ndarray, "k 3"]
    joint_covariances: Float64[np.ndarray, "k 3 3"]
    velocity_m_s: Float64[np.ndarray, "3"]
    velocity_covariance: Float64[np.ndarray, "3 3"]
    offset_m: Float64[np.ndarray, "3"]  # from the camera to the pelvis; 0 if that is not known

    @property
    def is_measured(self) -> bool:
        """Whether the body was detected in this image."""
        return self.state in MEASURED


@dataclass(frozen=True, slots=True, eq=False)
class CameraFrame:
    """All bodies of one camera at one stamp that have a position."""

    camera: str
    stamp_ns: int
    detections: tuple[Detection, ...]
    left_out: int = 0  # people whom the camera's node counted but did not track


def camera_frame(
    camera: str,
    stamp_ns: int,
    bodies: Sequence[Body],
    centre_m: Float64[np.ndarray, "3"],
    settings: FusionSettings,
    left_out: int = 0,
) -> CameraFrame:
    """The frame of a camera whose ``bodies`` are in the world already.

    Args:
        camera: its name.
        stamp_ns: of the image.
        bodies: in the world; those without a position or with another number of joints than
            JOINT_NAMES are left out.
        centre_m: of the camera in the world; NaN if that is not known.
        settings: what is added to the covariances.
        left_out: people without a track.
    """
    usable = [body for body in bodies if _is_usable(body)]
    detections = tuple(_detection(camera, body, centre_m, settings) for body in usable)
    return CameraFrame(camera, stamp_ns, detections, left_out)


def _is_usable(body: Body) -> bool:
    known = np.isfinite(body.root_m).all() and np.isfinite(body.root_covariance_m2).all()
    if not known or len(body.positions_m) != len(JOINT_NAMES):
        return False
    variances = np.linalg.eigvalsh(unpack_covariance(body.root_covariance_m2.astype(np.float64)))
    return bool(variances.min() > 0)


def _detection(
    camera: str, body: Body, centre_m: Float64[np.ndarray, "3"], settings: FusionSettings
) -> Detection:
    root = body.root_m.astype(np.float64)
    offset = root - centre_m
    if not np.isfinite(offset).all():
        offset = np.zeros(3)
    # The camera's node added the error of the size; `with_common_size` has its own.
    of_the_size = size_covariance(offset)
    of_the_view = settings.view_size_sigma**2 * np.outer(offset, offset)
    turned_m = math.radians(settings.direction_sigma_deg) * np.linalg.norm(offset)
    of_the_view += (settings.position_sigma_m**2 + turned_m**2) * np.eye(3)
    factor = settings.sigma_factor**2
    return Detection(
        member=Member(camera, body.id),
        state=body.state,
        score=float(body.score),
        joint_scores=body.keypoints[:, 2].astype(np.float64),
        root_m=root,
        root_covariance=_less(body.root_covariance_m2, of_the_size) * factor + of_the_view,
        joints_m=body.positions_m.astype(np.float64),
        joint_covariances=_less(body.covariances_m2, of_the_size) * factor + of_the_view,
        velocity_m_s=body.velocity_m_s.astype(np.float64),
        velocity_covariance=_unpacked(body.velocity_covariance) * factor,
        offset_m=offset,
    )


def _less(packed: np.ndarray, part: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "*n 3 3"]:
    """Covariances without a part of them; NaN stays NaN."""
    return with_least_sigma(_unpacked(packed) - part, MIN_SIGMA_M)


def _unpacked(packed: np.ndarray) -> Float64[np.ndarray, "*n 3 3"]:
    return unpack_covariance(packed.astype(np.float64))


def predicted(detection: Detection, seconds: float, settings: FusionSettings) -> Detection:
    """The detection ``seconds`` later (earlier if negative), with constant velocity.

    Without a known velocity it stays where it is; the covariance grows accordingly.
    """
    if seconds == 0.0:
        return detection
    known = bool(np.isfinite(detection.velocity_m_s).all())
    shift = detection.velocity_m_s * seconds if known else np.zeros(3)
    sigma = settings.speed_sigma_m_s if known else max(settings.speed_sigma_m_s, 1.0)
    growth = np.eye(3) * (sigma * seconds) ** 2
    return replace(
        detection,
        root_m=detection.root_m + shift,
        offset_m=detection.offset_m + shift * bool(detection.offset_m.any()),
        joints_m=detection.joints_m + shift,
        root_covariance=detection.root_covariance + growth,
        joint_covariances=detection.joint_covariances + growth,
    )
