"""Motion made by rule: stand, stride, sit, wave, talk, reach, point, phone, work at a table, carry.

Captures hold few seated people and few gestures, and those are what a robot meets. Hands follow
paths in the chest's axes and feet follow paths on the floor; arms and legs are solved for them.
All lengths are for legs of one metre.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from thfm_ros.synth.motion.captured import Motion
from thfm_ros.synth.motion.occupations import OCCUPATIONS, SEATED, STANDING, Hands, occupied_hands
from thfm_ros.synth.motion.strides import Legs, lunge, run, swinging_hands, walk
from thfm_ros.synth.people.limbs import SIDES, Limbs, bend_fingers, solve_arm, solve_leg
from thfm_ros.synth.people.rig import Rig
from thfm_ros.synth.primitives.rotation import from_axis_angle, smooth_noise

Path = Float[np.ndarray, "t 3"]
Times = Float[np.ndarray, "t"]
Turns = Float[np.ndarray, "t b 3 3"]


def gesture(rng: np.random.Generator, rig: Rig, frames: int, fps: float) -> Motion:
    """A random posture of the legs with a random occupation of the hands."""
    legs = str(rng.choice(["stand", "walk", "sit"], p=[0.45, 0.2, 0.35]))
    times = rng.uniform(0, 20) + np.arange(frames) / fps
    limbs = Limbs.of(rig)
    way = _POSTURES[legs](rng, times, limbs)
    name, hands = _occupation(rng, seated=legs == "sit")
    motion = _acted(rng, rig, limbs, times, way, name, hands)
    seat = float(motion.root[:, 2].min()) if legs == "sit" else None
    return replace(motion, source=f"gesture/{legs}-{name}", seat_m=seat)


def striding(rng: np.random.Generator, rig: Rig, frames: int, fps: float) -> Motion:
    """Somebody who walks, runs or lunges past the camera, the arms swinging or busy."""
    legs = str(rng.choice(["walk", "run", "lunge"], p=[0.35, 0.3, 0.35]))
    times = rng.uniform(0, 20) + np.arange(frames) / fps
    limbs = Limbs.of(rig)
    way = _STRIDES[legs](rng, times, limbs)
    name, hands = _occupation(rng, seated=False)
    if rng.random() < 0.6:
        name, hands = "swing", swinging_hands(rng, way[1], way[3])
    motion = _acted(rng, rig, limbs, times, way, name, hands)
    return replace(motion, source=f"gesture/{legs}-{name}", passing=True)


def _acted(
    rng: np.random.Generator,
    rig: Rig,
    limbs: Limbs,
    times: Times,
    way: Legs,
    name: str,
    hands: Hands,
) -> Motion:
    """Solve the limbs for what legs and hands do; ``name`` is the occupation of the hands."""
    frames = len(times)
    pelvis, root, lean, feet = way
    turns = np.broadcast_to(np.eye(3), (frames, len(rig.names), 3, 3)).copy()
    turns[:] = pelvis[:, None]
    _bend_trunk(rng, rig, turns, pelvis, lean)
    for side, sign in SIDES:
        solve_leg(rig, limbs, turns, root, side, feet[side], sign)
    chest = turns[:, rig.index["spine01"]].copy()
    swing = smooth_noise(rng, frames, 6, 0.012, 6)
    for column, (side, sign) in enumerate(SIDES):
        target, elbow, twist = hands(side, sign, times)
        target = target + swing[:, 3 * column : 3 * column + 3]
        solve_arm(rig, limbs, turns, chest, side, target, elbow, twist)
        bend_fingers(rig, turns, side, _curl(rng, name) + np.zeros(frames))
    look = from_axis_angle(smooth_noise(rng, frames, 3, 0.1) + _gaze(rng, name))
    rig.turn_below(turns, "neck01", chest @ look @ chest.transpose(0, 2, 1))
    return Motion(turns, root, name)


def _curl(rng: np.random.Generator, name: str) -> float:
    if name in ("phone", "carry", "drink", "fists"):
        return rng.uniform(0.6, 1.0)
    return rng.uniform(0.0, 0.15) if name in ("wave", "stop") else rng.uniform(0.05, 0.6)


def _gaze(rng: np.random.Generator, name: str) -> Float[np.ndarray, "3"]:
    down = rng.uniform(0.2, 0.6) if name in ("work", "phone", "read") else rng.normal(0, 0.15)
    return np.array([down, rng.normal(0, 0.08), rng.normal(0, 0.3)])


def _bend_trunk(
    rng: np.random.Generator, rig: Rig, turns: Turns, pelvis: np.ndarray, lean: float
) -> None:
    """Share a lean, a twist and a sway between three places of the spine, in place."""
    sway = smooth_noise(rng, len(turns), 3, 0.04)
    bend = [lean + rng.normal(0.02, 0.07), rng.normal(0, 0.06), rng.normal(0, 0.12)]
    total = sway + np.array(bend)
    step = from_axis_angle(total / 3)
    for bone in ("spine04", "spine03", "spine02"):
        if bone in rig.index:
            rig.turn_below(turns, bone, pelvis @ step @ pelvis.transpose(0, 2, 1))


def _stand(rng: np.random.Generator, times: Times, limbs: Limbs) -> Legs:
    """Weight on one leg or both, feet where they are."""
    frames, hips = len(times), limbs.leg_length
    sway = smooth_noise(rng, frames, 3, 0.012)
    root = np.array([rng.normal(0, 0.05), 0, hips * rng.uniform(0.94, 0.995)]) + sway
    pelvis = from_axis_angle(sway * 2 + [rng.normal(0, 0.05), rng.normal(0, 0.06), 0])
    feet = {}
    for side, sign in SIDES:
        place = [sign * abs(rng.normal(0.11, 0.06)), rng.normal(0, 0.07), limbs.ankle_height]
        feet[side] = np.tile(place, (frames, 1))
    return pelvis, root, 0.0, feet


def _sit(rng: np.random.Generator, times: Times, limbs: Limbs) -> Legs:
    """On a seat: the feet on the floor ahead, or the legs stretched out."""
    frames = len(times)
    height = rng.uniform(0.42, 0.62) * limbs.leg_length + 0.09
    root = np.array([0, 0, height]) + smooth_noise(rng, frames, 3, 0.006)
    back = rng.normal(-0.08, 0.15)
    pelvis = np.broadcast_to(from_axis_angle([back, 0, 0]), (frames, 3, 3)).copy()
    feet = {}
    stretch = rng.uniform(0.3, 0.75)
    for side, sign in SIDES:
        ahead = -(stretch + rng.normal(0, 0.07))
        place = [sign * abs(rng.normal(0.14, 0.09)), ahead, limbs.ankle_height]
        feet[side] = np.tile(place, (frames, 1))
    return pelvis, root, -back + rng.normal(0.05, 0.15), feet


_POSTURES: dict[str, Callable[..., Legs]] = {"stand": _stand, "walk": walk, "sit": _sit}
_STRIDES: dict[str, Callable[..., Legs]] = {"walk": walk, "run": run, "lunge": lunge}


def _occupation(rng: np.random.Generator, seated: bool) -> tuple[str, Hands]:
    """What the hands do: for a side, the path of the wrist from the shoulder (in arm lengths, chest
    axes: outwards is +x for the left hand), where the elbow points, and the twist of the hand."""
    names = SEATED if seated else STANDING
    name = str(rng.choice(list(names), p=np.array(list(names.values())) / sum(names.values())))
    return name, occupied_hands(rng, OCCUPATIONS[name])
