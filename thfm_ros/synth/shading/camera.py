"""Cameras: a person crop as the pipeline cuts it, and the whole frame of a robot or a ceiling."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from thfm_ros.synth.primitives.rotation import about, smooth_noise, unit

WEBCAMS = 0.12  # share of the whole frames that look into a face from nearby
AFAR = 0.2  # share of the crops from 7 to 25 m: both legs look equally large through a long lens


@dataclass(frozen=True)
class Shot:
    """A camera over the frames of a clip, at the size of the labels."""

    rotations: Float[np.ndarray, "t 3 3"]  # camera from world
    positions: Float[np.ndarray, "t 3"]  # world, metres
    lens: Float[np.ndarray, "4"]  # fx, fy, cx, cy in pixels
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
    """Camera from world: z towards the target, x right, y down."""
    forward = unit(target - position)
    right = unit(np.cross(forward, [0.0, 0.0, 1.0]))
    axes = np.stack([right, np.cross(forward, right), forward])
    out: np.ndarray = about("z", -roll) @ axes
    return out


def _path(rng: np.random.Generator, frames: int, fps: float) -> tuple[np.ndarray, np.ndarray]:
    """How far position and aim wander: still, shaking, or driving and panning."""
    moving = rng.random() < 0.5
    drive = rng.normal(0, 0.2, 3) * [1, 1, 0.4] * moving / fps
    shake = smooth_noise(rng, frames, 3, 0.015, 3) * (rng.random() < 0.6)
    pan = smooth_noise(rng, frames, 3, 0.02, 3) * moving
    steps = drive * np.arange(frames)[:, None]
    return steps + shake, 0.3 * steps + pan


def crop_shot(
    rng: np.random.Generator,
    body: Float[np.ndarray, "t v 3"],
    middle: Float[np.ndarray, "3"],
    hips: Float[np.ndarray, "3"],
    size: tuple[int, int],
    fps: float,
) -> Shot | None:
    """A square cut out of a larger image, steady over the clip, around one person.

    Args:
        rng: source of chance.
        body: the person's vertices, world.
        middle: a point of the trunk in the middle of the clip, world.
        hips: the middle of the hips then, world.
        size: width and height of the crop, pixels.
        fps: frames per second, for how fast the camera moves.

    Returns:
        None when the person stands behind or around the camera.
    """
    frames, (width, height) = len(body), size
    nearest, farthest = (7, 25) if rng.random() < AFAR else (0.9, 7)
    distance = np.exp(rng.uniform(np.log(nearest), np.log(farthest)))
    turn, rise = rng.normal(-np.pi / 2, 0.6), rng.normal(0.08, 0.2)
    away = np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
    start = middle + distance * away
    start[2] = np.clip(start[2], 0.25, 3.2)
    # The person is not in the middle of the large image: the crop sees it from the side.
    # Nearby it does less so, or else heads and hands are drawn out as no lens does it.
    aside = 0.3 * min(1.0, distance / 2.5) * (rng.random() < 0.7)
    aim = middle + distance * aside * rng.standard_normal(3) * [1, 1, 0.4]
    roll = rng.normal(0, 0.05)
    wander, pan = _path(rng, frames, fps)
    positions = start + wander
    rotations = np.stack([look_at(p, aim + q, roll) for p, q in zip(positions, pan, strict=True)])
    half = frames // 2
    seen = (body[half] - positions[half]) @ rotations[half].T
    seen = seen[seen[:, 2] > 0.2]
    if len(seen) < 50:
        return None
    points = seen[:, :2] / seen[:, 2:]
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
    lens = np.array([focal, focal, *centre])
    return Shot(rotations, positions, lens, width, height)


def frame_shot(
    rng: np.random.Generator,
    middles: Float[np.ndarray, "p 3"],
    frames: int,
    size: tuple[int, int],
    fps: float,
) -> Shot:
    """The whole image of a robot's, a phone's, a desk's or a ceiling's camera.

    Args:
        rng: source of chance.
        middles: a point in the trunk of each person, world; may be empty.
        frames: how many.
        size: width and height of the image, pixels.
        fps: frames per second.
    """
    width, height = size
    focal = 0.5 * width / np.tan(np.radians(rng.uniform(42, 105)) / 2)
    if len(middles) and rng.random() < WEBCAMS:
        start, aim = _webcam(rng, middles[rng.integers(len(middles))])
    else:
        start, aim = _across_the_room(rng, middles)
    wander, pan = _path(rng, frames, fps)
    positions = start + wander
    roll = rng.normal(0, 0.03)
    rotations = np.stack([look_at(p, aim + q, roll) for p, q in zip(positions, pan, strict=True)])
    centre = np.array([width, height]) / 2 + rng.normal(0, 0.01, 2) * width
    return Shot(rotations, positions, np.array([focal, focal, *centre]), width, height)


def _webcam(rng: np.random.Generator, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position and aim of a camera on a desk or a screen, which looks into a face."""
    turn, distance = rng.normal(-np.pi / 2, 0.35), rng.uniform(0.6, 1.4)
    start = middle + distance * np.array([np.cos(turn), np.sin(turn), 0.0])
    start[2] = max(0.25, middle[2] + rng.uniform(-0.15, 0.5))
    return start, middle + [0, 0, rng.uniform(0.05, 0.35)] + rng.normal(0, 0.08, 3) * distance


def _across_the_room(
    rng: np.random.Generator, middles: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Position and aim of a robot's, a phone's or a ceiling's camera."""
    middle = middles.mean(axis=0) if len(middles) else np.array([0, 0, rng.uniform(0.6, 1.4)])
    altitude = rng.choice([rng.uniform(0.25, 0.7), rng.uniform(0.7, 1.7), rng.uniform(1.7, 3.0)],
                          p=[0.25, 0.5, 0.25])  # fmt: skip
    distance = np.exp(rng.uniform(np.log(0.9), np.log(8.5)))
    turn = rng.normal(-np.pi / 2, 0.8)
    start = np.array([*(middle[:2] + distance * np.array([np.cos(turn), np.sin(turn)])), altitude])
    aim = middle + distance * 0.35 * rng.standard_normal(3) * [1, 1, 0.45]
    if altitude < 1.7 and rng.random() < 0.5:
        aim[2] = altitude + rng.normal(0, 0.12) * distance  # robots look ahead, not at faces
    return start, aim
