# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Bodies as messages and markers, and the latched messages that describe them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fake_engine import CARD
from perceived import HEIGHT, WIDTH, a_body, a_perception
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from thfm_ros.contract import Task, TrackState
from thfm_ros.msg import Body as BodyMsg
from thfm_ros.msg import BodyArray
from thfm_ros.result_messages.bodies import BodyArrayMaker
from thfm_ros.result_messages.markers import BodyMarkers
from thfm_ros.ros.to_msg.kinds import ros_message
from thfm_ros.ros.to_msg.labels import label_info, label_map, skeleton_info
from thfm_ros.skeleton import BONES, FLIP_PAIRS, JOINT_NAMES, PART_NAMES, Joint

pytestmark = pytest.mark.ros

HEADER = Header(frame_id="camera")


def sent(msg: BodyArray) -> BodyArray:
    """The message as a subscriber receives it."""
    return deserialize_message(serialize_message(msg), BodyArray)


def test_all_fields_of_a_body_are_published() -> None:
    body = replace(
        a_body(),
        velocity_m_s=np.array([0.5, 0, -1.2], np.float32),
        velocity_covariance=np.array([0.1, 0, 0, 0.2, 0, 0.3], np.float32),
        measurement_age_s=0.25,
    )
    array = sent(BodyArrayMaker(ros_message).array(a_perception(body), HEADER))
    assert (array.image_width, array.image_height, array.metric) == (WIDTH, HEIGHT, True)
    (msg,) = array.bodies
    assert (msg.id, msg.state, msg.score) == ("abcde", BodyMsg.TRACKED, pytest.approx(0.9))
    np.testing.assert_array_equal(msg.box, body.box)
    np.testing.assert_allclose([msg.root.x, msg.root.y, msg.root.z], body.root_m)
    np.testing.assert_array_equal(msg.root_covariance, body.root_covariance_m2)
    np.testing.assert_allclose([msg.velocity.x, msg.velocity.y, msg.velocity.z], body.velocity_m_s)
    np.testing.assert_array_equal(msg.velocity_covariance, body.velocity_covariance)
    assert msg.measurement_age == pytest.approx(0.25)
    assert len(msg.joints) == len(JOINT_NAMES)
    for index, joint in enumerate(msg.joints):
        np.testing.assert_array_equal([joint.x, joint.y, joint.score], body.keypoints[index])
        position = [joint.position.x, joint.position.y, joint.position.z]
        np.testing.assert_allclose(position, body.positions_m[index])
        np.testing.assert_array_equal(joint.covariance, body.covariances_m2[index])


def test_a_body_without_a_known_velocity_has_nan() -> None:
    (msg,) = sent(BodyArrayMaker(ros_message).array(a_perception(a_body()), HEADER)).bodies
    assert np.isnan([msg.velocity.x, msg.velocity.y, msg.velocity.z]).all()
    assert np.isnan(msg.velocity_covariance).all() and msg.measurement_age == 0


def quaternions(array: BodyArray) -> dict[Joint, list[float]]:
    (msg,) = array.bodies
    q = {index: msg.joints[index].orientation for index in Joint}
    return {index: [each.x, each.y, each.z, each.w] for index, each in q.items()}


def test_orientations_are_unit_quaternions_or_nan() -> None:
    maker = BodyArrayMaker(ros_message)
    known = quaternions(sent(maker.array(a_perception(a_body()), HEADER)))
    assert np.isfinite(known[Joint.PELVIS]).all() and np.isfinite(known[Joint.LEFT_ELBOW]).all()
    assert np.isnan(known[Joint.LEFT_WRIST]).all() and np.isnan(known[Joint.NOSE]).all()
    for each in known.values():
        assert np.isnan(each).all() or np.linalg.norm(each) == pytest.approx(1)
    body = replace(a_body(), positions_m=np.full((len(Joint), 3), np.nan, np.float32))
    later = quaternions(sent(maker.array(a_perception(body, calibrated=False), HEADER)))
    assert all(np.isnan(each).all() for each in later.values())


def test_the_number_of_people_left_out_is_published() -> None:
    maker = BodyArrayMaker(ros_message)
    for left_out in (28, 0):
        perception = replace(a_perception(), left_out=left_out)
        assert sent(maker.array(perception, HEADER)).left_out == left_out


@pytest.mark.parametrize("state", TrackState)
def test_track_states_are_constants_of_the_message(state: TrackState) -> None:
    (msg,) = BodyArrayMaker(ros_message).array(a_perception(a_body(state=state)), HEADER).bodies
    assert msg.state == getattr(BodyMsg, state.name)


def test_unknown_joints_are_published_as_nan() -> None:
    body = a_body()
    body.positions_m[3] = np.nan
    body.keypoints[4, :2] = np.nan
    (msg,) = sent(
        BodyArrayMaker(ros_message).array(a_perception(body, calibrated=False), HEADER)
    ).bodies
    assert np.isnan(msg.joints[3].position.z)
    assert np.isnan(msg.joints[4].x)


def test_successive_messages_contain_the_present_bodies_only() -> None:
    maker = BodyArrayMaker(ros_message)
    first = sent(maker.array(a_perception(a_body("abcde")), HEADER))
    both = sent(maker.array(a_perception(a_body("fghij", seed=1), a_body("abcde")), HEADER))
    none = sent(maker.array(a_perception(), HEADER))
    assert [body.id for body in first.bodies] == ["abcde"]
    assert [body.id for body in both.bodies] == ["fghij", "abcde"]
    # As text, since unknown values are NaN, which equals nothing.
    assert repr(both.bodies[1]) == repr(first.bodies[0])
    assert list(none.bodies) == []


def test_without_people_the_list_is_empty() -> None:
    array = sent(BodyArrayMaker(ros_message).array(a_perception(calibrated=False), HEADER))
    assert list(array.bodies) == []
    assert array.metric is False


def by_id(markers: MarkerArray) -> dict[tuple[str, int], Marker]:
    return {(marker.ns, marker.id): marker for marker in markers.markers}


def test_a_body_has_markers_for_joints_bones_and_id() -> None:
    body = a_body()
    drawn = by_id(BodyMarkers(ros_message).markers(a_perception(body), HEADER))
    assert set(drawn) == {("body_abcde", number) for number in range(3)}
    spheres, lines, text = (drawn["body_abcde", number] for number in range(3))
    assert spheres.type == Marker.SPHERE_LIST and len(spheres.points) == len(JOINT_NAMES)
    assert lines.type == Marker.LINE_LIST and len(lines.points) == 2 * len(BONES)
    parent, child = BONES[5]
    for point, joint in zip(lines.points[10:12], (parent, child), strict=True):
        np.testing.assert_allclose([point.x, point.y, point.z], body.positions_m[joint])
    assert text.type == Marker.TEXT_VIEW_FACING and text.text == "abcde"
    assert text.pose.position.y < body.positions_m[Joint.HEAD, 1]  # above: y is down
    assert all(m.header.frame_id == "camera" and m.lifetime.nanosec for m in drawn.values())


def test_unknown_and_low_confidence_joints_are_left_out_of_markers() -> None:
    body = a_body()
    body.positions_m[Joint.LEFT_WRIST] = np.nan
    body.keypoints[Joint.RIGHT_WRIST, 2] = 0.05
    drawn = by_id(BodyMarkers(ros_message).markers(a_perception(body), HEADER, min_confidence=0.1))
    assert len(drawn["body_abcde", 0].points) == len(JOINT_NAMES) - 2
    assert len(drawn["body_abcde", 1].points) == 2 * (len(BONES) - 4)  # elbow-wrist, wrist-hand


def test_markers_of_a_body_that_is_gone_are_deleted_once() -> None:
    markers = BodyMarkers(ros_message)
    markers.markers(a_perception(a_body("abcde"), a_body("fghij")), HEADER)
    second = by_id(markers.markers(a_perception(a_body("fghij")), HEADER))
    gone = {key for key, marker in second.items() if marker.action == Marker.DELETE}
    assert gone == {("body_abcde", number) for number in range(3)}
    third = markers.markers(a_perception(a_body("fghij")), HEADER).markers
    assert all(marker.action == Marker.ADD for marker in third)


def test_without_metric_positions_there_are_no_markers() -> None:
    body = replace(a_body(), positions_m=np.full((len(JOINT_NAMES), 3), np.nan, np.float32))
    assert (
        BodyMarkers(ros_message).markers(a_perception(body, calibrated=False), HEADER).markers == []
    )


def test_predicted_bodies_are_more_transparent() -> None:
    tracked = by_id(BodyMarkers(ros_message).markers(a_perception(a_body()), HEADER))
    lost = by_id(
        BodyMarkers(ros_message).markers(a_perception(a_body(state=TrackState.LOST)), HEADER)
    )
    assert lost["body_abcde", 0].color.a < tracked["body_abcde", 0].color.a


def test_clear_deletes_all_markers() -> None:
    (marker,) = BodyMarkers(ros_message).clear(HEADER).markers
    assert marker.action == Marker.DELETEALL


def test_label_maps_name_every_label() -> None:
    people = label_map(Task.SEGMENTATION, CARD, 0.4, HEADER)
    assert dict(zip(people.ids, people.names, strict=True)) == {0: "background", 1: "person"}
    assert people.unlabelled == 255 and people.threshold == pytest.approx(0.4)
    parts = label_map(Task.PARTS, CARD, 0.5, HEADER)
    assert list(parts.ids) == list(range(len(PART_NAMES)))
    assert tuple(parts.names) == PART_NAMES


def test_label_info_has_the_labels_of_the_label_map() -> None:
    """vision_msgs is on no Python index, so an object with its fields replaces it."""
    stand_in = SimpleNamespace(
        LabelInfo=lambda **fields: SimpleNamespace(**fields),
        VisionClass=lambda **fields: SimpleNamespace(**fields),
    )
    info = label_info(Task.PARTS, CARD, 0.5, HEADER, stand_in)
    assert [(c.class_id, c.class_name) for c in info.class_map] == list(enumerate(PART_NAMES))


def test_skeleton_info_describes_joints_bones_and_flip_pairs() -> None:
    info = skeleton_info(CARD, HEADER)
    assert tuple(info.joint_names) == JOINT_NAMES
    bones = list(zip(info.bone_parents, info.bone_children, strict=True))
    assert bones == [(int(a), int(b)) for a, b in BONES]
    assert [int(joint) for joint in info.flip_pairs] == [int(joint) for joint in FLIP_PAIRS]
    assert info.joint_names[info.flip_pairs[Joint.LEFT_KNEE]] == "right_knee"


def test_bones_of_a_checkpoint_with_other_joints_are_left_empty() -> None:
    info = skeleton_info(replace(CARD, joint_names=("head", "tail")), HEADER)
    assert list(info.joint_names) == ["head", "tail"]
    assert list(info.bone_parents) == []
