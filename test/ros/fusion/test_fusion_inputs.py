# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Inputs of the fusion node: topics, publishers, poses of cameras, bodies from messages."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from perceived import a_body, a_perception
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from thfm_ros.contract import PerceptionError, TrackState
from thfm_ros.msg import Body, BodyArray, Joint
from thfm_ros.result_messages.bodies import BodyArrayMaker
from thfm_ros.result_messages.read_bodies import perception_from_bodies
from thfm_ros.ros import transform
from thfm_ros.ros.fusion.camera_poses import CameraPoses, fixed_poses
from thfm_ros.ros.fusion.inputs import camera_names, publisher_problem
from thfm_ros.ros.to_msg.kinds import ros_message

pytestmark = pytest.mark.ros

HASH = "RIHS01_" + "1" * 64
HEADER = Header(frame_id="left_optical", stamp=Time(sec=7))


def publisher(
    name: str = "thfm", kind: str = "thfm_ros/msg/BodyArray", type_hash: str = HASH
) -> Any:
    return SimpleNamespace(
        node_name=name, node_namespace="/left", topic_type=kind, topic_type_hash=type_hash
    )


def test_the_only_publisher_of_this_version_is_accepted() -> None:
    assert publisher_problem("/left/thfm/bodies", [publisher()], HASH) == ""
    assert publisher_problem("/left/thfm/bodies", [publisher()], "") == ""  # Humble has no hashes


@pytest.mark.parametrize(
    ("publishers", "words"),
    [
        ([], ["no node publishes"]),
        ([publisher(), publisher()], ["2 publishers", "/left/thfm", "one name", "__ns:="]),
        ([publisher(type_hash="RIHS01_" + "2" * 64)], ["another version", "RIHS01_2", "RIHS01_1"]),
        ([publisher(kind="std_msgs/msg/String")], ["std_msgs/msg/String", "BodyArray is needed"]),
    ],
)
def test_publishers_that_cannot_be_trusted_are_named(
    publishers: list[Any], words: list[str]
) -> None:
    problem = publisher_problem("/left/thfm/bodies", publishers, HASH)
    assert all(word in problem for word in words)


def test_cameras_are_named_after_their_topics() -> None:
    topics = ["/left/thfm/bodies", "right/thfm/bodies", "/people"]
    assert camera_names(topics) == {
        "left/thfm": "/left/thfm/bodies",
        "right/thfm": "/right/thfm/bodies",
        "people": "/people",
    }


@pytest.mark.parametrize(
    ("topics", "reason"),
    [([""], "inputs is empty"), (["/a/bodies", "a/bodies"], "two cameras cannot have one name")],
)
def test_topics_that_are_missing_or_given_twice_are_refused(topics: list[str], reason: str) -> None:
    with pytest.raises(PerceptionError, match=reason):
        camera_names(topics)


def test_poses_are_those_of_static_transform_publisher() -> None:
    """An optical frame that looks along x of the world: x right, y down, z forward."""
    poses = fixed_poses(["/left 1 2 3 -1.5707963 0 -1.5707963", ""])
    rotation, translation = poses["left"]
    np.testing.assert_allclose(rotation @ [0, 0, 1], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(rotation @ [0, 1, 0], [0, 0, -1], atol=1e-6)
    np.testing.assert_array_equal(translation, [1, 2, 3])


@pytest.mark.parametrize(
    "text", ["left 1 2 3", "left 1 2 3 0 0 x", "left 1 2 3 0 0 nan", "left 1 2 3 4 5 6 7"]
)
def test_poses_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(PerceptionError, match="FRAME_ID X Y Z ROLL PITCH YAW"):
        fixed_poses([text])


def test_two_poses_of_one_frame_are_refused() -> None:
    with pytest.raises(PerceptionError, match="two poses of"):
        fixed_poses(["left 0 0 0 0 0 0", "/left 0 0 1 0 0 0"])


class FakeTf2:
    """Replaces tf2_ros, which is on no Python index: camera to map is known up to second 5."""

    class TransformException(Exception):
        pass

    def __init__(self) -> None:
        self.Buffer = self.TransformListener = lambda *_, **__: self

    def lookup_transform(self, target: str, source: str, when: Any, timeout: Any) -> Any:
        if source != "left_optical":
            raise self.TransformException(f"{source} does not exist")
        if when.nanoseconds > 5e9:
            raise self.TransformException("extrapolation into the future")
        rotation = SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0)
        translation = SimpleNamespace(x=1.0, y=2.0, z=3.0)
        return SimpleNamespace(
            transform=SimpleNamespace(rotation=rotation, translation=translation)
        )


@pytest.fixture
def tf_poses(monkeypatch: pytest.MonkeyPatch) -> CameraPoses:
    fake = FakeTf2()
    monkeypatch.setattr(transform, "import_module", lambda name: fake)
    return CameraPoses(None, "map", {})


def test_bodies_are_taken_into_the_world_by_tf(tf_poses: CameraPoses) -> None:
    perception = a_perception(a_body())
    result = tf_poses.to_world(perception, Header(frame_id="left_optical", stamp=Time(sec=4)))
    assert result is not None
    np.testing.assert_allclose(
        result[0].bodies[0].root_m, perception.bodies[0].root_m + np.array([1, 2, 3]), rtol=1e-6
    )
    np.testing.assert_array_equal(result[1], [1, 2, 3])


@pytest.mark.parametrize(
    ("frame_id", "second", "words"),
    [
        ("left_optical", 7, ["left_optical", "map", "into the future"]),
        ("other", 4, ["'other'", "does not exist"]),
        ("", 4, ["no frame_id"]),
    ],
)
def test_a_transform_that_is_missing_or_of_another_time_is_named(
    tf_poses: CameraPoses, frame_id: str, second: int, words: list[str]
) -> None:
    header = Header(frame_id=frame_id, stamp=Time(sec=second))
    assert tf_poses.to_world(a_perception(a_body()), header) is None
    assert all(word in tf_poses.problem for word in words)


def test_bodies_that_are_in_the_world_already_are_taken_as_they_are(tf_poses: CameraPoses) -> None:
    perception = a_perception(a_body())
    result = tf_poses.to_world(perception, Header(frame_id="/map"))
    assert result is not None and result[0] is perception and np.isnan(result[1]).all()


def test_without_tf2_ros_poses_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(transform, "import_module", missing)
    with pytest.raises(PerceptionError, match="camera_poses"):
        CameraPoses(None, "map", {})
    given = CameraPoses(None, "map", fixed_poses(["left_optical 0 0 0 0 0 0"]))
    assert given.to_world(a_perception(a_body()), HEADER) is not None
    assert given.to_world(a_perception(a_body()), Header(frame_id="right")) is None
    assert "no pose of 'right'" in given.problem


@pytest.mark.parametrize("state", TrackState)
def test_bodies_are_read_as_they_were_published(state: TrackState) -> None:
    body = a_body(state=state)
    body.positions_m[3] = math.nan
    made = BodyArrayMaker(ros_message).array(a_perception(body), HEADER)
    read = perception_from_bodies(deserialize_message(serialize_message(made), BodyArray))
    (result,) = read.bodies
    assert (read.stamp_ns, read.frame_id, read.width) == (7 * 10**9, "left_optical", 64)
    assert (result.id, result.state) == (body.id, state)
    for name in ("box", "keypoints", "positions_m", "covariances_m2", "root_m", "velocity_m_s"):
        np.testing.assert_array_equal(getattr(result, name), getattr(body, name), err_msg=name)
    np.testing.assert_array_equal(result.root_covariance_m2, body.root_covariance_m2)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (Body(joints=[Joint()] * 17), "17 joints"),
        (Body(joints=[Joint()] * 35, state=9), "state 9"),
    ],
)
def test_bodies_of_another_version_are_refused(body: Body, reason: str) -> None:
    with pytest.raises(PerceptionError, match=reason):
        perception_from_bodies(BodyArray(bodies=[body]))
