"""Motion from captures and postures: turns of every bone and the pelvis' path, frame by frame."""

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
    """What a body does. Turns are against the rest pose, in world axes."""

    turns: Float[np.ndarray, "t b 3 3"]
    root: Float[np.ndarray, "t 3"]  # pelvis, metres, for legs of one metre
    source: str
    seat_m: float | None = None  # height of the seat, for legs of one metre; None when not seated
    passing: bool = False  # goes past the camera: seen from the side more often than not


def captured(
    rng: np.random.Generator, pack: AssetPack, which: int, frames: int, fps: float
) -> Motion:
    """A stretch of the captured clip ``which``, sampled at ``fps``, linearly between frames."""
    clip = pack.motions[which]
    last = len(clip.root) - 2
    step = clip.fps / fps
    if (frames - 1) * step > last:
        step = last / max(frames - 1, 1)
    start = rng.uniform(0, max(0.0, last - (frames - 1) * step))
    exact = start + step * np.arange(frames)
    index = np.floor(exact).astype(int)
    share = (exact - index)[:, None]
    segments = _between(clip.segments[index], clip.segments[index + 1], share[..., None])
    names = [str(name) for name in pack.body.bone_names]
    turns = from_quaternion(segments)[:, segment_index(names)]
    root = (1 - share) * clip.root[index] + share * clip.root[index + 1]
    root[:, :2] -= root[0, :2]
    return Motion(turns, root.astype(np.float64), clip.name)


def _between(start: np.ndarray, end: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Mix neighbouring quaternions [..., 4] (int16) straight: they are close to each other."""
    first, second = start / QUATERNION_UNIT, end / QUATERNION_UNIT
    same = np.sum(first * second, axis=-1, keepdims=True) >= 0
    out: np.ndarray = (1 - share) * first + share * np.where(same, second, -second)
    return out


def posture(
    rng: np.random.Generator, pack: AssetPack, frames: int, choice: np.ndarray | None = None
) -> Motion:
    """Drift from one still posture towards another, with a tremble in every bone."""
    allowed = np.arange(len(pack.poses)) if choice is None else choice
    first, second = rng.choice(allowed, 2)
    start = from_quaternion(pack.poses[first] / QUATERNION_UNIT)
    end = from_quaternion(pack.poses[second] / QUATERNION_UNIT)
    way = to_axis_angle(start.transpose(0, 2, 1) @ end)
    share = np.clip(np.linspace(0, 1, frames) * rng.uniform(0, 0.5) + rng.uniform(0, 0.5), 0, 1)
    tremble = smooth_noise(rng, frames, 3 * len(way), 0.03).reshape(frames, -1, 3)
    local = start @ from_axis_angle(way * share[:, None, None] + tremble)
    turns = np.empty_like(local)
    for bone, parent in enumerate(pack.body.parents):
        turns[:, bone] = local[:, bone] if parent < 0 else turns[:, parent] @ local[:, bone]
    names = f"{pack.pose_names[first]}-{pack.pose_names[second]}"
    return Motion(turns, np.zeros((frames, 3)), f"pose/{names}")
