"""Make a motion another one: bend the trunk, throw arms and legs, look elsewhere, sit down.

Captures are few and poses are many. Each change is drawn once per clip, in the trunk's own axes,
and drifts a little over time.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from thfm_ros.synth.motion.captured import Motion
from thfm_ros.synth.people.limbs import SIDES
from thfm_ros.synth.people.rig import Rig
from thfm_ros.synth.primitives.rotation import between, from_axis_angle, unit

SPINE = ("spine05", "spine04", "spine03", "spine02", "spine01")  # from below; rigs differ
Turns = Float[np.ndarray, "t b 3 3"]


def varied(rng: np.random.Generator, motion: Motion, rig: Rig) -> Motion:
    """A changed copy of a motion."""
    turns = motion.turns.copy()
    pelvis = turns[:, rig.index["root"]].copy()
    if rng.random() < 0.35:
        bend = [rng.normal(0.15, 0.3), rng.normal(0, 0.2), rng.normal(0, 0.3)]
        rig.turn_below(turns, "spine03", _seen_from(pelvis, from_axis_angle(bend)))
    chest = turns[:, rig.index["spine01"]].copy()
    for side, sign in SIDES:
        if rng.random() < 0.55:
            _throw_arm(rng, turns, chest, rig, side, sign)
        if rng.random() < 0.35:
            _lift_leg(rng, turns, pelvis, rig, side, sign)
    if rng.random() < 0.6:
        look = from_axis_angle(rng.normal(0, 1, 3) * [0.25, 0.15, 0.4])
        rig.turn_below(turns, "neck01", _seen_from(chest, look))
    return replace(motion, turns=turns, source=motion.source + "+")


def mixed(rng: np.random.Generator, legs: Motion, other: Motion, rig: Rig) -> Motion:
    """The legs of one motion, and the trunk with both arms, or one arm alone, of another.

    Captures are few: who kicks always held the arms alike. What is taken over keeps its turn
    against the bone that it hangs on.
    """
    stem = "root"
    branch = next(bone for bone in SPINE if bone in rig.index)
    if rng.random() < 0.4:
        branch, stem = (f"clavicle.{rng.choice(['L', 'R'])}", "spine01")
    turns, at, taken = legs.turns.copy(), rig.index[stem], rig.below(branch)
    carried = turns[:, at] @ other.turns[:, at].transpose(0, 2, 1)
    turns[:, taken] = carried[:, None] @ other.turns[:, taken]
    return Motion(turns, legs.root, f"{legs.source}&{other.source}", legs.seat_m)


def tumbled(rng: np.random.Generator, motion: Motion) -> Motion:
    """The same motion of somebody who has fallen, does a handstand, or tumbles through the air.

    Captures hardly show it, and a robot must not lose who fell.
    """
    kind = rng.choice(["lying", "headlong", "anyhow"], p=[0.5, 0.25, 0.25])
    angle = {
        "lying": rng.normal(np.pi / 2, 0.25),
        "headlong": rng.normal(np.pi, 0.4),
        "anyhow": rng.uniform(-np.pi, np.pi),
    }[str(kind)]
    axis = rng.uniform(-np.pi, np.pi)
    fall = from_axis_angle(angle * np.array([np.cos(axis), np.sin(axis), 0.0]))
    return Motion(fall @ motion.turns, motion.root @ fall.T, motion.source + "~", None)


def _seen_from(frame: Float[np.ndarray, "t 3 3"], turn: Float[np.ndarray, "3 3"]) -> np.ndarray:
    """A turn given in a body part's axes, in world axes."""
    out: np.ndarray = frame @ turn @ frame.transpose(0, 2, 1)
    return out


def _throw_arm(
    rng: np.random.Generator, turns: Turns, chest: np.ndarray, rig: Rig, side: str, sign: float
) -> None:
    """Any direction that a shoulder allows, any bend of the elbow."""
    upper = rig.direction(f"upperarm01.{side}", f"lowerarm01.{side}")
    fore = rig.direction(f"lowerarm01.{side}", f"wrist.{side}")
    aim = _arm_direction(rng, sign)
    bend = min(abs(rng.normal(0, 0.9)), 2.4)
    away = rng.standard_normal(3) + np.array([-sign * 0.6, -1.0, 0.4])
    away = unit(away - aim * (away @ aim))
    forearm = np.cos(bend) * aim + np.sin(bend) * away
    raised = from_axis_angle(aim * rng.normal(0, 0.5)) @ between(upper, aim)
    drift = from_axis_angle(np.linspace(-1, 1, len(turns))[:, None] * rng.normal(0, 0.15, 3))
    frame = chest @ drift
    rig.set_below(turns, f"upperarm01.{side}", frame @ raised)
    bent = between(raised @ fore, forearm) @ raised
    rig.set_below(turns, f"lowerarm01.{side}", frame @ bent)


def _arm_direction(rng: np.random.Generator, sign: float) -> Float[np.ndarray, "3"]:
    while True:
        aim = unit(rng.standard_normal(3) + np.array([sign * 0.5, -0.35, -0.2]))
        if aim[0] * sign > -0.35 and aim[1] < 0.55:
            return aim


def _lift_leg(
    rng: np.random.Generator, turns: Turns, pelvis: np.ndarray, rig: Rig, side: str, sign: float
) -> None:
    """Bend hip and knee on top of what the leg does."""
    spread = from_axis_angle([0, -sign * rng.normal(0.12, 0.18), 0])
    hip = spread @ from_axis_angle([-rng.normal(0.25, 0.45), 0, 0])
    rig.turn_below(turns, f"upperleg01.{side}", _seen_from(pelvis, hip))
    thigh = turns[:, rig.index[f"upperleg01.{side}"]].copy()
    knee = from_axis_angle([min(abs(rng.normal(0, 0.6)), 2.3), 0, 0])
    rig.turn_below(turns, f"lowerleg01.{side}", _seen_from(thigh, knee))
