# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Joint angles of REP-155's body from 3D joint positions, limb by limb, in closed form.

With these angles every limb of the kinematic tree points exactly in the measured direction: arms
are solved in the torso's frame as the tree places it, legs in the body's frame. A joint that
depends on an unknown position has no angle.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from thfm_ros.posture.kinematics import axis_rotation
from thfm_ros.skeleton import Joint

Vec = Float64[np.ndarray, "3"]
Rot = Float64[np.ndarray, "3 3"]

# Below this flexion the axis of a knee or elbow is mostly noise. The limb may then be slightly
# hyperextended, which is better than a rotation by half a turn about its long axis.
NEARLY_STRAIGHT_RAD = 0.35

_SINGULAR = 1e-7  # sine of the angle below which two rotation axes count as parallel


class Posture(NamedTuple):
    """The pose of a body's frame and its known joint angles."""

    rotation: Rot  # R_camera_body
    origin_m: Vec  # midpoint of the hips, in the camera's frame
    angles: dict[str, float]  # radians, by REP-155's joint name without the body's id


def solve_posture(positions_m: Float[np.ndarray, "k 3"]) -> Posture | None:
    """The posture of one person; None unless both hips and the trunk are known.

    Args:
        positions_m: joints in the order of skeleton.Joint, in any right-handed frame, metres;
            NaN if unknown.
    """
    p = positions_m.astype(np.float64)
    hips = p[[Joint.LEFT_HIP, Joint.RIGHT_HIP]]
    shoulders = p[[Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER]]
    origin, chest = hips.mean(axis=0), shoulders.mean(axis=0)
    # The lower spine gives the pelvis' inclination; the waist's angle is that of the upper spine.
    lower_spine = p[Joint.SPINE_MIDDLE] - origin
    if not np.isfinite(lower_spine).all():
        lower_spine = chest - origin
    rotation = _frame(hips[0] - hips[1], lower_spine)
    if rotation is None:
        return None
    in_body = (p - origin) @ rotation  # rows are R_body_camera @ (p - origin)
    angles: dict[str, float] = {}
    for side in ("LEFT", "RIGHT"):
        _add_leg(in_body, side, angles)
    trunk = rotation.T @ (chest - origin)
    if np.isfinite(trunk).all():
        waist = math.atan2(trunk[0], trunk[2])
        angles["waist"] = waist
        in_torso = in_body @ axis_rotation((0, 1, 0), waist)
        for side in ("LEFT", "RIGHT"):
            _add_arm(in_torso, side, angles)
        _add_head(in_torso, angles)
    return Posture(rotation, origin, angles)


def _frame(left: Vec, up: Vec) -> Rot | None:
    """Columns: x forward, y along ``left``, z as close to ``up`` as possible; None if unknown."""
    y = _unit(left)
    x = _unit(_cross(y, up))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    return np.stack([x, y, _cross(x, y)], axis=1)


def _unit(vector: Vec) -> Vec:
    length = math.sqrt(vector @ vector)
    return vector / length if length > 1e-9 else np.full(3, np.nan)


def _cross(a: Vec, b: Vec) -> Vec:
    """The cross product; most of the time of np.cross goes into arrays of vectors."""
    ax, ay, az = a.tolist()
    bx, by, bz = b.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def _limb(upper: Vec, lower: Vec, flexion_sign: int) -> tuple[Rot, float] | None:
    """Rotation of the upper segment, whose axis is -z, and the angle of the hinge below it.

    ``flexion_sign`` is +1 for an elbow (the lower segment moves to +x) and -1 for a knee. The
    angle is about -y, so positive towards +x. None if a segment is unknown.
    """
    along, below = _unit(upper), _unit(lower)
    if not (np.isfinite(along).all() and np.isfinite(below).all()):
        return None
    straight_x = _minimal_rotation_x(along)
    across = below - (below @ along) * along
    sine = math.sqrt(across @ across)
    flexion = math.atan2(sine, float(below @ along))
    x = straight_x if sine < 1e-6 else flexion_sign * across / sine
    angle = flexion_sign * flexion
    if flexion < NEARLY_STRAIGHT_RAD and x @ straight_x < 0:
        x, angle = -x, -angle
    z = -along
    return np.stack([x, _cross(z, x), z], axis=1), angle


def _minimal_rotation_x(along: Vec) -> Vec:
    """The x axis after the smallest rotation that turns -z onto ``along``."""
    x, y, z = along
    a = 1 / max(1 - z, 1e-9)
    rotated = np.array([1 - a * x * x, -a * x * y, x]) if z < 1 - 1e-9 else np.array([-1.0, 0, x])
    return _unit(rotated - (rotated @ along) * along)  # exactly orthogonal, also near straight up


def _add_arm(in_torso: Float64[np.ndarray, "k 3"], side: str, angles: dict[str, float]) -> None:
    shoulder, elbow, wrist = (
        in_torso[Joint[f"{side}_{n}"]] for n in ("SHOULDER", "ELBOW", "WRIST")
    )
    limb = _limb(elbow - shoulder, wrist - elbow, flexion_sign=1)
    if limb is None:
        return
    rotation, elbow_angle = limb
    s, prefix = (1, "l") if side == "LEFT" else (-1, "r")
    # R = Rz(-s yaw) Rx(s pitch) Rz(s roll) has two solutions; take the one nearer to zero.
    across = math.hypot(rotation[0, 2], rotation[1, 2])
    tilt = math.atan2(across, rotation[2, 2])
    if across < _SINGULAR:  # arm straight down or up: yaw and roll have the same axis
        solutions = [(0.0, tilt, math.atan2(-rotation[0, 1], rotation[0, 0]))]
    else:
        first = math.atan2(rotation[0, 2], -rotation[1, 2])
        last = math.atan2(rotation[2, 0], rotation[2, 1])
        solutions = [(first, tilt, last), (_wrap(first + math.pi), -tilt, _wrap(last + math.pi))]
    first, tilt, last = min(solutions, key=lambda turn: abs(turn[0]) + abs(turn[2]))
    angles[f"{prefix}_y_shoulder"] = -s * first
    angles[f"{prefix}_p_shoulder"] = s * tilt
    angles[f"{prefix}_r_shoulder"] = s * last
    angles[f"{prefix}_elbow"] = elbow_angle


def _add_leg(in_body: Float64[np.ndarray, "k 3"], side: str, angles: dict[str, float]) -> None:
    hip, knee, ankle = (in_body[Joint[f"{side}_{n}"]] for n in ("HIP", "KNEE", "ANKLE"))
    limb = _limb(knee - hip, ankle - knee, flexion_sign=-1)
    if limb is None:
        return
    rotation, knee_angle = limb
    s, prefix = (1, "l") if side == "LEFT" else (-1, "r")
    # R = Rz(-yaw) Rx(s pitch) Ry(-roll)
    level = math.hypot(rotation[0, 1], rotation[1, 1])
    if level < _SINGULAR:  # the thigh points sideways: yaw and roll have the same axis
        first, last = 0.0, math.atan2(rotation[0, 2], rotation[0, 0])
    else:
        first = math.atan2(-rotation[0, 1], rotation[1, 1])
        last = math.atan2(-rotation[2, 0], rotation[2, 2])
    angles[f"{prefix}_y_hip"] = -first
    angles[f"{prefix}_p_hip"] = s * math.atan2(rotation[2, 1], level)
    angles[f"{prefix}_r_hip"] = -last
    angles[f"{prefix}_knee"] = knee_angle


def _add_head(in_torso: Float64[np.ndarray, "k 3"], angles: dict[str, float]) -> None:
    ears = in_torso[[Joint.LEFT_EAR, Joint.RIGHT_EAR]]
    eyes = in_torso[[Joint.LEFT_EYE, Joint.RIGHT_EYE]]
    # From ears to eyes is horizontal for a person who looks straight ahead; the nose is lower.
    forward, left = eyes.mean(axis=0) - ears.mean(axis=0), ears[0] - ears[1]
    rotation = _frame(left, _cross(forward, left))
    if rotation is None:
        return
    # R = Rx(roll) Rz(yaw) Ry(-pitch)
    angles["r_head"] = math.atan2(rotation[2, 1], rotation[1, 1])
    angles["y_head"] = math.asin(max(-1.0, min(1.0, -rotation[0, 1])))
    angles["p_head"] = -math.atan2(rotation[0, 2], rotation[0, 0])


def _wrap(angle: float) -> float:
    return math.remainder(angle, 2 * math.pi)
