"""The body of REP-155 as a kinematic tree: names, lengths, URDF text and forward kinematics.

Numpy only. Frames: x out of the chest, y to the person's left, z to the head; limbs hang along
-z at angle zero. Angles are radians. `human_angles` is the way back, from joints to angles.
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

    torso: float  # hips' middle to shoulders' middle
    neck: float  # shoulders' middle to the joint of the skull
    head: float  # radius
    shoulder: float  # half the distance of the shoulders
    upper_arm: float
    forearm: float
    hip: float  # half the distance of the hips
    thigh: float
    shin: float


# Shares of the stature, after common anthropometric tables (joint centres, adults).
_SHARES = BodySize(
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


def measured(positions_m: Float[np.ndarray, "k 3"]) -> BodySize:
    """Lengths of a person as seen; what is not seen follows the others' proportions."""
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
    statures = [value / getattr(_SHARES, name) for name, value in known.items()]
    stature = float(np.median(statures)) if statures else DEFAULT_STATURE_M
    return BodySize(
        **{f.name: known.get(f.name, stature * getattr(_SHARES, f.name)) for f in fields(BodySize)}
    )


def _mean_of_known(lengths: list[float]) -> float:
    finite = [length for length in lengths if math.isfinite(length)]
    return sum(finite) / len(finite) if finite else math.nan


class Hinge(NamedTuple):
    """A joint of the tree: it carries ``child`` at ``origin`` of ``parent`` and turns it."""

    name: str
    parent: str
    child: str
    axis: Vector  # (0, 0, 0) for a fixed joint
    origin: Vector  # metres, in the parent's frame
    lower: float = 0.0
    upper: float = 0.0


# Wider than a comfortable range where measured joints would otherwise fall outside.
_HALF_TURN = math.pi


def hinges(size: BodySize) -> Iterator[Hinge]:
    """The 26 joints, parents first; names and axes are REP-155's."""
    yield Hinge("waist", "body", "waist", (0, 1, 0), _ZERO, -1.0, 2.0)
    yield Hinge("torso", "waist", "torso", _ZERO, (0, 0, size.torso))
    neck = (0, 0, size.neck)
    yield Hinge("r_head", "torso", "r_head", (1, 0, 0), neck, -1.5, 1.5)
    yield Hinge("y_head", "r_head", "y_head", (0, 0, 1), _ZERO, -1.6, 1.6)
    yield Hinge("p_head", "y_head", "p_head", (0, -1, 0), _ZERO, -_HALF_TURN, _HALF_TURN)
    yield Hinge("head", "p_head", "head", _ZERO, (size.head / 2, 0, size.head))
    for side, sign in (("l", 1), ("r", -1)):
        yield from _arm(side, sign, size)
        yield from _leg(side, sign, size)


def _arm(side: str, sign: int, size: BodySize) -> Iterator[Hinge]:
    at_shoulder = (0, sign * size.shoulder, 0)
    y, p, r, upper = (f"{side}_{name}shoulder" for name in ("y_", "p_", "r_", ""))
    elbow, wrist = f"{side}_elbow", f"{side}_wrist"
    yield Hinge(y, "torso", y, (0, 0, -sign), at_shoulder, -_HALF_TURN, _HALF_TURN)
    yield Hinge(p, y, p, (sign, 0, 0), _ZERO, -_HALF_TURN, _HALF_TURN)
    yield Hinge(r, p, upper, (0, 0, sign), _ZERO, -_HALF_TURN, _HALF_TURN)
    yield Hinge(elbow, upper, elbow, (0, -1, 0), (0, 0, -size.upper_arm), -0.35, _HALF_TURN)
    yield Hinge(wrist, elbow, wrist, _ZERO, (0, 0, -size.forearm))


def _leg(side: str, sign: int, size: BodySize) -> Iterator[Hinge]:
    at_hip = (0, sign * size.hip, 0)
    y, p, r, thigh = (f"{side}_{name}hip" for name in ("y_", "p_", "r_", ""))
    knee, ankle = f"{side}_knee", f"{side}_ankle"
    yield Hinge(y, "body", y, (0, 0, -1), at_hip, -_HALF_TURN, _HALF_TURN)
    yield Hinge(p, y, p, (sign, 0, 0), _ZERO, -_HALF_TURN / 2, _HALF_TURN / 2)
    yield Hinge(r, p, thigh, (0, -1, 0), _ZERO, -_HALF_TURN, _HALF_TURN)
    yield Hinge(knee, thigh, knee, (0, -1, 0), (0, 0, -size.thigh), -_HALF_TURN, 0.35)
    yield Hinge(ankle, knee, ankle, _ZERO, (0, 0, -size.shin))


MOVING: tuple[str, ...] = (
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
"""The 20 joints that turn, in the order of joint_states."""


def about(axis: Vector, angle: float) -> Float64[np.ndarray, "3 3"]:
    """Rotation by ``angle`` about a unit ``axis``."""
    x, y, z = axis
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + math.sin(angle) * k + (1 - math.cos(angle)) * (k @ k))


def steps(
    size: BodySize, angles: Mapping[str, float]
) -> Iterator[tuple[Hinge, Float64[np.ndarray, "4 4"]]]:
    """T_parent_child of every joint that can be placed, parents first.

    What lies behind a joint whose angle is not given has no place, and does not come.
    """
    placed = {"body"}
    for hinge in hinges(size):
        moves = hinge.axis != _ZERO
        if hinge.parent not in placed or (moves and hinge.name not in angles):
            continue
        placed.add(hinge.child)
        step = np.eye(4)
        step[:3, 3] = hinge.origin
        if moves:
            step[:3, :3] = about(hinge.axis, angles[hinge.name])
        yield hinge, step


def forward(size: BodySize, angles: Mapping[str, float]) -> dict[str, Float64[np.ndarray, "4 4"]]:
    """T_body_link of every link that can be placed."""
    placed = {"body": np.eye(4)}
    for hinge, step in steps(size, angles):
        placed[hinge.child] = placed[hinge.parent] @ step
    return placed


def urdf(body_id: str, size: BodySize) -> str:
    """The tree as URDF text; every link and joint carries ``_<body_id>``."""
    tree = list(hinges(size))
    bars: dict[str, tuple[float, Vector]] = {}
    for hinge in tree:
        # A bone is drawn in the link it belongs to, as far as its end's origin.
        length = float(np.linalg.norm(hinge.origin))
        if length > 0.0 and hinge.child.endswith(("elbow", "wrist", "knee", "ankle", "torso")):
            middle = (hinge.origin[0] / 2, hinge.origin[1] / 2, hinge.origin[2] / 2)
            bars[hinge.parent] = (length, middle)
    lines = ['<?xml version="1.0"?>', f'<robot name="human_{body_id}">']
    for link in ["body", *(hinge.child for hinge in tree)]:
        lines += _link(f"{link}_{body_id}", bars.get(link), size.head if link == "head" else 0.0)
    for hinge in tree:
        lines += _joint(hinge, body_id)
    return "\n".join([*lines, "</robot>"])


def _link(name: str, bar: tuple[float, Vector] | None, ball_radius: float) -> list[str]:
    if bar is None and not ball_radius:
        return [f'  <link name="{name}"/>']
    if bar is not None:
        shape, at = f'<cylinder length="{bar[0]:.4f}" radius="0.03"/>', bar[1]
    else:
        shape, at = f'<sphere radius="{ball_radius:.4f}"/>', _ZERO
    where = " ".join(f"{v:.4f}" for v in at)
    return [
        f'  <link name="{name}">',
        f'    <visual><origin xyz="{where}"/><geometry>{shape}</geometry></visual>',
        "  </link>",
    ]


def _joint(hinge: Hinge, body_id: str) -> list[str]:
    kind = "fixed" if hinge.axis == _ZERO else "revolute"
    origin = " ".join(f"{v:.5f}" for v in hinge.origin)
    lines = [
        f'  <joint name="{hinge.name}_{body_id}" type="{kind}">',
        f'    <parent link="{hinge.parent}_{body_id}"/>',
        f'    <child link="{hinge.child}_{body_id}"/>',
        f'    <origin xyz="{origin}"/>',
    ]
    if kind == "revolute":
        axis = " ".join(str(int(v)) for v in hinge.axis)
        limits = f'lower="{hinge.lower:.4f}" upper="{hinge.upper:.4f}"'
        lines += [f'    <axis xyz="{axis}"/>', f'    <limit {limits} effort="0" velocity="0"/>']
    return [*lines, "  </joint>"]
