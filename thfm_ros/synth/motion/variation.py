# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Vary motions: bend the trunk, move arms, legs and head, combine two motions, reorient the body.

Captured clips cover few of the possible poses. Each change is drawn once per clip, in the axes of
the trunk; arms also drift a little over time.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from thfm_ros.synth.motion.captured import Motion
from thfm_ros.synth.people.limbs import SIDES
from thfm_ros.synth.people.rig import Rig
from thfm_ros.synth.primitives.rotation import from_axis_angle, normalized, rotation_between

SPINE = ("spine05", "spine04", "spine03", "spine02", "spine01")  # upwards; rigs differ
Rotations = Float[np.ndarray, "t b 3 3"]


def vary_motion(rng: np.random.Generator, motion: Motion, rig: Rig) -> Motion:
    """A copy of a motion with changes to trunk, arms, legs and head."""
    rotations = motion.rotations.copy()
    pelvis = rotations[:, rig.index["root"]].copy()
    if rng.random() < 0.35:
        bend = [rng.normal(0.15, 0.3), rng.normal(0, 0.2), rng.normal(0, 0.3)]
        rig.rotate_subtree(rotations, "spine03", _in_world_axes(pelvis, from_axis_angle(bend)))
    chest = rotations[:, rig.index["spine01"]].copy()
    for side, sign in SIDES:
        if rng.random() < 0.55:
            _random_arm(rng, rotations, chest, rig, side, sign)
        if rng.random() < 0.35:
            _bend_leg(rng, rotations, pelvis, rig, side, sign)
    if rng.random() < 0.6:
        head = from_axis_angle(rng.normal(0, 1, 3) * [0.25, 0.15, 0.4])
        rig.rotate_subtree(rotations, "neck01", _in_world_axes(chest, head))
    return replace(motion, rotations=rotations, source=motion.source + "+")


def combine_motions(rng: np.random.Generator, legs: Motion, other: Motion, rig: Rig) -> Motion:
    """Combine the legs of one motion with the trunk and both arms, or one arm alone, of another.

    With few captured clips, each leg motion would come with one arm motion only. The part that is
    taken over keeps its rotation relative to its parent bone.
    """
    parent = "root"
    branch = next(bone for bone in SPINE if bone in rig.index)
    if rng.random() < 0.4:
        branch, parent = (f"clavicle.{rng.choice(['L', 'R'])}", "spine01")
    rotations, parent_index, replaced = (
        legs.rotations.copy(),
        rig.index[parent],
        rig.subtree(branch),
    )
    relative = rotations[:, parent_index] @ other.rotations[:, parent_index].transpose(0, 2, 1)
    rotations[:, replaced] = relative[:, None] @ other.rotations[:, replaced]
    return Motion(rotations, legs.root, f"{legs.source}&{other.source}", legs.seat_m)


def reorient_body(rng: np.random.Generator, motion: Motion) -> Motion:
    """The same motion with the whole body rotated: lying, upside down, or in any orientation.

    Captured clips hardly show these body orientations, and a robot must not lose a fallen person.
    """
    kind = rng.choice(["lying", "upside_down", "any"], p=[0.5, 0.25, 0.25])
    angle = {
        "lying": rng.normal(np.pi / 2, 0.25),
        "upside_down": rng.normal(np.pi, 0.4),
        "any": rng.uniform(-np.pi, np.pi),
    }[str(kind)]
    axis = rng.uniform(-np.pi, np.pi)
    rotation = from_axis_angle(angle * np.array([np.cos(axis), np.sin(axis), 0.0]))
    return Motion(rotation @ motion.rotations, motion.root @ rotation.T, motion.source + "~", None)


def _in_world_axes(
    frame: Float[np.ndarray, "t 3 3"], rotation: Float[np.ndarray, "3 3"]
) -> np.ndarray:
    """Express a rotation given in the axes of a body part in world axes."""
    out: np.ndarray = frame @ rotation @ frame.transpose(0, 2, 1)
    return out


def _random_arm(
    rng: np.random.Generator,
    rotations: Rotations,
    chest: np.ndarray,
    rig: Rig,
    side: str,
    sign: float,
) -> None:
    """Random direction of the upper arm within reach of the shoulder, random bend of the elbow."""
    upper = rig.direction(f"upperarm01.{side}", f"lowerarm01.{side}")
    fore = rig.direction(f"lowerarm01.{side}", f"wrist.{side}")
    aim = _arm_direction(rng, sign)
    bend = min(abs(rng.normal(0, 0.9)), 2.4)
    away = rng.standard_normal(3) + np.array([-sign * 0.6, -1.0, 0.4])
    away = normalized(away - aim * (away @ aim))
    forearm = np.cos(bend) * aim + np.sin(bend) * away
    upper_rotation = from_axis_angle(aim * rng.normal(0, 0.5)) @ rotation_between(upper, aim)
    drift = from_axis_angle(np.linspace(-1, 1, len(rotations))[:, None] * rng.normal(0, 0.15, 3))
    frame = chest @ drift
    rig.set_subtree(rotations, f"upperarm01.{side}", frame @ upper_rotation)
    bent = rotation_between(upper_rotation @ fore, forearm) @ upper_rotation
    rig.set_subtree(rotations, f"lowerarm01.{side}", frame @ bent)


def _arm_direction(rng: np.random.Generator, sign: float) -> Float[np.ndarray, "3"]:
    while True:
        aim = normalized(rng.standard_normal(3) + np.array([sign * 0.5, -0.35, -0.2]))
        if aim[0] * sign > -0.35 and aim[1] < 0.55:
            return aim


def _bend_leg(
    rng: np.random.Generator,
    rotations: Rotations,
    pelvis: np.ndarray,
    rig: Rig,
    side: str,
    sign: float,
) -> None:
    """Bend hip and knee in addition to the leg's motion."""
    spread = from_axis_angle([0, -sign * rng.normal(0.12, 0.18), 0])
    hip = spread @ from_axis_angle([-rng.normal(0.25, 0.45), 0, 0])
    rig.rotate_subtree(rotations, f"upperleg01.{side}", _in_world_axes(pelvis, hip))
    thigh = rotations[:, rig.index[f"upperleg01.{side}"]].copy()
    knee = from_axis_angle([min(abs(rng.normal(0, 0.6)), 2.3), 0, 0])
    rig.rotate_subtree(rotations, f"lowerleg01.{side}", _in_world_axes(thigh, knee))
