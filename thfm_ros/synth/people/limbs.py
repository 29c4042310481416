# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Inverse kinematics of arms and legs, two bones each, and bending of the fingers."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from thfm_ros.synth.people.rig import Rig, hinge_rotation
from thfm_ros.synth.primitives.rotation import from_axis_angle, normalized

SIDES = (("L", 1.0), ("R", -1.0))  # suffix of bone names, sign of the outward x axis
Rotations = Float[np.ndarray, "t b 3 3"]
Path = Float[np.ndarray, "t 3"]


@dataclass(frozen=True)
class Limbs:
    """Limb lengths of the average body, scaled to a leg length of one metre."""

    unit_m: float  # leg length of the average body, metres
    arm_length: float  # shoulder to wrist
    leg_length: float  # height of the pelvis above the floor
    ankle_height: float

    @classmethod
    def of(cls, rig: Rig) -> "Limbs":
        """Measure the rest pose."""
        heads = rig.body.heads
        unit_m = float(heads[0, 2] - heads[:, 2].min())
        lengths = [
            np.linalg.norm(rig.head("lowerarm01.L") - rig.head("upperarm01.L")),
            np.linalg.norm(rig.head("wrist.L") - rig.head("lowerarm01.L")),
        ]
        floor = float(rig.body.rest[rig.body.faces.ravel(), 2].min())
        ankle = rig.head("foot.L")[2] - floor
        pelvis = rig.head("root")[2] - floor
        return cls(unit_m, float(sum(lengths)) / unit_m, pelvis / unit_m, ankle / unit_m)


def two_bone_ik(target: Path, pole: Path, first: float, second: float) -> tuple[Path, Path, Path]:
    """Two-bone inverse kinematics from the origin to ``target``.

    Args:
        target: desired end point [t, 3]; beyond reach, the limb is nearly straight.
        pole: direction towards which the middle joint bends [t, 3].
        first: length of the first bone.
        second: length of the second.

    Returns:
        Unit directions of both bones and the unit hinge axis, each [t, 3].
    """
    distance = np.linalg.norm(target, axis=-1, keepdims=True)
    reach = np.clip(distance, abs(first - second) * 1.05 + 1e-3, 0.999 * (first + second))
    aim = normalized(target)
    side = normalized(pole - aim * np.sum(aim * pole, axis=-1, keepdims=True))
    cosine = np.clip((first**2 + reach**2 - second**2) / (2 * first * reach), -1, 1)
    sine = np.sqrt(1 - cosine**2)
    upper = aim * cosine + side * sine
    lower = normalized(aim * reach - upper * first)
    return upper, lower, normalized(np.cross(upper, lower))


def solve_arm(
    rig: Rig,
    limbs: Limbs,
    rotations: Rotations,
    chest: Float[np.ndarray, "t 3 3"],
    side: str,
    target: Path,
    elbow: Float[np.ndarray, "3"],
    twist: float,
) -> None:
    """Rotate an arm so that its wrist reaches ``target``, in place.

    Args:
        rig: the bones.
        limbs: limb lengths.
        rotations: rotation of each bone, world axes; changed in place.
        chest: rotation of the chest, world axes.
        side: "L" or "R".
        target: wrist relative to the shoulder, arm lengths, chest axes.
        elbow: direction towards which the elbow bends, chest axes.
        twist: rotation of the hand about the forearm, radians.
    """
    names = [f"{bone}.{side}" for bone in ("upperarm01", "lowerarm01", "wrist")]
    shoulder, joint, wrist = (rig.head(name) for name in names)
    lengths = np.linalg.norm(joint - shoulder), np.linalg.norm(wrist - joint)
    scale = sum(lengths)
    pole = np.broadcast_to(elbow, target.shape)
    upper, lower, hinge = two_bone_ik(target * scale, pole, float(lengths[0]), float(lengths[1]))
    rest_upper, rest_lower = normalized(joint - shoulder), normalized(wrist - joint)
    rest_hinge = normalized(np.cross(rest_upper, rest_lower))
    sign = 1.0 if side == "L" else -1.0
    rig.set_subtree(
        rotations, names[0], chest @ hinge_rotation(rest_upper, rest_hinge, upper, hinge)
    )
    forearm = hinge_rotation(rest_lower, rest_hinge, lower, hinge)
    rig.set_subtree(rotations, names[1], chest @ forearm)
    twisted = from_axis_angle(lower * twist * sign) @ forearm
    if f"lowerarm02.{side}" in rig.index:
        half_twisted = from_axis_angle(lower * 0.5 * twist * sign) @ forearm
        rig.set_subtree(rotations, f"lowerarm02.{side}", chest @ half_twisted)
    rig.set_subtree(rotations, names[2], chest @ twisted)


def solve_leg(
    rig: Rig, limbs: Limbs, rotations: Rotations, root: Path, side: str, foot: Path, sign: float
) -> None:
    """Rotate a leg so that its ankle reaches ``foot`` (world, leg lengths), in place.

    The sole is level on the floor and tilts as the foot is lifted.
    """
    names = [f"{bone}.{side}" for bone in ("upperleg01", "lowerleg01", "foot")]
    hip, knee, ankle = (rig.head(name) for name in names)
    lengths = np.linalg.norm(knee - hip), np.linalg.norm(ankle - knee)
    pelvis = rotations[:, rig.index["root"]].copy()
    hip_now = root * limbs.unit_m + pelvis @ (hip - rig.head("root"))
    ahead = pelvis @ np.array([0.15 * sign, -1.0, 0.0])
    upper, lower, hinge = two_bone_ik(
        foot * limbs.unit_m - hip_now, ahead, float(lengths[0]), float(lengths[1])
    )
    across = np.array([1.0, 0.0, 0.0])  # knee axis at rest: the shin bends backwards
    rig.set_subtree(
        rotations, names[0], hinge_rotation(normalized(knee - hip), across, upper, hinge)
    )
    rig.set_subtree(
        rotations, names[1], hinge_rotation(normalized(ankle - knee), across, lower, hinge)
    )
    flat = yaw_rotation(pelvis) @ from_axis_angle([0, 0, 0.2 * sign])
    lifted = np.clip((foot[:, 2] - limbs.ankle_height) / 0.4, 0, 1)
    rig.set_subtree(rotations, names[2], flat @ from_axis_angle(lifted[:, None] * [1.2, 0, 0]))


def yaw_rotation(frame: Float[np.ndarray, "t 3 3"]) -> Float[np.ndarray, "t 3 3"]:
    """The rotation about z alone with the heading of the given frame."""
    ahead = frame @ np.array([0.0, -1.0, 0.0])
    angle = np.arctan2(ahead[..., 0], -ahead[..., 1])
    vectors = np.zeros((*angle.shape, 3))
    vectors[..., 2] = angle
    return from_axis_angle(vectors)


def bend_fingers(rig: Rig, rotations: Rotations, side: str, amount: Float[np.ndarray, "t"]) -> None:
    """Curl fingers two to five by ``amount`` radians per joint, in place."""
    if f"finger5-1.{side}" not in rig.index:
        return
    across = rig.head(f"finger5-1.{side}") - rig.head(f"finger2-1.{side}")
    palm = normalized(np.cross(rig.head(f"finger3-1.{side}") - rig.head(f"wrist.{side}"), across))
    palm = palm if side == "L" else -palm
    wrist = rotations[:, rig.index[f"wrist.{side}"]].copy()
    for finger in range(2, 6):
        along = rig.direction(f"finger{finger}-1.{side}", f"finger{finger}-2.{side}")
        axis = normalized(np.cross(palm, along))
        for joint in range(1, 4):
            curl = from_axis_angle(-axis * (joint * amount * (0.7 + 0.1 * finger))[:, None])
            rotations[:, rig.index[f"finger{finger}-{joint}.{side}"]] = wrist @ curl
