# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""People as people_msgs/People and vision_msgs/Detection2DArray.

Neither package is on a Python index, so classes with the same fields stand in for them: people_msgs
1.4 and vision_msgs 4. They refuse fields that the messages lack.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Point
from perceived import a_body, a_perception
from std_msgs.msg import Header
from vision_stand_ins import VISION_MSGS, Detection2DArray

from thfm_ros.config import Config
from thfm_ros.contract import Body, Task, TrackState
from thfm_ros.result_messages.markers import BodyMarkers
from thfm_ros.ros import topics
from thfm_ros.ros.to_msg.kinds import ros_message
from thfm_ros.ros.to_msg.people import detections, people

pytestmark = pytest.mark.ros

HEADER = Header(frame_id="camera")


@dataclass(slots=True)
class Person:
    name: str = ""
    position: Point = field(default_factory=Point)
    velocity: Point = field(default_factory=Point)
    reliability: float = 0.0
    tagnames: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


@dataclass(slots=True)
class People:
    header: Header = field(default_factory=Header)
    people: list[Person] = field(default_factory=list)


PEOPLE_MSGS = SimpleNamespace(Person=Person, People=People)


def moving(**changes: Any) -> Body:
    return replace(a_body(), velocity_m_s=np.array([0.5, 0, -1], np.float32), **changes)


def test_a_person_has_position_velocity_and_reliability() -> None:
    message = people(a_perception(moving()), HEADER, PEOPLE_MSGS)
    (person,) = message.people
    assert (person.name, person.reliability) == ("abcde", pytest.approx(0.9))
    p, v = person.position, person.velocity
    np.testing.assert_allclose([p.x, p.y, p.z], a_body().root_m)
    np.testing.assert_allclose([v.x, v.y, v.z], [0.5, 0, -1])
    assert dict(zip(person.tagnames, person.tags, strict=True)) == {
        "state": "tracked",
        "velocity": "known",
    }
    assert message.header == HEADER


def test_an_unknown_velocity_is_zero_and_marked() -> None:
    (person,) = people(a_perception(a_body()), HEADER, PEOPLE_MSGS).people
    assert person.velocity == Point() and "unknown" in person.tags


def test_tentative_people_and_those_without_a_position_are_left_out_lost_ones_are_not() -> None:
    hidden = moving(root_m=np.full(3, np.nan, np.float32))
    bodies = [hidden, moving(state=TrackState.TENTATIVE), moving(state=TrackState.LOST)]
    (person,) = people(a_perception(*bodies), HEADER, PEOPLE_MSGS).people
    assert "lost" in person.tags


def test_a_detection_has_the_box_the_id_and_the_pose_of_the_pelvis() -> None:
    message = detections(a_perception(a_body()), HEADER, VISION_MSGS)
    (detection,) = message.detections
    box = detection.bbox
    assert (box.center.position.x, box.center.position.y) == (35, 24)
    assert (box.size_x, box.size_y) == (30, 40)
    (result,) = detection.results
    assert (detection.id, result.hypothesis.class_id) == ("abcde", "person")
    assert result.hypothesis.score == pytest.approx(0.9)
    assert result.pose.pose.position.z == pytest.approx(2.5)
    covariance = np.array(result.pose.covariance).reshape(6, 6)
    np.testing.assert_allclose(np.diag(covariance)[:3], [0.1, 0.2, 0.3], rtol=1e-6)
    assert (np.diag(covariance)[3:] > 100).all()


def test_people_who_are_predicted_are_no_detections() -> None:
    predicted = replace(a_body(), state=TrackState.LOST, measurement_age_s=0.1)
    assert detections(a_perception(predicted), HEADER, VISION_MSGS).detections == []


def test_an_unknown_position_of_a_detection_is_nan() -> None:
    hidden = replace(a_body(), root_m=np.full(3, np.nan, np.float32))
    (detection,) = detections(a_perception(hidden), HEADER, VISION_MSGS).detections
    assert np.isnan(detection.results[0].pose.pose.position.x)


@pytest.mark.parametrize("installed", [True, False])
def test_the_topics_exist_where_the_packages_are_installed(
    monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    def import_module(name: str) -> Any:
        modules = {"people_msgs.msg": PEOPLE_MSGS, "vision_msgs.msg": VISION_MSGS}
        if not installed:
            raise ImportError(name)
        return modules[name]

    monkeypatch.setattr(topics, "import_module", import_module)
    kinds: dict[str, Callable[[], Any]] = {}
    for topic in topics.result_topics(Config(), BodyMarkers(ros_message)):
        if topic.name in ("people", "detections"):
            assert topic.requires == {Task.BODIES}
            kinds[topic.name] = topic.kind
            result = topics.FrameResult(
                a_perception(moving()), np.zeros((48, 64, 3), np.uint8), HEADER, Config()
            )
            assert isinstance(topic.make(result), topic.kind)
    expected = {"people": People, "detections": Detection2DArray}
    assert kinds == (expected if installed else {})
