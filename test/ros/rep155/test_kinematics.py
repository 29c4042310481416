# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""REP-155's body: the URDF, its forward kinematics, and joint angles from joint positions."""

import math
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thfm_ros.posture.joint_angles import solve_posture
from thfm_ros.posture.kinematics import (
    REVOLUTE_JOINTS,
    BodySize,
    axis_rotation,
    forward_kinematics,
    measure_body,
    tree_joints,
    urdf,
)
from thfm_ros.skeleton import JOINT_NAMES, Joint

SIZE = BodySize(0.5, 0.1, 0.11, 0.18, 0.3, 0.27, 0.09, 0.42, 0.41)

# Copied from REP-155 by hand, to detect errors in kinematics.py.
LINKS = {"body", "waist", "torso", "r_head", "y_head", "p_head", "head"} | {
    f"{side}_{name}"
    for side in "lr"
    for name in (
        *("y_shoulder", "p_shoulder", "shoulder", "elbow", "wrist"),
        *("y_hip", "p_hip", "hip", "knee", "ankle"),
    )
}
LIMBS = [
    ("l_shoulder", "l_elbow", Joint.LEFT_SHOULDER, Joint.LEFT_ELBOW),
    ("l_elbow", "l_wrist", Joint.LEFT_ELBOW, Joint.LEFT_WRIST),
    ("r_shoulder", "r_elbow", Joint.RIGHT_SHOULDER, Joint.RIGHT_ELBOW),
    ("r_elbow", "r_wrist", Joint.RIGHT_ELBOW, Joint.RIGHT_WRIST),
    ("l_hip", "l_knee", Joint.LEFT_HIP, Joint.LEFT_KNEE),
    ("l_knee", "l_ankle", Joint.LEFT_KNEE, Joint.LEFT_ANKLE),
    ("r_hip", "r_knee", Joint.RIGHT_HIP, Joint.RIGHT_KNEE),
    ("r_knee", "r_ankle", Joint.RIGHT_KNEE, Joint.RIGHT_ANKLE),
]


def standing() -> np.ndarray:
    """A person upright, arms down, facing +x with +z up, the midpoint of the hips at 0."""
    p = np.full((len(JOINT_NAMES), 3), np.nan)
    for side, y in (("LEFT", 1.0), ("RIGHT", -1.0)):
        p[Joint[f"{side}_HIP"]] = 0, 0.09 * y, 0
        p[Joint[f"{side}_KNEE"]] = 0, 0.09 * y, -0.42
        p[Joint[f"{side}_ANKLE"]] = 0, 0.09 * y, -0.83
        p[Joint[f"{side}_SHOULDER"]] = 0, 0.18 * y, 0.5
        p[Joint[f"{side}_ELBOW"]] = 0, 0.18 * y, 0.2
        p[Joint[f"{side}_WRIST"]] = 0, 0.18 * y, -0.07
        p[Joint[f"{side}_EAR"]] = 0, 0.07 * y, 0.7
        p[Joint[f"{side}_EYE"]] = 0.09, 0.03 * y, 0.7
    p[Joint.SPINE_MIDDLE] = 0, 0, 0.25
    p[Joint.NECK] = 0, 0, 0.52
    return p


def limb_errors_rad(positions: np.ndarray) -> dict[str, float]:
    """Angle between each measured limb and the same limb of the tree with the solved angles."""
    posture = solve_posture(positions)
    assert posture is not None
    placed = forward_kinematics(SIZE, posture.angles)
    errors = {}
    for parent, child, a, b in LIMBS:
        modelled = posture.rotation @ (placed[child][:3, 3] - placed[parent][:3, 3])
        measured = positions[b] - positions[a]
        cross = np.linalg.norm(np.cross(modelled, measured))
        errors[child] = math.atan2(float(cross), float(modelled @ measured))
    return errors


def from_urdf(text: str, angles: dict[str, float]) -> dict[str, np.ndarray]:
    """Forward kinematics of URDF text, implemented independently of the package."""
    robot: Any = ET.fromstring(text)
    joints = robot.findall("joint")
    children = {joint.find("child").get("link") for joint in joints}
    links = [link.get("name") for link in robot.findall("link")]
    placed = {name: np.eye(4) for name in links if name not in children}
    assert len(placed) == 1  # one root
    while joints:
        joint = next(j for j in joints if j.find("parent").get("link") in placed)
        joints.remove(joint)
        step = np.eye(4)
        step[:3, 3] = [float(v) for v in joint.find("origin").get("xyz").split()]
        if joint.get("type") == "revolute":
            x, y, z = (float(v) for v in joint.find("axis").get("xyz").split())
            step[:3, :3] = axis_rotation((x, y, z), angles[joint.get("name")])
        parent = joint.find("parent").get("link")
        placed[joint.find("child").get("link")] = placed[parent] @ step
    return placed


def test_the_urdf_has_the_links_and_joints_of_rep155() -> None:
    robot: Any = ET.fromstring(urdf("abcde", SIZE))
    links = [link.get("name") for link in robot.findall("link")]
    joints = robot.findall("joint")
    names = [joint.get("name") for joint in joints]
    assert sorted(links) == sorted(f"{name}_abcde" for name in LINKS)
    assert len(names) == 26 and len(set(names)) == 26
    moving = [joint.get("name") for joint in joints if joint.get("type") == "revolute"]
    assert sorted(moving) == sorted(f"{name}_abcde" for name in REVOLUTE_JOINTS)
    parents = {
        joint.find("child").get("link"): joint.find("parent").get("link") for joint in joints
    }
    assert parents["l_y_shoulder_abcde"] == "torso_abcde"
    assert parents["r_y_hip_abcde"] == "body_abcde"


@given(st.lists(st.floats(-1.0, 1.0), min_size=len(REVOLUTE_JOINTS), max_size=len(REVOLUTE_JOINTS)))
@settings(max_examples=25, deadline=None)
def test_forward_kinematics_equals_that_of_the_urdf_text(values: list[float]) -> None:
    angles = dict(zip(REVOLUTE_JOINTS, values, strict=True))
    links = forward_kinematics(SIZE, angles)
    expected = from_urdf(urdf("x", SIZE), {f"{name}_x": value for name, value in angles.items()})
    assert set(expected) == {f"{name}_x" for name in links}
    for name, pose in links.items():
        np.testing.assert_allclose(expected[f"{name}_x"], pose, atol=1e-4)


def test_all_angles_of_a_person_upright_with_arms_down_are_zero() -> None:
    posture = solve_posture(standing())
    assert posture is not None
    np.testing.assert_allclose(posture.rotation, np.eye(3), atol=1e-12)
    assert set(posture.angles) == set(REVOLUTE_JOINTS)
    for name, angle in posture.angles.items():
        assert angle == pytest.approx(0, abs=1e-9), name


direction = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: math.hypot(*v) > 0.1)


@given(st.lists(direction, min_size=8, max_size=8), direction, st.floats(-3, 3))
@settings(max_examples=150, deadline=None)
def test_every_limb_of_the_tree_points_in_the_measured_direction(
    directions: list[tuple[float, float, float]], axis: tuple[float, float, float], turn: float
) -> None:
    p = standing()
    for (_, _, a, b), towards in zip(LIMBS, directions, strict=True):
        p[b] = p[a] + 0.3 * np.array(towards) / math.hypot(*towards)
    unit = np.array(axis) / math.hypot(*axis)
    p = p @ axis_rotation(tuple(unit), turn).T + [0.3, -0.2, 3.0]  # any camera pose
    assert max(limb_errors_rad(p).values()) < 1e-5


def test_angles_have_the_signs_of_rep155() -> None:
    """An arm raised sideways, and flexion of elbow, knee and waist."""
    p = standing()
    p[Joint.LEFT_ELBOW] = p[Joint.LEFT_SHOULDER] + [0, 0.3, 0]
    p[Joint.LEFT_WRIST] = p[Joint.LEFT_ELBOW] + [0, 0.27, 0]
    p[Joint.RIGHT_WRIST] = p[Joint.RIGHT_ELBOW] + [0.27, 0, 0]
    p[Joint.RIGHT_ANKLE] = p[Joint.RIGHT_KNEE] + [-0.41, 0, 0]
    posture = solve_posture(p)
    assert posture is not None
    assert posture.angles["l_p_shoulder"] == pytest.approx(math.pi / 2)
    assert posture.angles["r_elbow"] == pytest.approx(math.pi / 2)
    assert posture.angles["r_knee"] == pytest.approx(-math.pi / 2)
    p[[Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER], 0] += 0.5  # bends forward by 45 degrees
    posture = solve_posture(p)
    assert posture is not None
    assert posture.angles["waist"] == pytest.approx(math.pi / 4)


def test_a_head_turned_left_and_up_has_positive_yaw_and_pitch() -> None:
    p = standing()
    head = [Joint.LEFT_EAR, Joint.RIGHT_EAR, Joint.LEFT_EYE, Joint.RIGHT_EYE]
    pivot = np.array([0, 0, 0.7])
    p[head] = (p[head] - pivot) @ (
        axis_rotation((0, 0, 1), 0.5) @ axis_rotation((0, -1, 0), 0.3)
    ).T + pivot
    posture = solve_posture(p)
    assert posture is not None
    assert posture.angles["y_head"] == pytest.approx(0.5)
    assert posture.angles["p_head"] == pytest.approx(0.3)
    assert posture.angles["r_head"] == pytest.approx(0.0, abs=1e-9)


def test_a_slightly_hyperextended_knee_does_not_rotate_the_leg() -> None:
    p = standing()
    p[Joint.LEFT_ANKLE] += [0.04, 0, 0]  # 5 degrees of hyperextension
    posture = solve_posture(p)
    assert posture is not None
    assert abs(posture.angles["l_y_hip"]) < 0.01
    assert 0 < posture.angles["l_knee"] < 0.2


def test_an_unknown_limb_has_no_angles_and_no_links() -> None:
    p = standing()
    p[Joint.LEFT_WRIST] = np.nan
    posture = solve_posture(p)
    assert posture is not None
    assert not any(name.startswith("l_") and "shoulder" in name for name in posture.angles)
    placed = forward_kinematics(SIZE, posture.angles)
    assert "l_elbow" not in placed and "r_wrist" in placed


def test_without_hips_there_is_no_posture() -> None:
    p = standing()
    p[Joint.LEFT_HIP] = np.nan
    assert solve_posture(p) is None


def test_unknown_lengths_follow_from_the_measured_ones() -> None:
    p = standing()
    p[[Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE]] = np.nan
    size = measure_body(p)
    assert size.upper_arm == pytest.approx(0.3)
    assert size.hip == pytest.approx(0.09)
    assert 0.35 < size.shin < 0.5  # ground truth: 0.41


def test_without_known_joints_the_size_is_that_of_an_average_adult() -> None:
    size = measure_body(np.full((len(JOINT_NAMES), 3), np.nan))
    assert 1.6 < size.torso + size.neck + 2 * size.head + size.thigh + size.shin < 1.8


def test_parents_come_before_children() -> None:
    placed = {"body"}
    for joint in tree_joints(SIZE):
        assert joint.parent in placed
        placed.add(joint.child)
