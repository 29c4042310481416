# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""REP-155 messages, and bodies in another tf frame.

hri_msgs, tf2_msgs and tf2_ros are on no Python index: objects with their fields replace them.
"""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from perceived import CAMERA, HEIGHT, WIDTH, a_body, a_perception
from std_msgs.msg import Header

from thfm_ros.contract import PerceptionError
from thfm_ros.geometry import pack_covariance, quaternion_from_matrix
from thfm_ros.posture.joint_angles import solve_posture
from thfm_ros.posture.kinematics import axis_rotation, forward_kinematics, measure_body
from thfm_ros.ros import transform
from thfm_ros.ros.rep155.body_topics import (
    SmoothedBodySize,
    joint_state,
    region_of_interest,
    skeleton2d,
)
from thfm_ros.ros.rep155.publisher import body_transforms, check_namespace
from thfm_ros.ros.transform import (
    FrameMotion,
    TargetFrame,
    matrix_from_quaternion,
    transformed_body,
)
from thfm_ros.skeleton import Joint

pytestmark = pytest.mark.ros

HEADER = Header(frame_id="camera", stamp=Time(sec=7))
HRI = SimpleNamespace(
    **{
        name: lambda **fields: SimpleNamespace(**fields)
        for name in ("NormalizedRegionOfInterest2D", "NormalizedPointOfInterest2D", "Skeleton2D")
    }
)


def test_the_body_frame_of_a_person_facing_the_camera_points_at_it() -> None:
    """x, out of the chest, points to the camera; z, towards the head, points up in the image."""
    body = a_body(at=(0.1, 0.0, 2.5))
    posture = solve_posture(body.positions_m)
    assert posture is not None
    np.testing.assert_allclose(posture.rotation[:, 0], [0, 0, -1], atol=0.05)
    np.testing.assert_allclose(posture.rotation[:, 2], [0, -1, 0], atol=0.05)
    np.testing.assert_allclose(posture.origin_m, [0.1, 0.0, 2.5], atol=1e-6)


def test_joint_states_leave_out_unknown_angles() -> None:
    body = a_body()
    body.positions_m[Joint.LEFT_WRIST] = np.nan
    posture = solve_posture(body.positions_m)
    assert posture is not None
    msg = joint_state("abcde", posture, HEADER)
    assert "l_elbow_abcde" not in msg.name and "r_elbow_abcde" in msg.name
    assert len(msg.name) == len(msg.position) == 16  # 20 less the four of the left arm
    assert np.isfinite(list(msg.position)).all()


def chained(transforms: list[Any]) -> dict[str, np.ndarray]:
    """T_camera_link from a list of TransformStamped, composed as tf does."""
    placed: dict[str, np.ndarray] = {"camera": np.eye(4)}
    for each in transforms:
        step = np.eye(4)
        q, t = each.transform.rotation, each.transform.translation
        step[:3, :3], step[:3, 3] = matrix_from_quaternion(q), (t.x, t.y, t.z)
        placed[each.child_frame_id] = placed[each.header.frame_id] @ step
    return placed


def test_the_tf_tree_equals_the_kinematic_model() -> None:
    body = a_body()
    posture = solve_posture(body.positions_m)
    assert posture is not None
    size = measure_body(body.positions_m)
    transforms = body_transforms("body_abcde", "abcde", posture, size, HEADER)
    assert all(each.header.stamp.sec == 7 for each in transforms)
    placed = chained(transforms)
    t_camera_body = np.eye(4)
    t_camera_body[:3, :3], t_camera_body[:3, 3] = posture.rotation, posture.origin_m
    for link, t_body_link in forward_kinematics(size, posture.angles).items():
        expected = t_camera_body @ t_body_link
        np.testing.assert_allclose(placed[f"{link}_abcde"], expected, atol=1e-9)
    wrist = placed["r_wrist_abcde"][:3, 3]
    assert np.linalg.norm(wrist - body.positions_m[Joint.RIGHT_WRIST]) < 0.05


def test_the_region_of_interest_is_normalised_by_the_image_size() -> None:
    roi = region_of_interest(HRI, a_body(), a_perception(), HEADER)
    assert (roi.xmin, roi.ymin) == (pytest.approx(20 / WIDTH), pytest.approx(4 / HEIGHT))
    assert (roi.xmax, roi.ymax) == (pytest.approx(50 / WIDTH), pytest.approx(44 / HEIGHT))


def test_the_2d_skeleton_has_the_order_of_the_message() -> None:
    body = a_body()
    body.keypoints[Joint.LEFT_WRIST, :2] = np.nan
    points = skeleton2d(HRI, body, a_perception(), HEADER).skeleton
    assert len(points) == 18
    assert points[0].x == pytest.approx(body.keypoints[Joint.NOSE, 0] / WIDTH)
    assert points[14].x == pytest.approx(body.keypoints[Joint.LEFT_EYE, 0] / WIDTH)
    assert points[2].y == pytest.approx(body.keypoints[Joint.RIGHT_SHOULDER, 1] / HEIGHT)
    assert points[7].c == 0 and math.isnan(points[7].x)


def test_the_described_size_changes_only_if_the_person_differs_clearly() -> None:
    size, rng = SmoothedBodySize(), np.random.default_rng(0)
    body = a_body()
    size.update(body)
    first = size.described
    for _ in range(200):
        noisy = a_body()
        noisy.positions_m[:] += rng.normal(0, 0.01, noisy.positions_m.shape)
        size.update(noisy)
    assert size.described is first
    for _ in range(200):
        taller = a_body(at=(0, 0, 1))
        taller.positions_m[:] *= 1.4
        size.update(taller)
    assert size.described is not first


def test_no_size_is_described_before_the_trunk_was_measured() -> None:
    size, body = SmoothedBodySize(), a_body()
    body.positions_m[Joint.LEFT_HIP] = np.nan
    size.update(body)
    assert size.described is None


unit = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: math.hypot(*v) > 0.1)


@given(unit, st.floats(-math.pi, math.pi))
@settings(max_examples=200, deadline=None)
def test_quaternions_and_matrices_convert_both_ways(
    axis: tuple[float, float, float], angle: float
) -> None:
    x, y, z = np.array(axis) / math.hypot(*axis)
    matrix = axis_rotation((x, y, z), angle)
    q = quaternion_from_matrix(matrix)
    assert math.hypot(*q) == pytest.approx(1)
    converted = matrix_from_quaternion(SimpleNamespace(**dict(zip("xyzw", q, strict=True))))
    np.testing.assert_allclose(converted, matrix, atol=1e-9)


def test_positions_and_covariances_of_a_body_are_transformed() -> None:
    body = a_body()
    spread = np.diag([0.01, 0.04, 0.09])
    body.covariances_m2[:] = pack_covariance(spread)
    r = axis_rotation((0, 0, 1), math.pi / 2)
    result = transformed_body(body, r, np.array([1.0, 2.0, 3.0]), None)
    x, y, z = body.positions_m[5]
    np.testing.assert_allclose(result.positions_m[5], [1 - y, 2 + x, 3 + z], atol=1e-6)
    np.testing.assert_allclose(result.covariances_m2[5], [0.04, 0, 0, 0.01, 0, 0.09], atol=1e-8)
    np.testing.assert_array_equal(result.keypoints, body.keypoints)  # pixels are unchanged


def test_the_velocity_in_another_frame_contains_the_motion_of_the_camera() -> None:
    velocity = np.array([0.5, 0.0, -1.0], np.float32)
    spread = np.array([0.1, 0, 0, 0.2, 0, 0.3], np.float32)
    body = replace(a_body(), velocity_m_s=velocity, velocity_covariance=spread)
    r = axis_rotation((0, 0, 1), math.pi / 2)
    rate = np.array([[0.0, -0.4, 0], [0.4, 0, 0], [0, 0, 0]])  # d rotation / dt
    motion = FrameMotion(rate, np.array([0.0, 0.0, 2.0]))
    result = transformed_body(body, r, np.zeros(3), motion)
    expected = r @ velocity + rate @ body.root_m + [0, 0, 2]
    np.testing.assert_allclose(result.velocity_m_s, expected, atol=1e-6)
    np.testing.assert_allclose(result.velocity_covariance, [0.2, 0, 0, 0.1, 0, 0.3], atol=1e-7)
    unknown = transformed_body(body, r, np.zeros(3), None)
    assert np.isnan(unknown.velocity_m_s).all() and np.isnan(unknown.velocity_covariance).all()


class FakeTf2:
    """Replaces tf2_ros: one transform, from camera to map, is known from second 5 on."""

    class TransformException(Exception):
        pass

    def __init__(self) -> None:
        self.cleared = 0
        self.listening = False
        self.speed = 0.0  # of the camera in map, along x, m/s; at 0 in second 7
        self.srv = "tf2_frames"
        self.Buffer = lambda **_: self
        self.TransformListener = self.listen

    def listen(self, *_: Any) -> "FakeTf2":
        self.listening = True
        return self

    def unregister(self) -> None:
        self.listening = False

    def clear(self) -> None:
        self.cleared += 1

    def lookup_transform(self, target: str, source: str, when: Any, timeout: Any) -> Any:
        if (target, source) != ("map", "camera") or when.nanoseconds < 5e9:
            raise self.TransformException("extrapolation into the past")
        transform = SimpleNamespace(
            rotation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0),
            translation=SimpleNamespace(
                x=self.speed * (when.nanoseconds * 1e-9 - 7), y=0.0, z=10.0
            ),
        )
        return SimpleNamespace(transform=transform)


@pytest.fixture
def tf2(monkeypatch: pytest.MonkeyPatch) -> FakeTf2:
    fake = FakeTf2()
    monkeypatch.setattr(transform, "import_module", lambda name: fake)
    return fake


@pytest.fixture
def map_frame(tf2: FakeTf2) -> TargetFrame:
    return TargetFrame(None, "map", 0.05)


def test_a_leading_slash_of_a_frame_name_is_not_given_to_tf2(
    map_frame: TargetFrame,
) -> None:
    header = Header(stamp=HEADER.stamp, frame_id="/camera")
    with_slash = TargetFrame(None, "/map", 0.05)
    for target in (map_frame, with_slash):
        result = target.transform(a_perception(a_body()), header)
        assert result is not None and result[1].frame_id == "map"


def test_bodies_are_transformed_into_the_target_frame_at_the_time_of_the_image(
    map_frame: TargetFrame,
) -> None:
    perception = a_perception(a_body())
    result = map_frame.transform(perception, HEADER)
    assert result is not None and map_frame.problem == ""
    transformed, header = result
    assert (header.frame_id, header.stamp.sec) == ("map", 7)
    shift = transformed.bodies[0].root_m - perception.bodies[0].root_m
    np.testing.assert_allclose(shift, [0, 0, 10])
    assert transformed.intrinsics == CAMERA


def test_a_person_before_a_moving_camera_has_the_velocity_in_the_target_frame(
    map_frame: TargetFrame, tf2: FakeTf2
) -> None:
    tf2.speed = 0.8
    body = replace(a_body(), velocity_m_s=np.array([-0.8, 0.0, 0.1], np.float32))
    result = map_frame.transform(a_perception(body), HEADER)
    assert result is not None
    np.testing.assert_allclose(result[0].bodies[0].velocity_m_s, [0, 0, 0.1], atol=1e-6)
    first = Header(frame_id="camera", stamp=Time(sec=5))  # nothing is known of before
    result = map_frame.transform(a_perception(body), first)
    assert result is not None and np.isnan(result[0].bodies[0].velocity_m_s).all()
    assert np.isfinite(result[0].bodies[0].root_m).all()


def test_without_the_transform_there_is_no_result_but_a_reason(
    map_frame: TargetFrame,
) -> None:
    early = Header(frame_id="camera", stamp=Time(sec=1))
    assert map_frame.transform(a_perception(a_body()), early) is None
    assert "extrapolation" in map_frame.problem and "'map'" in map_frame.problem
    assert map_frame.transform(a_perception(a_body()), HEADER) is not None
    assert map_frame.problem == ""


def test_closing_ends_the_listener_and_destroys_the_service(tf2: FakeTf2) -> None:
    destroyed: list[str] = []
    node = SimpleNamespace(destroy_service=destroyed.append)
    map_frame = TargetFrame(node, "map", 0.05)
    assert tf2.listening
    map_frame.close()
    assert destroyed == ["tf2_frames"]
    assert vars(tf2)["listening"] is False


@pytest.mark.parametrize(
    "namespace", ["", "/", "/humans", "humans", "~/people", "/robot_1/humans/"]
)
def test_valid_namespaces_are_accepted(namespace: str) -> None:
    check_namespace(namespace)


@pytest.mark.parametrize("namespace", ["/robot-1/humans", "/1/humans", "two words", "/a//b"])
def test_invalid_namespaces_are_refused(namespace: str) -> None:
    with pytest.raises(PerceptionError, match="humans_namespace"):
        check_namespace(namespace)


def test_without_tf2_ros_a_target_frame_is_refused_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(transform, "import_module", missing)
    with pytest.raises(PerceptionError, match="leave target_frame empty"):
        TargetFrame(None, "map", 0.05)
