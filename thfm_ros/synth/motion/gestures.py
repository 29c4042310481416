# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Procedural motion: standing, walking, sitting and striding, with occupations of the hands.

Captured clips contain few seated people and few gestures, which a robot meets often. Wrists follow
paths in the chest's axes and ankles follow paths on the floor; inverse kinematics does the rest.
All lengths are in leg lengths of the person.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from thfm_ros.synth.motion.captured import Motion
from thfm_ros.synth.motion.occupations import OCCUPATIONS, SEATED, STANDING, Hands, occupied_hands
from thfm_ros.synth.motion.strides import LegMotion, lunge, run, swinging_hands, walk
from thfm_ros.synth.people.limbs import SIDES, Limbs, bend_fingers, solve_arm, solve_leg
from thfm_ros.synth.people.rig import Rig
from thfm_ros.synth.primitives.rotation import from_axis_angle, smooth_noise

Path = Float[np.ndarray, "t 3"]
Times = Float[np.ndarray, "t"]
Rotations = Float[np.ndarray, "t b 3 3"]


def gesture_motion(
    rng: np.random.Generator, rig: Rig, frames: int, fps: float, legs: str = ""
) -> Motion:
    """Stand, walk or sit (``legs``; "": drawn), with a random occupation of the hands."""
    legs = legs or str(rng.choice(["stand", "walk", "sit"], p=[0.45, 0.2, 0.35]))
    times = rng.uniform(0, 20) + np.arange(frames) / fps
    limbs = Limbs.of(rig)
    leg_motion = _POSTURES[legs](rng, times, limbs)
    name, hands = _occupation(rng, seated=legs == "sit")
    motion = _solve_motion(rng, rig, limbs, times, leg_motion, name, hands)
    seat = float(motion.root[:, 2].min()) if legs == "sit" else None
    return replace(motion, source=f"gesture/{legs}-{name}", seat_m=seat)


def striding_motion(
    rng: np.random.Generator, rig: Rig, frames: int, fps: float, legs: str = ""
) -> Motion:
    """Walk, run or lunge (``legs``; "": drawn) past the camera, the arms swinging or occupied."""
    legs = legs or str(rng.choice(["walk", "run", "lunge"], p=[0.35, 0.3, 0.35]))
    times = rng.uniform(0, 20) + np.arange(frames) / fps
    limbs = Limbs.of(rig)
    leg_motion = _STRIDES[legs](rng, times, limbs)
    name, hands = _occupation(rng, seated=False)
    if rng.random() < 0.6:
        name, hands = "swing", swinging_hands(rng, leg_motion.root, leg_motion.ankles)
    motion = _solve_motion(rng, rig, limbs, times, leg_motion, name, hands)
    return replace(motion, source=f"gesture/{legs}-{name}", passing=True)


def _solve_motion(
    rng: np.random.Generator,
    rig: Rig,
    limbs: Limbs,
    times: Times,
    leg_motion: LegMotion,
    occupation: str,
    hands: Hands,
) -> Motion:
    """Inverse kinematics for given motions of pelvis, ankles and wrists.

    ``occupation`` names what the hands do; it sets the gaze and how far the fingers curl.
    """
    frames = len(times)
    pelvis, root, lean, ankles = leg_motion
    rotations = np.broadcast_to(np.eye(3), (frames, len(rig.names), 3, 3)).copy()
    rotations[:] = pelvis[:, None]
    _bend_trunk(rng, rig, rotations, pelvis, lean)
    for side, sign in SIDES:
        solve_leg(rig, limbs, rotations, root, side, ankles[side], sign)
    chest = rotations[:, rig.index["spine01"]].copy()
    swing = smooth_noise(rng, frames, 6, 0.012, 6)
    for column, (side, sign) in enumerate(SIDES):
        target, elbow, twist = hands(side, sign, times)
        target = target + swing[:, 3 * column : 3 * column + 3]
        solve_arm(rig, limbs, rotations, chest, side, target, elbow, twist)
        bend_fingers(rig, rotations, side, _curl(rng, occupation) + np.zeros(frames))
    head = from_axis_angle(smooth_noise(rng, frames, 3, 0.1) + _gaze(rng, occupation))
    rig.rotate_subtree(rotations, "neck01", chest @ head @ chest.transpose(0, 2, 1))
    return Motion(rotations, root, occupation)


def _curl(rng: np.random.Generator, occupation: str) -> float:
    """Curl of the fingers, radians per joint."""
    if occupation in ("phone", "carry", "drink", "fists"):
        return rng.uniform(0.6, 1.0)
    return rng.uniform(0.0, 0.15) if occupation in ("wave", "stop") else rng.uniform(0.05, 0.6)


def _gaze(rng: np.random.Generator, occupation: str) -> Float[np.ndarray, "3"]:
    """Axis and angle of the head against the chest."""
    down = rng.uniform(0.2, 0.6) if occupation in ("work", "phone", "read") else rng.normal(0, 0.15)
    return np.array([down, rng.normal(0, 0.08), rng.normal(0, 0.3)])


def _bend_trunk(
    rng: np.random.Generator, rig: Rig, rotations: Rotations, pelvis: np.ndarray, lean: float
) -> None:
    """Distribute a lean, a twist and a sway over three bones of the spine, in place."""
    sway = smooth_noise(rng, len(rotations), 3, 0.04)
    bend = [lean + rng.normal(0.02, 0.07), rng.normal(0, 0.06), rng.normal(0, 0.12)]
    total = sway + np.array(bend)
    step = from_axis_angle(total / 3)
    for bone in ("spine04", "spine03", "spine02"):
        if bone in rig.index:
            rig.rotate_subtree(rotations, bone, pelvis @ step @ pelvis.transpose(0, 2, 1))


def _stand(rng: np.random.Generator, times: Times, limbs: Limbs) -> LegMotion:
    """Standing, the feet at rest."""
    frames, hips = len(times), limbs.leg_length
    sway = smooth_noise(rng, frames, 3, 0.012)
    root = np.array([rng.normal(0, 0.05), 0, hips * rng.uniform(0.94, 0.995)]) + sway
    pelvis = from_axis_angle(sway * 2 + [rng.normal(0, 0.05), rng.normal(0, 0.06), 0])
    ankles = {}
    for side, sign in SIDES:
        position = [sign * abs(rng.normal(0.11, 0.06)), rng.normal(0, 0.07), limbs.ankle_height]
        ankles[side] = np.tile(position, (frames, 1))
    return LegMotion(pelvis, root, 0.0, ankles)


def _sit(rng: np.random.Generator, times: Times, limbs: Limbs) -> LegMotion:
    """Sitting, the feet on the floor ahead, near or far."""
    frames = len(times)
    height = rng.uniform(0.42, 0.62) * limbs.leg_length + 0.09
    root = np.array([0, 0, height]) + smooth_noise(rng, frames, 3, 0.006)
    back = rng.normal(-0.08, 0.15)
    pelvis = np.broadcast_to(from_axis_angle([back, 0, 0]), (frames, 3, 3)).copy()
    ankles = {}
    stretch = rng.uniform(0.3, 0.75)
    for side, sign in SIDES:
        ahead = -(stretch + rng.normal(0, 0.07))
        position = [sign * abs(rng.normal(0.14, 0.09)), ahead, limbs.ankle_height]
        ankles[side] = np.tile(position, (frames, 1))
    return LegMotion(pelvis, root, -back + rng.normal(0.05, 0.15), ankles)


_POSTURES: dict[str, Callable[..., LegMotion]] = {"stand": _stand, "walk": walk, "sit": _sit}
_STRIDES: dict[str, Callable[..., LegMotion]] = {"walk": walk, "run": run, "lunge": lunge}


def _occupation(rng: np.random.Generator, seated: bool) -> tuple[str, Hands]:
    """Draw an occupation of the hands: its name, and the motion of both wrists."""
    names = SEATED if seated else STANDING
    name = str(rng.choice(list(names), p=np.array(list(names.values())) / sum(names.values())))
    return name, occupied_hands(rng, OCCUPATIONS[name])
