# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Orientations of limbs as unit quaternions, by the joint at which each limb begins.

They are the rotations of REP-155's kinematic tree (`kinematics`), several of its joints in one
where a joint of the body turns about several axes.
"""

import math

import numpy as np
from jaxtyping import Float

from thfm_ros.geometry import quaternion_from_matrix
from thfm_ros.posture.joint_angles import NEARLY_STRAIGHT_RAD, solve_posture
from thfm_ros.posture.kinematics import (
    PROPORTIONS,
    Vector,
    tree_joints,
)
from thfm_ros.skeleton import Joint

Quaternion = tuple[float, float, float, float]  # x, y, z, w

_TURNS: dict[Joint, tuple[str, ...]] = {
    Joint.SPINE_LOWER: ("waist",),
    Joint.HEAD: ("r_head", "y_head", "p_head"),
    Joint.LEFT_SHOULDER: ("l_y_shoulder", "l_p_shoulder", "l_r_shoulder"),
    Joint.RIGHT_SHOULDER: ("r_y_shoulder", "r_p_shoulder", "r_r_shoulder"),
    Joint.LEFT_ELBOW: ("l_elbow",),
    Joint.RIGHT_ELBOW: ("r_elbow",),
    Joint.LEFT_HIP: ("l_y_hip", "l_p_hip", "l_r_hip"),
    Joint.RIGHT_HIP: ("r_y_hip", "r_p_hip", "r_r_hip"),
    Joint.LEFT_KNEE: ("l_knee",),
    Joint.RIGHT_KNEE: ("r_knee",),
}
"""The joints of the tree between a limb and its parent, from the parent on."""

_HINGE_BELOW: dict[Joint, str] = {
    Joint.LEFT_SHOULDER: "l_elbow",
    Joint.RIGHT_SHOULDER: "r_elbow",
    Joint.LEFT_HIP: "l_knee",
    Joint.RIGHT_HIP: "r_knee",
}
"""The hinge whose bend shows how a limb is turned about its own axis."""

ORIENTED_JOINTS: tuple[Joint, ...] = (Joint.PELVIS, *_TURNS)
"""Joints that can have an orientation; that of all others is unknown."""

_AXES: dict[str, Vector] = {joint.name: joint.axis for joint in tree_joints(PROPORTIONS)}


def joint_orientations(positions_m: Float[np.ndarray, "k 3"]) -> dict[Joint, Quaternion]:
    """The known orientations of a person's limbs.

    Frames are those of REP-155: x forward, y to the person's left, z towards the head; limbs
    point along -z when they hang down.

    Args:
        positions_m: joints in the order of skeleton.Joint, in any right-handed frame, metres;
            NaN if unknown.

    Returns:
        By joint: for the pelvis the orientation of the body in the frame of ``positions_m``, for
        the others that of the limb that begins there in the frame of its parent limb. A joint is
        missing if its angles are unknown, and so is a shoulder or hip whose limb is nearly
        straight: how it is turned about its own axis cannot be seen then.
    """
    posture = solve_posture(positions_m)
    if posture is None:
        return {}
    angles = posture.angles
    known = {Joint.PELVIS: quaternion_from_matrix(posture.rotation)}
    for joint, names in _TURNS.items():
        if any(name not in angles for name in names):
            continue
        hinge = _HINGE_BELOW.get(joint)
        if hinge is not None and abs(angles[hinge]) < NEARLY_STRAIGHT_RAD:
            continue
        turns = [_about(_AXES[name], angles[name]) for name in names]
        known[joint] = turns[0]
        for turn in turns[1:]:
            known[joint] = _product(known[joint], turn)
    return known


def _about(axis: Vector, angle: float) -> Quaternion:
    """The rotation by ``angle`` radians about a unit vector."""
    sine = math.sin(angle / 2)
    return axis[0] * sine, axis[1] * sine, axis[2] * sine, math.cos(angle / 2)


def _product(a: Quaternion, b: Quaternion) -> Quaternion:
    """The rotation ``b`` followed by ``a``."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )
