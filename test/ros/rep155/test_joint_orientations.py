# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Orientations of limbs: quaternions by joint that agree with REP-155's kinematic tree."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from perceived import a_body

from thfm_ros.posture.joint_angles import solve_posture
from thfm_ros.posture.joint_orientations import ORIENTED_JOINTS, joint_orientations
from thfm_ros.posture.kinematics import PROPORTIONS, forward_kinematics
from thfm_ros.ros.transform import matrix_from_quaternion
from thfm_ros.skeleton import Joint

LINKS = {  # the link that begins at each joint, and the joint of its parent limb
    Joint.SPINE_LOWER: ("waist", Joint.PELVIS),
    Joint.HEAD: ("p_head", Joint.SPINE_LOWER),
    Joint.LEFT_SHOULDER: ("l_shoulder", Joint.SPINE_LOWER),
    Joint.RIGHT_SHOULDER: ("r_shoulder", Joint.SPINE_LOWER),
    Joint.LEFT_ELBOW: ("l_elbow", Joint.LEFT_SHOULDER),
    Joint.RIGHT_ELBOW: ("r_elbow", Joint.RIGHT_SHOULDER),
    Joint.LEFT_HIP: ("l_hip", Joint.PELVIS),
    Joint.RIGHT_HIP: ("r_hip", Joint.PELVIS),
    Joint.LEFT_KNEE: ("l_knee", Joint.LEFT_HIP),
    Joint.RIGHT_KNEE: ("r_knee", Joint.RIGHT_HIP),
}


def matrix(quaternion: tuple[float, float, float, float]) -> np.ndarray:
    return matrix_from_quaternion(SimpleNamespace(**dict(zip("xyzw", quaternion, strict=True))))


def in_the_frame_of_the_points(positions: np.ndarray) -> dict[Joint, np.ndarray]:
    """The orientation of every limb whose chain of parents is known."""
    known = joint_orientations(positions)
    placed = {Joint.PELVIS: matrix(known[Joint.PELVIS])}
    for joint, (_, parent) in LINKS.items():
        if joint in known and parent in placed:
            placed[joint] = placed[parent] @ matrix(known[joint])
    return placed


def bent(seed: int) -> np.ndarray:
    """An upright person whose joints are moved by up to 20 cm; limbs are bent at random."""
    rng = np.random.default_rng(seed)
    positions = a_body().positions_m.astype(float)
    return positions + rng.uniform(-0.2, 0.2, positions.shape)


@given(st.integers(0, 10_000))
def test_a_chain_of_orientations_is_that_of_the_kinematic_tree(seed: int) -> None:
    positions = bent(seed)
    posture = solve_posture(positions)
    assert posture is not None
    tree = forward_kinematics(PROPORTIONS, posture.angles)
    placed = in_the_frame_of_the_points(positions)
    assert len(placed) > 3
    for joint, rotation in placed.items():
        link = "body" if joint is Joint.PELVIS else LINKS[joint][0]
        np.testing.assert_allclose(rotation, posture.rotation @ tree[link][:3, :3], atol=1e-9)


@given(st.integers(0, 10_000))
def test_limbs_point_along_minus_z_of_their_frames(seed: int) -> None:
    positions = bent(seed)
    placed = in_the_frame_of_the_points(positions)
    for joint, end in (
        (Joint.LEFT_ELBOW, Joint.LEFT_WRIST),
        (Joint.RIGHT_SHOULDER, Joint.RIGHT_ELBOW),
        (Joint.RIGHT_HIP, Joint.RIGHT_KNEE),
        (Joint.LEFT_KNEE, Joint.LEFT_ANKLE),
    ):
        if joint in placed:
            limb = positions[end] - positions[joint]
            np.testing.assert_allclose(-placed[joint][:, 2], limb / np.linalg.norm(limb), atol=1e-6)


def test_a_person_who_faces_the_camera_has_the_bodys_x_towards_it() -> None:
    rotation = matrix(joint_orientations(a_body().positions_m)[Joint.PELVIS])
    np.testing.assert_allclose(rotation[:, 0], [0, 0, -1], atol=0.05)  # forward
    np.testing.assert_allclose(rotation[:, 2], [0, -1, 0], atol=0.05)  # up


def test_how_a_straight_limb_is_turned_about_its_own_axis_is_unknown() -> None:
    positions = a_body().positions_m.copy()
    known = joint_orientations(positions)
    assert Joint.LEFT_HIP not in known and Joint.LEFT_KNEE in known  # the leg is nearly straight
    positions[Joint.LEFT_WRIST] = positions[Joint.LEFT_ELBOW] + [0.0, 0.0, -0.25]
    positions[Joint.RIGHT_WRIST] = positions[Joint.RIGHT_ELBOW] + [0.0, 0.25, 0.0]
    known = joint_orientations(positions)
    assert Joint.LEFT_SHOULDER in known and Joint.RIGHT_SHOULDER not in known


def test_the_elbow_turns_by_its_bend() -> None:
    positions = a_body().positions_m.copy()
    upper = positions[Joint.LEFT_ELBOW] - positions[Joint.LEFT_SHOULDER]
    across = np.cross(upper, [1.0, 0, 0])
    forearm = 0.25 * across / np.linalg.norm(across)
    positions[Joint.LEFT_WRIST] = positions[Joint.LEFT_ELBOW] + forearm
    x, y, z, w = joint_orientations(positions)[Joint.LEFT_ELBOW]
    assert 2 * math.atan2(math.hypot(x, y, z), w) == pytest.approx(math.pi / 2, abs=1e-4)
    assert x == z == 0


def test_without_hips_nothing_is_known_and_without_a_wrist_only_that_arm_is_not() -> None:
    positions = a_body().positions_m.copy()
    positions[Joint.LEFT_WRIST] = np.nan
    missing = set(ORIENTED_JOINTS) - set(joint_orientations(positions))
    assert {Joint.LEFT_SHOULDER, Joint.LEFT_ELBOW} <= missing
    assert Joint.RIGHT_ELBOW not in missing
    positions[Joint.LEFT_HIP] = np.nan
    assert joint_orientations(positions) == {}
