# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Motion from captured clips and static poses: bone rotations and the path of the pelvis."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from thfm_ros.synth.pack import QUATERNION_UNIT, AssetPack
from thfm_ros.synth.people.segments import segment_index
from thfm_ros.synth.primitives.rotation import (
    from_axis_angle,
    from_quaternion,
    smooth_noise,
    to_axis_angle,
)


@dataclass(frozen=True)
class Motion:
    """A motion sequence. Rotations are against the rest pose, in world axes."""

    rotations: Float[np.ndarray, "t b 3 3"]
    root: Float[np.ndarray, "t 3"]  # position of the pelvis, leg lengths
    source: str
    seat_m: float | None = None  # height of the pelvis when seated, leg lengths; None: not seated
    passing: bool = False  # passes the camera, mostly seen from the side


def captured_motion(
    rng: np.random.Generator, pack: AssetPack, clip_index: int, frames: int, fps: float
) -> Motion:
    """A random section of a captured clip, resampled at ``fps`` by linear interpolation.

    A section longer than the clip is slowed down to the clip's length.
    """
    clip = pack.motions[clip_index]
    last = len(clip.root) - 2
    step = clip.fps / fps
    if (frames - 1) * step > last:
        step = last / max(frames - 1, 1)
    start = rng.uniform(0, max(0.0, last - (frames - 1) * step))
    exact = start + step * np.arange(frames)
    index = np.floor(exact).astype(int)
    share = (exact - index)[:, None]
    segments = _interpolated(clip.segments[index], clip.segments[index + 1], share[..., None])
    names = [str(name) for name in pack.body.bone_names]
    rotations = from_quaternion(segments)[:, segment_index(names)]
    root = (1 - share) * clip.root[index] + share * clip.root[index + 1]
    root[:, :2] -= root[0, :2]
    return Motion(rotations, root.astype(np.float64), clip.name)


def _interpolated(start: np.ndarray, end: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Linear interpolation of neighbouring quaternions [..., 4] (int16), which are close."""
    first, second = start / QUATERNION_UNIT, end / QUATERNION_UNIT
    same = np.sum(first * second, axis=-1, keepdims=True) >= 0
    out: np.ndarray = (1 - share) * first + share * np.where(same, second, -second)
    return out


def pose_motion(
    rng: np.random.Generator, pack: AssetPack, frames: int, pose_indices: np.ndarray | None = None
) -> Motion:
    """Interpolate from one static pose towards another, with smooth noise on every bone.

    Args:
        rng: random generator.
        pack: the assets.
        frames: length of the motion.
        pose_indices: indices of the poses that may be used; None means all.
    """
    allowed = np.arange(len(pack.poses)) if pose_indices is None else pose_indices
    first, second = rng.choice(allowed, 2)
    start = from_quaternion(pack.poses[first] / QUATERNION_UNIT)
    end = from_quaternion(pack.poses[second] / QUATERNION_UNIT)
    difference = to_axis_angle(start.transpose(0, 2, 1) @ end)
    share = np.clip(np.linspace(0, 1, frames) * rng.uniform(0, 0.5) + rng.uniform(0, 0.5), 0, 1)
    jitter = smooth_noise(rng, frames, 3 * len(difference), 0.03).reshape(frames, -1, 3)
    local = start @ from_axis_angle(difference * share[:, None, None] + jitter)
    rotations = np.empty_like(local)
    for bone, parent in enumerate(pack.body.parents):
        rotations[:, bone] = local[:, bone] if parent < 0 else rotations[:, parent] @ local[:, bone]
    names = f"{pack.pose_names[first]}-{pack.pose_names[second]}"
    return Motion(rotations, np.zeros((frames, 3)), f"pose/{names}")
