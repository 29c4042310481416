# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Data types that all parts share: frames, clips, and the results for one frame.

All types are frozen and independent of ROS, of any network and of the clock. Arrays are numpy,
row-major, and shared rather than copied: never write into an array that you were given.
Pixels: the centre of the top-left pixel is (0.5, 0.5), x right, y down. Space: the camera's
optical frame of REP-103 (x right, y down, z forward), metres. Unknown values are NaN, never zero.
"""

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from jaxtyping import Float32, UInt8, UInt16

PADDING_GREY = 114
"""Value of all three channels where a network image reaches beyond the source image, 0..255. The
networks are trained with the same padding."""


class Task(str, Enum):
    """What a checkpoint can estimate; the value is the name used in parameters and services."""

    DEPTH = "depth"
    NORMALS = "normals"
    SEGMENTATION = "segmentation"
    PARTS = "parts"
    DENSE_POSE = "dense_pose"
    INSTANCES = "instances"
    BODIES = "bodies"


class LensModel(str, Enum):
    """How a lens departs from a pinhole; the values are those of sensor_msgs/CameraInfo."""

    PLUMB_BOB = "plumb_bob"  # 5 coefficients; 8 (rational_polynomial), 12 and 14 as in OpenCV
    EQUIDISTANT = "equidistant"  # fisheye, 4 coefficients: Kannala and Brandt, cv2.fisheye


@dataclass(frozen=True, slots=True)
class Distortion:
    """A lens model with its coefficients, in the order of OpenCV."""

    model: LensModel
    coefficients: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """Camera of one image size, in pixels of that image; a pinhole unless it has a distortion."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: Distortion | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """One image as received.

    ``rgb`` may be a view of a message's bytes with any strides. ``intrinsics`` is None when the
    camera is not calibrated: then no metric quantity is estimated for this frame.
    """

    rgb: UInt8[np.ndarray, "h w 3"]
    stamp_ns: int
    frame_id: str
    intrinsics: Intrinsics | None = None


@dataclass(frozen=True, slots=True)
class Clip:
    """The newest frames of one uninterrupted stream, oldest first.

    All have the same size and frame_id, and increasing stamps. ``epoch`` changes whenever the
    stream is interrupted (a gap, a jump in time, a new size): state that is kept from clip to
    clip must then be dropped.
    """

    frames: tuple[Frame, ...]
    epoch: int

    @property
    def newest(self) -> Frame:
        """The frame that the perception of this clip describes."""
        return self.frames[-1]


@dataclass(frozen=True, slots=True)
class PixelMap:
    """Where a network image lies in the source image: source = scale * network + offset.

    Coordinates are pixels. The scale is uniform: the aspect ratio of a person is preserved.
    """

    scale: float
    offset_x: float
    offset_y: float
    width: int  # of the network image, pixels
    height: int


class TrackState(str, Enum):
    """State of a body's track."""

    TENTATIVE = "tentative"  # detected, but in too few frames to be confirmed
    TRACKED = "tracked"  # confirmed, and detected in this frame
    LOST = "lost"  # looked for and not detected in this frame; the values are a prediction
    PREDICTED = "predicted"  # not looked for in this frame on purpose; the values are a prediction


def _unknown(size: int) -> Float32[np.ndarray, " n"]:
    return np.full(size, np.nan, np.float32)


@dataclass(frozen=True, slots=True)
class Body:
    """One person in one frame. The values of an unknown joint are NaN."""

    id: str  # five lower-case letters; used again only when a person is known again
    state: TrackState
    score: float  # 0..1, confidence that this is a person
    box: Float32[np.ndarray, "4"]  # x_min, y_min, x_max, y_max in source pixels
    keypoints: Float32[np.ndarray, "k 3"]  # x, y in source pixels, confidence 0..1
    positions_m: Float32[np.ndarray, "k 3"]  # optical frame, metres; NaN without calibration
    covariances_m2: Float32[np.ndarray, "k 6"]  # xx, xy, xz, yy, yz, zz
    root_m: Float32[np.ndarray, "3"]  # pelvis, optical frame
    root_covariance_m2: Float32[np.ndarray, "6"]
    velocity_m_s: Float32[np.ndarray, "3"] = field(default_factory=lambda: _unknown(3))  # of root_m
    velocity_covariance: Float32[np.ndarray, "6"] = field(default_factory=lambda: _unknown(6))
    measurement_age_s: float = 0.0  # since the last frame in which this person was detected


@dataclass(frozen=True, slots=True)
class Perception:
    """The results for one frame. A map is None when it was not requested.

    Maps have the source image's size, in the node ``output_scale`` times that. ``depth_m`` is
    metric, and None without calibration; ``depth_relative`` is depth up to an unknown factor, set
    only when no metric scale is known. The embedded model estimates depth, normals and dense pose
    on people only: NaN elsewhere.
    """

    stamp_ns: int
    frame_id: str
    width: int
    height: int
    intrinsics: Intrinsics | None
    bodies: tuple[Body, ...]
    mask: Float32[np.ndarray, "h w"] | None = None  # probability of "person", 0..1
    depth_m: Float32[np.ndarray, "h w"] | None = None  # along +Z; NaN unknown (REP-118)
    depth_relative: Float32[np.ndarray, "h w"] | None = None  # 1 = depth of the nearest body's root
    normals: Float32[np.ndarray, "h w 3"] | None = None  # unit, optical frame, towards the camera
    parts: UInt8[np.ndarray, "h w"] | None = None  # skeleton.PART_NAMES; 0 background
    dense_pose: Float32[np.ndarray, "h w 3"] | None = None  # part, u, v; NaN off people
    instances: UInt16[np.ndarray, "h w"] | None = None  # index into ``bodies``; 65535 background
    left_out: int = 0  # proposals of people without a track, because regions.max_people are tracked


class PerceptionError(RuntimeError):
    """An error that the user can fix; the text says what was found, what would work, what to do."""
