"""The vocabulary: what a frame is, what a clip is, and what is known about the people in it.

Everything here is frozen and knows neither ROS, nor a network, nor the clock. Arrays are numpy,
row-major, and shared rather than copied: whoever holds one must not write into it.
Pixels: the centre of the top-left pixel is (0.5, 0.5), x right, y down. Space: the camera's
optical frame of REP-103 (x right, y down, z forward), metres. Unknown is NaN, never zero.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from jaxtyping import Float32, UInt8, UInt16


class Task(str, Enum):
    """What can be asked of a checkpoint; the value is the name used in parameters and services."""

    DEPTH = "depth"
    NORMALS = "normals"
    SEGMENTATION = "segmentation"
    PARTS = "parts"
    DENSE_POSE = "dense_pose"
    INSTANCES = "instances"
    BODIES = "bodies"


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """Pinhole camera of one image size, in pixels of that image."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One image as it arrived.

    ``rgb`` may be a view of a message's bytes with any strides. ``intrinsics`` is None when the
    camera is not calibrated: then nothing metric may be said about this frame.
    """

    rgb: UInt8[np.ndarray, "h w 3"]
    stamp_ns: int
    frame_id: str
    intrinsics: Intrinsics | None = None


@dataclass(frozen=True, slots=True)
class Clip:
    """The newest frames of one unbroken stream, oldest first.

    All have the same size and frame_id, and stamps that increase. ``epoch`` is another number
    whenever the stream was broken (a gap, a jump in time, a new size): whoever keeps state
    from clip to clip drops it then.
    """

    frames: tuple[Frame, ...]
    epoch: int

    @property
    def newest(self) -> Frame:
        """The frame that a perception of this clip describes."""
        return self.frames[-1]


@dataclass(frozen=True, slots=True)
class PixelMap:
    """Where a network image lies in the source image: source = scale * network + offset.

    A uniform scale: the network never sees a stretched person.
    """

    scale: float
    offset_x: float
    offset_y: float
    width: int  # of the network image, pixels
    height: int


class TrackState(str, Enum):
    """How far a body is to be trusted."""

    TENTATIVE = "tentative"  # seen, but not yet often enough to be reported as a person
    TRACKED = "tracked"  # seen in this very frame
    LOST = "lost"  # not seen in this frame; what is said about it is a prediction


@dataclass(frozen=True, slots=True)
class Body:
    """One person in one frame. NaN marks what is unknown, joint by joint."""

    id: str  # five lower-case letters, never reused within a run
    state: TrackState
    score: float  # 0..1, belief that this is a person
    box: Float32[np.ndarray, "4"]  # x_min, y_min, x_max, y_max in source pixels
    keypoints: Float32[np.ndarray, "k 3"]  # x, y in source pixels, score 0..1
    positions_m: Float32[np.ndarray, "k 3"]  # optical frame, metres; NaN without calibration
    covariances_m2: Float32[np.ndarray, "k 6"]  # xx, xy, xz, yy, yz, zz
    root_m: Float32[np.ndarray, "3"]  # the pelvis, optical frame
    root_covariance_m2: Float32[np.ndarray, "6"]


@dataclass(frozen=True, slots=True)
class Perception:
    """All that is said about one frame. A map is None when it was not asked for.

    Maps have the source image's size. ``depth_m`` is metric and None without calibration;
    ``depth_relative`` is the same relief with an unknown factor, set only when no metric scale
    is known. The embedded model sees depth, normals and dense pose on people only: NaN elsewhere.
    """

    stamp_ns: int
    frame_id: str
    width: int
    height: int
    intrinsics: Intrinsics | None
    bodies: tuple[Body, ...]
    mask: Float32[np.ndarray, "h w"] | None = None  # probability of "a person", 0..1
    depth_m: Float32[np.ndarray, "h w"] | None = None  # along +Z; NaN unknown (REP-118)
    depth_relative: Float32[np.ndarray, "h w"] | None = None  # 1 = the nearest body's root
    normals: Float32[np.ndarray, "h w 3"] | None = None  # unit, optical frame, towards the camera
    parts: UInt8[np.ndarray, "h w"] | None = None  # skeleton.PART_NAMES; 0 background
    dense_pose: Float32[np.ndarray, "h w 3"] | None = None  # part, u, v; NaN off people
    instances: UInt16[np.ndarray, "h w"] | None = None  # index into ``bodies``; 65535 none


class PerceptionError(RuntimeError):
    """Something a user can cure; the text says what came, what would work and what to do."""
