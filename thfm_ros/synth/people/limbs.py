"""Two-bone limbs: how shoulder and elbow, hip and knee turn for a hand or a foot to be there."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from thfm_ros.synth.people.rig import Rig, hinged
from thfm_ros.synth.primitives.rotation import from_axis_angle, unit

SIDES = (("L", 1.0), ("R", -1.0))  # names of bones, and where +x is outwards
Turns = Float[np.ndarray, "t b 3 3"]
Path = Float[np.ndarray, "t 3"]


@dataclass(frozen=True)
class Limbs:
    """Lengths of the average body's limbs, for legs of one metre."""

    unit_m: float  # metres of the average body per unit
    arm_length: float  # shoulder to wrist
    leg_length: float  # pelvis' height over the ankles, plus the ankles' over the floor
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


def two_bones(target: Path, pole: Path, first: float, second: float) -> tuple[Path, Path, Path]:
    """Directions of two bones that reach ``target`` from the origin, and the axis of their hinge.

    Args:
        target: where the end should be; beyond reach, the limb is all but straight.
        pole: the side to which the middle joint points.
        first: length of the first bone.
        second: length of the second.

    Returns:
        Unit directions of both bones, and the unit hinge axis, each [t, 3].
    """
    distance = np.linalg.norm(target, axis=-1, keepdims=True)
    reach = np.clip(distance, abs(first - second) * 1.05 + 1e-3, 0.999 * (first + second))
    aim = unit(target)
    side = unit(pole - aim * np.sum(aim * pole, axis=-1, keepdims=True))
    cosine = np.clip((first**2 + reach**2 - second**2) / (2 * first * reach), -1, 1)
    sine = np.sqrt(1 - cosine**2)
    upper = aim * cosine + side * sine
    lower = unit(aim * reach - upper * first)
    return upper, lower, unit(np.cross(upper, lower))


def solve_arm(
    rig: Rig,
    limbs: Limbs,
    turns: Turns,
    chest: Float[np.ndarray, "t 3 3"],
    side: str,
    target: Path,
    elbow: Float[np.ndarray, "3"],
    twist: float,
) -> None:
    """Bring a wrist to ``target`` (from the shoulder, arm lengths, chest axes), in place.

    ``elbow`` is where the elbow points; ``twist`` turns the hand about the forearm, radians.
    """
    names = [f"{bone}.{side}" for bone in ("upperarm01", "lowerarm01", "wrist")]
    shoulder, joint, wrist = (rig.head(name) for name in names)
    lengths = np.linalg.norm(joint - shoulder), np.linalg.norm(wrist - joint)
    scale = sum(lengths)
    pole = np.broadcast_to(elbow, target.shape)
    upper, lower, hinge = two_bones(target * scale, pole, float(lengths[0]), float(lengths[1]))
    rest_upper, rest_lower = unit(joint - shoulder), unit(wrist - joint)
    rest_hinge = unit(np.cross(rest_upper, rest_lower))
    sign = 1.0 if side == "L" else -1.0
    rig.set_below(turns, names[0], chest @ hinged(rest_upper, rest_hinge, upper, hinge))
    fore = hinged(rest_lower, rest_hinge, lower, hinge)
    rig.set_below(turns, names[1], chest @ fore)
    turned = from_axis_angle(lower * twist * sign) @ fore
    if f"lowerarm02.{side}" in rig.index:
        half = from_axis_angle(lower * 0.5 * twist * sign) @ fore
        rig.set_below(turns, f"lowerarm02.{side}", chest @ half)
    rig.set_below(turns, names[2], chest @ turned)


def solve_leg(
    rig: Rig, limbs: Limbs, turns: Turns, root: Path, side: str, foot: Path, sign: float
) -> None:
    """Bring an ankle to ``foot`` (world axes, for legs of one metre), in place.

    The sole is flat on the floor, and hangs as soon as it is lifted.
    """
    names = [f"{bone}.{side}" for bone in ("upperleg01", "lowerleg01", "foot")]
    hip, knee, ankle = (rig.head(name) for name in names)
    lengths = np.linalg.norm(knee - hip), np.linalg.norm(ankle - knee)
    pelvis = turns[:, rig.index["root"]].copy()
    hip_now = root * limbs.unit_m + pelvis @ (hip - rig.head("root"))
    ahead = pelvis @ np.array([0.15 * sign, -1.0, 0.0])
    upper, lower, hinge = two_bones(
        foot * limbs.unit_m - hip_now, ahead, float(lengths[0]), float(lengths[1])
    )
    across = np.array([1.0, 0.0, 0.0])  # knees bend about this axis: the shin goes back
    rig.set_below(turns, names[0], hinged(unit(knee - hip), across, upper, hinge))
    rig.set_below(turns, names[1], hinged(unit(ankle - knee), across, lower, hinge))
    flat = frame_yaw(pelvis) @ from_axis_angle([0, 0, 0.2 * sign])
    lifted = np.clip((foot[:, 2] - limbs.ankle_height) / 0.4, 0, 1)
    rig.set_below(turns, names[2], flat @ from_axis_angle(lifted[:, None] * [1.2, 0, 0]))


def frame_yaw(frame: Float[np.ndarray, "t 3 3"]) -> Float[np.ndarray, "t 3 3"]:
    """The turn about z alone that looks where the frame looks."""
    ahead = frame @ np.array([0.0, -1.0, 0.0])
    angle = np.arctan2(ahead[..., 0], -ahead[..., 1])
    vectors = np.zeros((*angle.shape, 3))
    vectors[..., 2] = angle
    return from_axis_angle(vectors)


def bend_fingers(rig: Rig, turns: Turns, side: str, amount: Float[np.ndarray, "t"]) -> None:
    """Curl fingers two to five by ``amount`` radians per joint, in place."""
    if f"finger5-1.{side}" not in rig.index:
        return
    across = rig.head(f"finger5-1.{side}") - rig.head(f"finger2-1.{side}")
    palm = unit(np.cross(rig.head(f"finger3-1.{side}") - rig.head(f"wrist.{side}"), across))
    palm = palm if side == "L" else -palm
    wrist = turns[:, rig.index[f"wrist.{side}"]].copy()
    for finger in range(2, 6):
        along = rig.direction(f"finger{finger}-1.{side}", f"finger{finger}-2.{side}")
        axis = unit(np.cross(palm, along))
        for joint in range(1, 4):
            curl = from_axis_angle(-axis * (joint * amount * (0.7 + 0.1 * finger))[:, None])
            turns[:, rig.index[f"finger{finger}-{joint}.{side}"]] = wrist @ curl
