# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Camera trajectories: person crops as the pipeline cuts them, and whole frames."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from thfm_ros.synth.primitives.rotation import axis_rotation, normalized, smooth_noise

WEBCAM_SHARE = 0.12  # share of the whole frames that show a face at close range
DISTANT_SHARE = 0.2  # share of the crops from 7 to 25 m away, where perspective is weak


@dataclass(frozen=True)
class CameraTrajectory:
    """Camera poses over the frames of a clip, and intrinsics at the resolution of the labels."""

    rotations: Float[np.ndarray, "t 3 3"]  # camera from world
    positions: Float[np.ndarray, "t 3"]  # world, metres
    intrinsics: Float[np.ndarray, "4"]  # fx, fy, cx, cy in pixels
    width: int
    height: int

    @property
    def extrinsics(self) -> Float[np.ndarray, "t 3 4"]:
        """Camera from world."""
        shift = -(self.rotations @ self.positions[:, :, None])
        return np.concatenate([self.rotations, shift], axis=2)


def look_at(
    position: Float[np.ndarray, "3"], target: Float[np.ndarray, "3"], roll: float = 0.0
) -> Float[np.ndarray, "3 3"]:
    """Rotation camera from world: z towards the target, x right, y down; roll in radians."""
    forward = normalized(target - position)
    right = normalized(np.cross(forward, [0.0, 0.0, 1.0]))
    axes = np.stack([right, np.cross(forward, right), forward])
    out: np.ndarray = axis_rotation("z", -roll) @ axes
    return out


def _camera_motion(
    rng: np.random.Generator, frames: int, fps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Offsets [t, 3] of position and target over time: static, shaking, or driving and panning."""
    moving = rng.random() < 0.5
    drive = rng.normal(0, 0.2, 3) * [1, 1, 0.4] * moving / fps
    shake = smooth_noise(rng, frames, 3, 0.015, 3) * (rng.random() < 0.6)
    pan = smooth_noise(rng, frames, 3, 0.02, 3) * moving
    steps = drive * np.arange(frames)[:, None]
    return steps + shake, 0.3 * steps + pan


def crop_camera(
    rng: np.random.Generator,
    body: Float[np.ndarray, "t v 3"],
    middle: Float[np.ndarray, "3"],
    hips: Float[np.ndarray, "3"],
    size: tuple[int, int],
    fps: float,
) -> CameraTrajectory | None:
    """A fixed crop of a larger image around one person.

    Args:
        rng: random generator.
        body: the person's vertices, world.
        middle: a point of the trunk at the clip's middle frame, world.
        hips: centre of the hips at that frame, world.
        size: width and height of the crop, pixels.
        fps: frames per second; sets the camera's speed per frame.

    Returns:
        None when hardly any of the person is in front of the camera.
    """
    frames, (width, height) = len(body), size
    nearest, farthest = (7, 25) if rng.random() < DISTANT_SHARE else (0.9, 7)
    distance = np.exp(rng.uniform(np.log(nearest), np.log(farthest)))
    azimuth, elevation = rng.normal(-np.pi / 2, 0.6), rng.normal(0.08, 0.2)
    level = np.cos(elevation)
    direction = np.array([np.cos(azimuth) * level, np.sin(azimuth) * level, np.sin(elevation)])
    start = middle + distance * direction
    start[2] = np.clip(start[2], 0.25, 3.2)
    # The person is off the centre of the larger image, so the crop has an oblique view axis. At
    # close range the offset is smaller, or else heads and hands would be stretched unrealistically.
    off_axis = 0.3 * min(1.0, distance / 2.5) * (rng.random() < 0.7)
    target = middle + distance * off_axis * rng.standard_normal(3) * [1, 1, 0.4]
    roll = rng.normal(0, 0.05)
    offset, pan = _camera_motion(rng, frames, fps)
    positions = start + offset
    rotations = np.stack(
        [look_at(p, target + q, roll) for p, q in zip(positions, pan, strict=True)]
    )
    half = frames // 2
    in_camera = (body[half] - positions[half]) @ rotations[half].T
    in_camera = in_camera[in_camera[:, 2] > 0.2]
    if len(in_camera) < 50:
        return None
    points = in_camera[:, :2] / in_camera[:, 2:]
    kind = rng.choice(["body", "upper", "bust", "far"], p=[0.56, 0.26, 0.08, 0.1])
    if kind in ("upper", "bust"):
        cut = rotations[half] @ ((hips if kind == "upper" else middle) - positions[half])
        tall = np.ptp(points[:, 1])
        slack = rng.uniform(-0.15, 0.2) if kind == "upper" else rng.uniform(-0.05, 0.08)
        above = points[points[:, 1] < cut[1] / cut[2] + slack * tall]
        points = above if len(above) > 0.1 * len(points) else points
    low, high = points.min(axis=0), points.max(axis=0)
    fill = rng.uniform(0.25, 0.5) if kind == "far" else rng.uniform(0.55, 1.12)
    focal = fill * min(width, height) / max(float((high - low).max()), 0.05)
    centre = np.array([width, height]) / 2 - focal * (low + high) / 2
    centre += rng.normal(0, 0.06, 2) * width
    intrinsics = np.array([focal, focal, *centre])
    return CameraTrajectory(rotations, positions, intrinsics, width, height)


def frame_camera(
    rng: np.random.Generator,
    middles: Float[np.ndarray, "p 3"],
    frames: int,
    size: tuple[int, int],
    fps: float,
) -> CameraTrajectory:
    """A whole frame of a camera on a robot, a phone, a desk or a ceiling.

    Args:
        rng: random generator.
        middles: a point in the trunk of each person, world; may be empty.
        frames: length of the trajectory.
        size: width and height of the image, pixels.
        fps: frames per second.
    """
    width, height = size
    focal = 0.5 * width / np.tan(np.radians(rng.uniform(42, 105)) / 2)
    if len(middles) and rng.random() < WEBCAM_SHARE:
        start, target = _webcam(rng, middles[rng.integers(len(middles))])
    else:
        start, target = _across_the_room(rng, middles)
    offset, pan = _camera_motion(rng, frames, fps)
    positions = start + offset
    roll = rng.normal(0, 0.03)
    rotations = np.stack(
        [look_at(p, target + q, roll) for p, q in zip(positions, pan, strict=True)]
    )
    centre = np.array([width, height]) / 2 + rng.normal(0, 0.01, 2) * width
    return CameraTrajectory(rotations, positions, np.array([focal, focal, *centre]), width, height)


def _webcam(rng: np.random.Generator, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position and target of a camera on a desk or a screen that looks at a face."""
    azimuth, distance = rng.normal(-np.pi / 2, 0.35), rng.uniform(0.6, 1.4)
    start = middle + distance * np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    start[2] = max(0.25, middle[2] + rng.uniform(-0.15, 0.5))
    return start, middle + [0, 0, rng.uniform(0.05, 0.35)] + rng.normal(0, 0.08, 3) * distance


def _across_the_room(
    rng: np.random.Generator, middles: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Position and target of a camera on a robot, a phone or a ceiling."""
    middle = middles.mean(axis=0) if len(middles) else np.array([0, 0, rng.uniform(0.6, 1.4)])
    altitude = rng.choice([rng.uniform(0.25, 0.7), rng.uniform(0.7, 1.7), rng.uniform(1.7, 3.0)],
                          p=[0.25, 0.5, 0.25])  # fmt: skip
    distance = np.exp(rng.uniform(np.log(0.9), np.log(8.5)))
    azimuth = rng.normal(-np.pi / 2, 0.8)
    start = np.array(
        [*(middle[:2] + distance * np.array([np.cos(azimuth), np.sin(azimuth)])), altitude]
    )
    target = middle + distance * 0.35 * rng.standard_normal(3) * [1, 1, 0.45]
    if altitude < 1.7 and rng.random() < 0.5:
        # Robots' cameras are level, not aimed at faces.
        target[2] = altitude + rng.normal(0, 0.12) * distance
    return start, target
