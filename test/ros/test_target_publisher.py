# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The chosen person as messages: pose, tf frame and state; answers of ~/follow."""

import math
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from perceived import a_body, a_perception
from std_msgs.msg import Header

from thfm_ros.config import Config
from thfm_ros.contract import Body, Perception
from thfm_ros.msg import TargetInfo
from thfm_ros.posture.joint_angles import solve_posture
from thfm_ros.ros import target_publisher
from thfm_ros.ros.target_publisher import TargetPublisher
from thfm_ros.ros.transform import matrix_from_quaternion
from thfm_ros.srv import Follow

pytestmark = pytest.mark.ros

HEADER = Header(frame_id="map")


class Setup:
    """A publisher whose messages are kept by topic, with tf."""

    def __init__(self) -> None:
        self.sent: dict[str, list[Any]] = {}
        self.stamp_ns = 10**9
        self.target = TargetPublisher(None, Config())

    def create_publisher(self, node: Any, kind: Any, name: str, qos: Any) -> Any:
        return SimpleNamespace(publish=self.sent.setdefault(name, []).append)

    def follow(self, mode: int, body_id: str = "") -> Any:
        request = Follow.Request(mode=mode, id=body_id)
        return self.target.request(request, Follow.Response())

    def publish(self, *bodies: Body, transformed: bool = True) -> Perception:
        """Publish a frame 0.1 s after the one before."""
        self.stamp_ns += 10**8
        perception = replace(a_perception(*bodies), stamp_ns=self.stamp_ns)
        self.target.publish(perception, (perception, HEADER) if transformed else None)
        return perception


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    made = Setup.__new__(Setup)
    monkeypatch.setattr(target_publisher, "create_publisher", made.create_publisher)
    monkeypatch.setattr(target_publisher, "has_subscribers", lambda publisher: bool(publisher))
    tf2_msgs = SimpleNamespace(TFMessage=lambda transforms: transforms)
    monkeypatch.setattr(target_publisher, "import_module", lambda name: tf2_msgs)
    made.sent = {}
    Setup.__init__(made)
    yield made


def test_the_pose_of_the_chosen_person_is_published_and_broadcast(setup: Setup) -> None:
    body = a_body()
    setup.publish(body)
    assert setup.sent["~/target"] == []
    assert setup.follow(Follow.Request.ID, "abcde").success
    setup.publish(a_body("other", (0, 0, 1)), body)
    (pose,), (transforms,) = setup.sent["~/target"], setup.sent["/tf"]
    assert pose.header == HEADER
    position = pose.pose.position
    np.testing.assert_allclose([position.x, position.y, position.z], body.root_m)
    posture = solve_posture(body.positions_m)
    assert posture is not None
    rotation = matrix_from_quaternion(pose.pose.orientation)
    np.testing.assert_allclose(rotation, posture.rotation, atol=1e-6)
    (stamped,) = transforms
    assert (stamped.header, stamped.child_frame_id) == (HEADER, "target_person")
    assert stamped.transform.rotation == pose.pose.orientation
    assert stamped.transform.translation.z == position.z
    info = setup.sent["~/target_info"][-1]
    assert (info.state, info.id, info.orientation_known) == (TargetInfo.FOLLOWING, "abcde", True)
    assert info.distance == pytest.approx(np.linalg.norm(body.root_m))
    assert info.header.stamp.nanosec == 200_000_000 and info.header.frame_id == "camera"


def test_while_the_orientation_is_unknown_the_last_one_is_used_and_marked(setup: Setup) -> None:
    body = a_body()
    hidden = replace(body, positions_m=np.full_like(body.positions_m, np.nan))
    setup.publish(hidden)
    setup.follow(Follow.Request.ID, "abcde")
    for each in (hidden, body, hidden):
        setup.publish(each)
    first, second, third = (pose.pose.orientation for pose in setup.sent["~/target"])
    assert (first.x, first.y, first.z, first.w) == (0, 0, 0, 1)
    assert second == third != first
    known = [info.orientation_known for info in setup.sent["~/target_info"][1:]]
    assert known == [False, True, False]


def test_without_the_transform_there_is_a_state_but_no_pose(setup: Setup) -> None:
    setup.publish(a_body())
    setup.follow(Follow.Request.ID, "abcde")
    setup.publish(a_body(), transformed=False)
    assert setup.sent["~/target"] == setup.sent["/tf"] == []
    assert setup.sent["~/target_info"][-1].state == TargetInfo.FOLLOWING


def test_when_the_images_end_the_person_is_lost(setup: Setup) -> None:
    setup.publish(a_body())
    setup.follow(Follow.Request.ID, "abcde")
    setup.publish(a_body())
    setup.target.clear(HEADER)
    info = setup.sent["~/target_info"][-1]
    assert (info.state, info.id) == (TargetInfo.LOST, "abcde")
    assert math.isnan(info.distance) and math.isnan(info.measurement_age)


def test_an_unknown_mode_or_id_is_refused_with_what_is_possible(setup: Setup) -> None:
    setup.publish(a_body())
    for mode, body_id, text in ((9, "", "2 is ID"), (2, "zzzzz", "in view: abcde"), (2, "", "''")):
        response = setup.follow(mode, body_id)
        assert not response.success and text in response.message
        assert "Nothing was changed" in response.message
    assert setup.follow(Follow.Request.NEAREST).success
    assert setup.follow(Follow.Request.NONE).message == "no one is followed"
