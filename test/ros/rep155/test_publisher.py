"""REP-155 messages, and bodies in another frame. hri_msgs, tf2_msgs and tf2_ros are on no Python
index: stand-ins with their fields take their place, the rest is real."""

import math
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
from thfm_ros.geometry import pack_covariance
from thfm_ros.ros import transform
from thfm_ros.ros.rep155.body_topics import SteadySize, joint_state, region_of_interest, skeleton2d
from thfm_ros.ros.rep155.joint_angles import posture
from thfm_ros.ros.rep155.kinematics import about, forward, measured
from thfm_ros.ros.rep155.publisher import check_namespace, tree
from thfm_ros.ros.transform import IntoFrame, moved, quaternion_of, rotation_of
from thfm_ros.skeleton import Joint

pytestmark = pytest.mark.ros

HEADER = Header(frame_id="camera", stamp=Time(sec=7))
HRI = SimpleNamespace(
    **{
        name: lambda **fields: SimpleNamespace(**fields)
        for name in ("NormalizedRegionOfInterest2D", "NormalizedPointOfInterest2D", "Skeleton2D")
    }
)


def test_a_person_who_faces_the_camera_has_a_body_frame_that_looks_at_it() -> None:
    """x out of the chest is towards the camera, z to the head is up in the image."""
    body = a_body(at=(0.1, 0.0, 2.5))
    found = posture(body.positions_m)
    assert found is not None
    np.testing.assert_allclose(found.rotation[:, 0], [0, 0, -1], atol=0.05)
    np.testing.assert_allclose(found.rotation[:, 2], [0, -1, 0], atol=0.05)
    np.testing.assert_allclose(found.origin_m, [0.1, 0.0, 2.5], atol=1e-6)


def test_joint_states_leave_out_what_is_not_seen() -> None:
    body = a_body()
    body.positions_m[Joint.LEFT_WRIST] = np.nan
    found = posture(body.positions_m)
    assert found is not None
    msg = joint_state("abcde", found, HEADER)
    assert "l_elbow_abcde" not in msg.name and "r_elbow_abcde" in msg.name
    assert len(msg.name) == len(msg.position) == 16  # 20 without the left arm's four
    assert np.isfinite(list(msg.position)).all()


def chained(transforms: list[Any]) -> dict[str, np.ndarray]:
    """T_camera_link of a list of TransformStamped, read as tf does."""
    placed: dict[str, np.ndarray] = {"camera": np.eye(4)}
    for each in transforms:
        step = np.eye(4)
        q, t = each.transform.rotation, each.transform.translation
        step[:3, :3], step[:3, 3] = rotation_of(q), (t.x, t.y, t.z)
        placed[each.child_frame_id] = placed[each.header.frame_id] @ step
    return placed


def test_the_tree_of_frames_is_the_models() -> None:
    body = a_body()
    found = posture(body.positions_m)
    assert found is not None
    size = measured(body.positions_m)
    made = tree("body_abcde", "abcde", found, size, HEADER)
    assert all(each.header.stamp.sec == 7 for each in made)
    placed = chained(made)
    t_camera_body = np.eye(4)
    t_camera_body[:3, :3], t_camera_body[:3, 3] = found.rotation, found.origin_m
    for link, place in forward(size, found.angles).items():
        expected = t_camera_body @ place
        np.testing.assert_allclose(placed[f"{link}_abcde"], expected, atol=1e-9)
    wrist = placed["r_wrist_abcde"][:3, 3]
    assert np.linalg.norm(wrist - body.positions_m[Joint.RIGHT_WRIST]) < 0.05


def test_the_region_of_interest_is_in_shares_of_the_image() -> None:
    roi = region_of_interest(HRI, a_body(), a_perception(), HEADER)
    assert (roi.xmin, roi.ymin) == (pytest.approx(20 / WIDTH), pytest.approx(4 / HEIGHT))
    assert (roi.xmax, roi.ymax) == (pytest.approx(50 / WIDTH), pytest.approx(44 / HEIGHT))


def test_the_2d_skeleton_has_the_messages_own_order() -> None:
    body = a_body()
    body.keypoints[Joint.LEFT_WRIST, :2] = np.nan
    points = skeleton2d(HRI, body, a_perception(), HEADER).skeleton
    assert len(points) == 18
    assert points[0].x == pytest.approx(body.keypoints[Joint.NOSE, 0] / WIDTH)
    assert points[14].x == pytest.approx(body.keypoints[Joint.LEFT_EYE, 0] / WIDTH)
    assert points[2].y == pytest.approx(body.keypoints[Joint.RIGHT_SHOULDER, 1] / HEIGHT)
    assert points[7].c == 0 and math.isnan(points[7].x)


def test_a_description_is_not_sent_for_every_tremor_but_for_another_size() -> None:
    size, rng = SteadySize(), np.random.default_rng(0)
    body = a_body()
    size.follow(body)
    first = size.described
    for _ in range(200):
        noisy = a_body()
        noisy.positions_m[:] += rng.normal(0, 0.01, noisy.positions_m.shape)
        size.follow(noisy)
    assert size.described is first
    for _ in range(200):
        taller = a_body(at=(0, 0, 1))
        taller.positions_m[:] *= 1.4
        size.follow(taller)
    assert size.described is not first


def test_nobody_is_described_by_an_average() -> None:
    size, body = SteadySize(), a_body()
    body.positions_m[Joint.LEFT_HIP] = np.nan
    size.follow(body)
    assert size.described is None


unit = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: math.hypot(*v) > 0.1)


@given(unit, st.floats(-math.pi, math.pi))
@settings(max_examples=200, deadline=None)
def test_quaternions_and_matrices_are_the_same_rotation(
    axis: tuple[float, float, float], angle: float
) -> None:
    x, y, z = np.array(axis) / math.hypot(*axis)
    matrix = about((x, y, z), angle)
    q = quaternion_of(matrix)
    assert math.hypot(*q) == pytest.approx(1)
    there_and_back = rotation_of(SimpleNamespace(**dict(zip("xyzw", q, strict=True))))
    np.testing.assert_allclose(there_and_back, matrix, atol=1e-9)


def test_a_body_in_another_frame_keeps_its_shape_and_turns_its_uncertainty() -> None:
    body = a_body()
    spread = np.diag([0.01, 0.04, 0.09])
    body.covariances_m2[:] = pack_covariance(spread)
    r = about((0, 0, 1), math.pi / 2)
    there = moved(body, r, np.array([1.0, 2.0, 3.0]))
    x, y, z = body.positions_m[5]
    np.testing.assert_allclose(there.positions_m[5], [1 - y, 2 + x, 3 + z], atol=1e-6)
    np.testing.assert_allclose(there.covariances_m2[5], [0.04, 0, 0, 0.01, 0, 0.09], atol=1e-8)
    np.testing.assert_array_equal(there.keypoints, body.keypoints)  # pixels stay pixels


class StandInTf2:
    """tf2_ros with one transform, from camera to map, known from second 5 on."""

    class TransformException(Exception):
        pass

    def __init__(self) -> None:
        self.forgotten = 0
        self.listening = False
        self.srv = "tf2_frames"
        self.Buffer = lambda **_: self
        self.TransformListener = self.listen

    def listen(self, *_: Any) -> "StandInTf2":
        self.listening = True
        return self

    def unregister(self) -> None:
        self.listening = False

    def clear(self) -> None:
        self.forgotten += 1

    def lookup_transform(self, target: str, source: str, when: Any, timeout: Any) -> Any:
        if (target, source) != ("map", "camera") or when.nanoseconds < 5e9:
            raise self.TransformException("extrapolation into the past")
        made = SimpleNamespace(
            rotation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0),
            translation=SimpleNamespace(x=0.0, y=0.0, z=10.0),
        )
        return SimpleNamespace(transform=made)


@pytest.fixture
def tf2(monkeypatch: pytest.MonkeyPatch) -> StandInTf2:
    made = StandInTf2()
    monkeypatch.setattr(transform, "import_module", lambda name: made)
    return made


@pytest.fixture
def into_map(tf2: StandInTf2) -> IntoFrame:
    return IntoFrame(None, "map", 0.05)


def test_bodies_are_published_in_the_target_frame_at_the_images_time(into_map: IntoFrame) -> None:
    seen = a_perception(a_body())
    found = into_map.move(seen, HEADER)
    assert found is not None and into_map.trouble == ""
    moved_seen, header = found
    assert (header.frame_id, header.stamp.sec) == ("map", 7)
    np.testing.assert_allclose(moved_seen.bodies[0].root_m - seen.bodies[0].root_m, [0, 0, 10])
    assert moved_seen.intrinsics == CAMERA


def test_without_the_transform_nothing_is_published_and_the_reason_is_told(
    into_map: IntoFrame,
) -> None:
    early = Header(frame_id="camera", stamp=Time(sec=1))
    assert into_map.move(a_perception(a_body()), early) is None
    assert "extrapolation" in into_map.trouble and "'map'" in into_map.trouble
    assert into_map.move(a_perception(a_body()), HEADER) is not None
    assert into_map.trouble == ""


def test_what_listens_to_tf_is_given_back(tf2: StandInTf2) -> None:
    given_back: list[str] = []
    node = SimpleNamespace(destroy_service=given_back.append)
    into_map = IntoFrame(node, "map", 0.05)
    assert tf2.listening
    into_map.close()
    assert given_back == ["tf2_frames"]
    assert vars(tf2)["listening"] is False


@pytest.mark.parametrize(
    "namespace", ["", "/", "/humans", "humans", "~/people", "/robot_1/humans/"]
)
def test_people_can_be_below_any_name(namespace: str) -> None:
    check_namespace(namespace)


@pytest.mark.parametrize("namespace", ["/robot-1/humans", "/1/humans", "two words", "/a//b"])
def test_people_below_what_is_no_name_are_refused(namespace: str) -> None:
    with pytest.raises(PerceptionError, match="humans_namespace"):
        check_namespace(namespace)


def test_without_tf2_a_target_frame_is_refused_with_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(transform, "import_module", missing)
    with pytest.raises(PerceptionError, match="leave target_frame empty"):
        IntoFrame(None, "map", 0.05)
