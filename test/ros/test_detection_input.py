# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The topic of another detector: its messages, and what the diagnostics say of it.

vision_msgs is on no Python index, so classes with the fields of vision_msgs 4 stand in for it; over
DDS a message type that is installed carries the stamp, and the boxes are those of the test.
"""

import array
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from external_box import as_box
from fake_engine import FakeEngine, Person, box_of, camera, image
from hypothesis import given
from hypothesis import strategies as st
from ros_process import TIMEOUT_S, Listener
from sensor_msgs.msg import CameraInfo, Image
from settable_time import Time
from vision_stand_ins import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Point2D,
    Pose2D,
)

from thfm_ros.config import config_from
from thfm_ros.config_option import ConfigError
from thfm_ros.msg import BodyArray
from thfm_ros.perception.external_boxes import BoxMessage, BoxUse, Refusal
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.ros import detection_input
from thfm_ros.ros.component_status import Level
from thfm_ros.ros.detection_health import TIMEOUT_S as MISSED_AFTER_S
from thfm_ros.ros.detection_health import DetectionHealth
from thfm_ros.ros.detection_input import box_message
from thfm_ros.ros.diagnostics import StateLogger
from thfm_ros.ros.health import Health
from thfm_ros.ros.perceiver import Perceiver

pytestmark = pytest.mark.ros

CAMERA = camera(320, 240, focal=250.0)
PERSON = Person(0.0, 0.0, 3.0)
TYPE = "vision_msgs/msg/Detection2DArray"
NUMBERS = st.floats(allow_nan=False)


@given(*(NUMBERS,) * 5, st.lists(st.tuples(st.text(), NUMBERS), max_size=3))
def test_a_message_is_read_field_by_field(
    x: float, y: float, width: float, height: float, angle: float, found: list[tuple[str, float]]
) -> None:
    results = [ObjectHypothesisWithPose(ObjectHypothesis(*each)) for each in found]
    box = BoundingBox2D(Pose2D(Point2D(x, y), angle), width, height)
    msg = Detection2DArray(detections=[Detection2D(results=results, bbox=box)])
    msg.header.frame_id, msg.header.stamp.sec, msg.header.stamp.nanosec = "/cam", 7, 5
    (read,) = box_message(msg).boxes
    assert read == (x, y, width, height, angle, tuple(found))
    assert replace(box_message(msg), boxes=()) == BoxMessage(7_000_000_005, "cam", ())


@pytest.fixture
def health(time: Time) -> DetectionHealth:
    return DetectionHealth("/boxes", time, replaces=False)


def test_a_topic_without_messages_is_reported_and_as_an_error_where_no_one_is_found_otherwise(
    time: Time, health: DetectionHealth
) -> None:
    alone = DetectionHealth("/boxes", time, replaces=True)
    assert health.evaluate(BoxUse(), set()).level is Level.OK
    time.now_s += MISSED_AFTER_S + 0.1
    status = health.evaluate(BoxUse(), set())
    assert status.level is Level.WARN and "/boxes" in status.message
    assert "no boxes yet" in status.message and "no publisher" in status.message
    status = alone.evaluate(BoxUse(), {TYPE})
    assert status.level is Level.ERROR and "No one is found without them" in status.message
    health.received()
    assert health.evaluate(BoxUse(), {TYPE}).level is Level.OK
    time.now_s += MISSED_AFTER_S + 0.1
    assert "any more" in health.evaluate(BoxUse(), {TYPE}).message


def test_another_message_type_is_named(health: DetectionHealth) -> None:
    status = health.evaluate(BoxUse(), {"vision_msgs/msg/Detection3DArray"})
    assert status.level is Level.WARN and "Detection3DArray" in status.message


@pytest.mark.parametrize("cause", list(Refusal))
def test_refused_boxes_are_counted_by_cause_and_warned_of(
    health: DetectionHealth, cause: Refusal
) -> None:
    use = BoxUse(messages=3, refused=((cause, 3),), problem=cause, advice="do this")
    status = health.evaluate(use, {TYPE})
    assert (status.level, status.message) == (Level.WARN, "do this")
    assert status.values[f"refused: {cause.value}"] == "3"
    later = health.evaluate(replace(use, problem=None, proposals=1), {TYPE})
    assert later.level is Level.OK and later.values[f"refused: {cause.value}"] == "3"


def test_boxes_that_crops_hardly_ever_confirm_are_probably_of_another_image(
    health: DetectionHealth,
) -> None:
    assert health.evaluate(BoxUse(rejected=19), {TYPE}).level is Level.OK
    status = health.evaluate(BoxUse(rejected=39, confirmed=1), {TYPE})
    assert status.level is Level.WARN and "resized" in status.message
    assert health.evaluate(BoxUse(rejected=30, confirmed=10), {TYPE}).level is Level.OK


def new_perceiver(listener: Listener, topic: str) -> Perceiver:
    engine = FakeEngine(CAMERA, lambda: [PERSON])
    config = config_from({"detections": topic, "detections_mode": "replace"})
    state_logger = StateLogger(lambda level, text: None)
    pipeline = PerceptionPipeline(engine, config, live=True)
    return Perceiver(listener.node, pipeline, Health(2.0), state_logger)


def test_without_vision_msgs_the_node_says_what_to_install(listener: Listener) -> None:
    with pytest.raises(ConfigError, match=r"apt install .*vision-msgs"):
        new_perceiver(listener, "/boxes")


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """CameraInfo carries the stamp; the box is that of the person."""

    def read(msg: Any) -> BoxMessage:
        return replace(box_message_of_header(msg), boxes=(as_box(box_of(PERSON, CAMERA)),))

    def box_message_of_header(msg: Any) -> BoxMessage:
        return box_message(SimpleNamespace(header=msg.header, detections=[]))

    module = SimpleNamespace(Detection2DArray=CameraInfo)
    monkeypatch.setattr(detection_input, "import_module", lambda name: module)
    monkeypatch.setattr(detection_input, "box_message", read)


@pytest.fixture
def perceiver(listener: Listener, messages: None) -> Iterator[Perceiver]:
    perceiver = new_perceiver(listener, "~/boxes")
    perceiver.start()
    yield perceiver
    perceiver.close()


@pytest.mark.usefixtures("messages")
def test_a_name_that_is_no_topic_is_refused(listener: Listener) -> None:
    with pytest.raises(ConfigError, match="which is no topic name"):
        new_perceiver(listener, "my boxes")


def test_boxes_received_over_dds_become_people_of_the_image_with_their_stamp(
    listener: Listener, perceiver: Perceiver
) -> None:
    listener.listen(BodyArray, "/listener/bodies")
    bodies: list[BodyArray] = listener.received["/listener/bodies"]
    publisher = listener.node.create_publisher(CameraInfo, "/listener/boxes", 1)
    active, boxes = perceiver.active_tasks, perceiver._pipeline.external_boxes
    session = perceiver._session
    assert boxes is not None and session is not None
    assert listener.wait(lambda: publisher.get_subscription_count() == 1)
    assert listener.wait(lambda: bool(perceiver.publishers.update_requested(active)))
    msg = Image(height=CAMERA.height, width=CAMERA.width, encoding="rgb8", step=3 * CAMERA.width)
    msg.header.frame_id, msg.header.stamp.sec = "camera", 100
    msg.data = array.array("B", np.ascontiguousarray(image(CAMERA)).tobytes())
    publisher.publish(CameraInfo(header=msg.header))
    assert listener.wait(lambda: bool(boxes._waiting), TIMEOUT_S)
    perceiver.on_image(msg, session)
    assert listener.wait(lambda: bool(bodies and bodies[-1].bodies))
    status = perceiver.snapshot("active", True).detections
    assert status is not None and status.values["confirmed by a crop"] == "1"
    perceiver.stop()
    assert listener.node.count_subscribers("/listener/boxes") == 0
