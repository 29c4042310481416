# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""REP-155's body as a kinematic tree: names, lengths, URDF text and forward kinematics.

Numpy only. Frames: x forward, out of the chest, y to the person's left, z towards the head; at
angle zero limbs point along -z. Angles are radians. `joint_angles` is the inverse: from joint
positions to angles.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from thfm_ros.skeleton import Joint

Vector = tuple[float, float, float]
_ZERO: Vector = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class BodySize:
    """Lengths between the joints of a person, metres."""

    torso: float  # midpoint of the hips to midpoint of the shoulders
    neck: float  # midpoint of the shoulders to the base of the skull
    head: float  # radius
    shoulder: float  # half the distance of the shoulders
    upper_arm: float
    forearm: float
    hip: float  # half the distance of the hips
    thigh: float
    shin: float


# Relative to the stature, after common anthropometric tables (joint centres of adults).
PROPORTIONS = BodySize(
    torso=0.29,
    neck=0.06,
    head=0.065,
    shoulder=0.105,
    upper_arm=0.172,
    forearm=0.157,
    hip=0.05,
    thigh=0.245,
    shin=0.246,
)
DEFAULT_STATURE_M = 1.7

_SEGMENTS: dict[str, tuple[tuple[Joint, Joint], ...]] = {
    "upper_arm": (
        (Joint.LEFT_SHOULDER, Joint.LEFT_ELBOW),
        (Joint.RIGHT_SHOULDER, Joint.RIGHT_ELBOW),
    ),
    "forearm": ((Joint.LEFT_ELBOW, Joint.LEFT_WRIST), (Joint.RIGHT_ELBOW, Joint.RIGHT_WRIST)),
    "thigh": ((Joint.LEFT_HIP, Joint.LEFT_KNEE), (Joint.RIGHT_HIP, Joint.RIGHT_KNEE)),
    "shin": ((Joint.LEFT_KNEE, Joint.LEFT_ANKLE), (Joint.RIGHT_KNEE, Joint.RIGHT_ANKLE)),
}


def measure_body(positions_m: Float[np.ndarray, "k 3"]) -> BodySize:
    """Lengths of a person from joint positions, in the order of skeleton.Joint; NaN if unknown.

    A length that cannot be measured follows from the measured ones by average proportions.
    """
    p = positions_m.astype(np.float64)
    known: dict[str, float] = {}
    for name, pairs in _SEGMENTS.items():
        lengths = [float(np.linalg.norm(p[a] - p[b])) for a, b in pairs]
        known[name] = _mean_of_known(lengths)
    shoulders = p[[Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER]]
    hips = p[[Joint.LEFT_HIP, Joint.RIGHT_HIP]]
    known["shoulder"] = float(np.linalg.norm(shoulders[0] - shoulders[1])) / 2
    known["hip"] = float(np.linalg.norm(hips[0] - hips[1])) / 2
    known["torso"] = float(np.linalg.norm(shoulders.mean(axis=0) - hips.mean(axis=0)))
    known = {name: value for name, value in known.items() if 0.01 < value < 2.0}  # drops NaN too
    statures = [value / getattr(PROPORTIONS, name) for name, value in known.items()]
    stature = float(np.median(statures)) if statures else DEFAULT_STATURE_M
    lengths_m = {
        f.name: known.get(f.name, stature * getattr(PROPORTIONS, f.name)) for f in fields(BodySize)
    }
    return BodySize(**lengths_m)


def _mean_of_known(lengths: list[float]) -> float:
    finite = [length for length in lengths if math.isfinite(length)]
    return sum(finite) / len(finite) if finite else math.nan


class TreeJoint(NamedTuple):
    """A joint of the tree: places the link ``child`` at ``origin`` of ``parent`` and rotates it."""

    name: str
    parent: str
    child: str
    axis: Vector  # rotation axis; (0, 0, 0) for a fixed joint
    origin: Vector  # metres, in the parent's frame
    lower: float = 0.0  # limits of the angle, radians
    upper: float = 0.0


# Limits are wider than the anatomical range where measured angles would otherwise exceed them.
_HALF_TURN = math.pi


def tree_joints(size: BodySize) -> Iterator[TreeJoint]:
    """The 26 joints, parents before children; names and axes are REP-155's."""
    yield TreeJoint("waist", "body", "waist", (0, 1, 0), _ZERO, -1.0, 2.0)
    yield TreeJoint("torso", "waist", "torso", _ZERO, (0, 0, size.torso))
    neck = (0, 0, size.neck)
    yield TreeJoint("r_head", "torso", "r_head", (1, 0, 0), neck, -1.5, 1.5)
    yield TreeJoint("y_head", "r_head", "y_head", (0, 0, 1), _ZERO, -1.6, 1.6)
    yield TreeJoint("p_head", "y_head", "p_head", (0, -1, 0), _ZERO, -_HALF_TURN, _HALF_TURN)
    yield TreeJoint("head", "p_head", "head", _ZERO, (size.head / 2, 0, size.head))
    for side, sign in (("l", 1), ("r", -1)):
        yield from _arm(side, sign, size)
        yield from _leg(side, sign, size)


def _arm(side: str, sign: int, size: BodySize) -> Iterator[TreeJoint]:
    at_shoulder = (0, sign * size.shoulder, 0)
    y, p, r, upper = (f"{side}_{name}shoulder" for name in ("y_", "p_", "r_", ""))
    elbow, wrist = f"{side}_elbow", f"{side}_wrist"
    yield TreeJoint(y, "torso", y, (0, 0, -sign), at_shoulder, -_HALF_TURN, _HALF_TURN)
    yield TreeJoint(p, y, p, (sign, 0, 0), _ZERO, -_HALF_TURN, _HALF_TURN)
    yield TreeJoint(r, p, upper, (0, 0, sign), _ZERO, -_HALF_TURN, _HALF_TURN)
    yield TreeJoint(elbow, upper, elbow, (0, -1, 0), (0, 0, -size.upper_arm), -0.35, _HALF_TURN)
    yield TreeJoint(wrist, elbow, wrist, _ZERO, (0, 0, -size.forearm))


def _leg(side: str, sign: int, size: BodySize) -> Iterator[TreeJoint]:
    at_hip = (0, sign * size.hip, 0)
    y, p, r, thigh = (f"{side}_{name}hip" for name in ("y_", "p_", "r_", ""))
    knee, ankle = f"{side}_knee", f"{side}_ankle"
    yield TreeJoint(y, "body", y, (0, 0, -1), at_hip, -_HALF_TURN, _HALF_TURN)
    yield TreeJoint(p, y, p, (sign, 0, 0), _ZERO, -_HALF_TURN / 2, _HALF_TURN / 2)
    yield TreeJoint(r, p, thigh, (0, -1, 0), _ZERO, -_HALF_TURN, _HALF_TURN)
    yield TreeJoint(knee, thigh, knee, (0, -1, 0), (0, 0, -size.thigh), -_HALF_TURN, 0.35)
    yield TreeJoint(ankle, knee, ankle, _ZERO, (0, 0, -size.shin))


REVOLUTE_JOINTS: tuple[str, ...] = (
    "waist",
    "r_head",
    "y_head",
    "p_head",
    *(
        f"{side}_{name}"
        for side in "lr"
        for name in ("y_shoulder", "p_shoulder", "r_shoulder", "elbow")
    ),
    *(f"{side}_{name}" for side in "lr" for name in ("y_hip", "p_hip", "r_hip", "knee")),
)
"""The 20 joints that rotate, in the order of joint_states."""


def axis_rotation(axis: Vector, angle: float) -> Float64[np.ndarray, "3 3"]:
    """Rotation matrix for ``angle`` about the unit vector ``axis``."""
    x, y, z = axis
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + math.sin(angle) * k + (1 - math.cos(angle)) * (k @ k))


def joint_transforms(
    size: BodySize, angles: Mapping[str, float]
) -> Iterator[tuple[TreeJoint, Float64[np.ndarray, "4 4"]]]:
    """Each joint with its T_parent_child, parents before children.

    A joint whose angle is missing in ``angles`` is left out, and so is everything below it.
    """
    placed = {"body"}
    for joint in tree_joints(size):
        revolute = joint.axis != _ZERO
        if joint.parent not in placed or (revolute and joint.name not in angles):
            continue
        placed.add(joint.child)
        transform = np.eye(4)
        transform[:3, 3] = joint.origin
        if revolute:
            transform[:3, :3] = axis_rotation(joint.axis, angles[joint.name])
        yield joint, transform


def forward_kinematics(
    size: BodySize, angles: Mapping[str, float]
) -> dict[str, Float64[np.ndarray, "4 4"]]:
    """T_body_link of every link whose joints have known angles."""
    placed = {"body": np.eye(4)}
    for joint, transform in joint_transforms(size, angles):
        placed[joint.child] = placed[joint.parent] @ transform
    return placed


def urdf(body_id: str, size: BodySize) -> str:
    """The tree as URDF text; names of links and joints end with ``_<body_id>``."""
    tree = list(tree_joints(size))
    cylinders: dict[str, tuple[float, Vector]] = {}
    for joint in tree:
        # A bone is part of the link it starts in and ends at the child's origin.
        length = float(np.linalg.norm(joint.origin))
        if length > 0.0 and joint.child.endswith(("elbow", "wrist", "knee", "ankle", "torso")):
            middle = (joint.origin[0] / 2, joint.origin[1] / 2, joint.origin[2] / 2)
            cylinders[joint.parent] = (length, middle)
    lines = ['<?xml version="1.0"?>', f'<robot name="human_{body_id}">']
    for link in ["body", *(joint.child for joint in tree)]:
        radius = size.head if link == "head" else 0.0
        lines += _link_xml(f"{link}_{body_id}", cylinders.get(link), radius)
    for joint in tree:
        lines += _joint_xml(joint, body_id)
    return "\n".join([*lines, "</robot>"])


def _link_xml(name: str, cylinder: tuple[float, Vector] | None, sphere_radius: float) -> list[str]:
    if cylinder is None and not sphere_radius:
        return [f'  <link name="{name}"/>']
    if cylinder is not None:
        shape, centre = f'<cylinder length="{cylinder[0]:.4f}" radius="0.03"/>', cylinder[1]
    else:
        shape, centre = f'<sphere radius="{sphere_radius:.4f}"/>', _ZERO
    origin = " ".join(f"{v:.4f}" for v in centre)
    return [
        f'  <link name="{name}">',
        f'    <visual><origin xyz="{origin}"/><geometry>{shape}</geometry></visual>',
        "  </link>",
    ]


def _joint_xml(joint: TreeJoint, body_id: str) -> list[str]:
    kind = "fixed" if joint.axis == _ZERO else "revolute"
    origin = " ".join(f"{v:.5f}" for v in joint.origin)
    lines = [
        f'  <joint name="{joint.name}_{body_id}" type="{kind}">',
        f'    <parent link="{joint.parent}_{body_id}"/>',
        f'    <child link="{joint.child}_{body_id}"/>',
        f'    <origin xyz="{origin}"/>',
    ]
    if kind == "revolute":
        axis = " ".join(str(int(v)) for v in joint.axis)
        limits = f'lower="{joint.lower:.4f}" upper="{joint.upper:.4f}"'
        lines += [f'    <axis xyz="{axis}"/>', f'    <limit {limits} effort="0" velocity="0"/>']
    return [*lines, "  </joint>"]
