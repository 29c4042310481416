"""REP-155's body: the URDF, its forward kinematics, and the angles measured from joints."""

import math
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thfm_ros.ros.rep155.joint_angles import posture
from thfm_ros.ros.rep155.kinematics import MOVING, BodySize, about, forward, hinges, measured, urdf
from thfm_ros.skeleton import JOINT_NAMES, Joint

SIZE = BodySize(0.5, 0.1, 0.11, 0.18, 0.3, 0.27, 0.09, 0.42, 0.41)

# By name and by hand from REP-155, so that a slip in human_model.py shows.
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
    """Somebody upright, arms down, facing +x with +z up, the middle of the hips at 0."""
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
    """Angles between the limbs as measured and as the tree, at the found angles, places them."""
    found = posture(positions)
    assert found is not None
    placed = forward(SIZE, found.angles)
    errors = {}
    for parent, child, a, b in LIMBS:
        modelled = found.rotation @ (placed[child][:3, 3] - placed[parent][:3, 3])
        seen = positions[b] - positions[a]
        cross = np.linalg.norm(np.cross(modelled, seen))
        errors[child] = math.atan2(float(cross), float(modelled @ seen))
    return errors


def from_urdf(text: str, angles: dict[str, float]) -> dict[str, np.ndarray]:
    """Forward kinematics of URDF text, written without a look at the package's own."""
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
            step[:3, :3] = about((x, y, z), angles[joint.get("name")])
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
    assert sorted(moving) == sorted(f"{name}_abcde" for name in MOVING)
    parents = {
        joint.find("child").get("link"): joint.find("parent").get("link") for joint in joints
    }
    assert parents["l_y_shoulder_abcde"] == "torso_abcde"
    assert parents["r_y_hip_abcde"] == "body_abcde"


@given(st.lists(st.floats(-1.0, 1.0), min_size=len(MOVING), max_size=len(MOVING)))
@settings(max_examples=25, deadline=None)
def test_our_forward_kinematics_is_that_of_the_urdf_text(values: list[float]) -> None:
    angles = dict(zip(MOVING, values, strict=True))
    ours = forward(SIZE, angles)
    theirs = from_urdf(urdf("x", SIZE), {f"{name}_x": value for name, value in angles.items()})
    assert set(theirs) == {f"{name}_x" for name in ours}
    for name, place in ours.items():
        np.testing.assert_allclose(theirs[f"{name}_x"], place, atol=1e-4)


def test_somebody_upright_with_hanging_arms_is_the_zero_of_all_angles() -> None:
    found = posture(standing())
    assert found is not None
    np.testing.assert_allclose(found.rotation, np.eye(3), atol=1e-12)
    assert set(found.angles) == set(MOVING)
    for name, angle in found.angles.items():
        assert angle == pytest.approx(0, abs=1e-9), name


direction = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: math.hypot(*v) > 0.1)


@given(st.lists(direction, min_size=8, max_size=8), direction, st.floats(-3, 3))
@settings(max_examples=150, deadline=None)
def test_every_limb_of_the_urdf_points_where_the_limb_was_seen(
    directions: list[tuple[float, float, float]], axis: tuple[float, float, float], turn: float
) -> None:
    p = standing()
    for (_, _, a, b), towards in zip(LIMBS, directions, strict=True):
        p[b] = p[a] + 0.3 * np.array(towards) / math.hypot(*towards)
    unit = np.array(axis) / math.hypot(*axis)
    p = p @ about(tuple(unit), turn).T + [0.3, -0.2, 3.0]  # seen from anywhere
    assert max(limb_errors_rad(p).values()) < 1e-5


def test_angles_have_the_signs_of_the_reference_description() -> None:
    """Raising an arm sideways, bending elbow, knee, waist and head: each moves its own angle."""
    p = standing()
    p[Joint.LEFT_ELBOW] = p[Joint.LEFT_SHOULDER] + [0, 0.3, 0]
    p[Joint.LEFT_WRIST] = p[Joint.LEFT_ELBOW] + [0, 0.27, 0]
    p[Joint.RIGHT_WRIST] = p[Joint.RIGHT_ELBOW] + [0.27, 0, 0]
    p[Joint.RIGHT_ANKLE] = p[Joint.RIGHT_KNEE] + [-0.41, 0, 0]
    found = posture(p)
    assert found is not None
    assert found.angles["l_p_shoulder"] == pytest.approx(math.pi / 2)
    assert found.angles["r_elbow"] == pytest.approx(math.pi / 2)
    assert found.angles["r_knee"] == pytest.approx(-math.pi / 2)
    p[[Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER], 0] += 0.5  # bends forward by 45 degrees
    found = posture(p)
    assert found is not None
    assert found.angles["waist"] == pytest.approx(math.pi / 4)


def test_a_head_that_looks_left_and_up_has_positive_yaw_and_pitch() -> None:
    p = standing()
    head = [Joint.LEFT_EAR, Joint.RIGHT_EAR, Joint.LEFT_EYE, Joint.RIGHT_EYE]
    pivot = np.array([0, 0, 0.7])
    p[head] = (p[head] - pivot) @ (about((0, 0, 1), 0.5) @ about((0, -1, 0), 0.3)).T + pivot
    found = posture(p)
    assert found is not None
    assert found.angles["y_head"] == pytest.approx(0.5)
    assert found.angles["p_head"] == pytest.approx(0.3)
    assert found.angles["r_head"] == pytest.approx(0.0, abs=1e-9)


def test_a_knee_measured_slightly_backwards_does_not_turn_the_leg_round() -> None:
    p = standing()
    p[Joint.LEFT_ANKLE] += [0.04, 0, 0]  # 5 degrees the wrong way
    found = posture(p)
    assert found is not None
    assert abs(found.angles["l_y_hip"]) < 0.01
    assert 0 < found.angles["l_knee"] < 0.2


def test_a_limb_that_is_not_seen_has_no_angle_and_no_place() -> None:
    p = standing()
    p[Joint.LEFT_WRIST] = np.nan
    found = posture(p)
    assert found is not None
    assert not any(name.startswith("l_") and "shoulder" in name for name in found.angles)
    placed = forward(SIZE, found.angles)
    assert "l_elbow" not in placed and "r_wrist" in placed


def test_without_hips_there_is_no_posture() -> None:
    p = standing()
    p[Joint.LEFT_HIP] = np.nan
    assert posture(p) is None


def test_lengths_are_measured_and_the_unseen_follow_the_others() -> None:
    p = standing()
    p[[Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE]] = np.nan
    size = measured(p)
    assert size.upper_arm == pytest.approx(0.3)
    assert size.hip == pytest.approx(0.09)
    assert 0.35 < size.shin < 0.5  # 0.41 in truth


def test_nothing_seen_gives_an_average_adult() -> None:
    size = measured(np.full((len(JOINT_NAMES), 3), np.nan))
    assert 1.6 < size.torso + size.neck + 2 * size.head + size.thigh + size.shin < 1.8


def test_parents_come_before_children() -> None:
    placed = {"body"}
    for hinge in hinges(SIZE):
        assert hinge.parent in placed
        placed.add(hinge.child)
