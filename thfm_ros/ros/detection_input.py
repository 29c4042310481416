# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The topic of another detector: vision_msgs/Detection2DArray as boxes for the pipeline."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from thfm_ros.camera import stamp_ns
from thfm_ros.camera.calibration import tf_frame
from thfm_ros.config_option import ConfigError
from thfm_ros.loading import Pipeline
from thfm_ros.perception.external_boxes import BoxMessage, ExternalBox, ExternalBoxes
from thfm_ros.ros.component_status import ComponentStatus
from thfm_ros.ros.detection_health import DetectionHealth
from thfm_ros.ros.message_receiver import MessageReceiver, OwnThreadGroup

_DEPTH = 5  # a detector that looks at several images at once publishes several messages


def detection_input(
    node: Node, pipeline: Pipeline, node_clock: Callable[[], float]
) -> "DetectionInput | None":
    """What receives the topic of the parameter ``detections``; None if that is empty.

    Raises:
        ConfigError: vision_msgs is not installed, or the topic has no valid name.
    """
    boxes, name = pipeline.external_boxes, pipeline.config.node.detections
    if boxes is None:
        return None
    try:
        kind: type = import_module("vision_msgs.msg").Detection2DArray
    except ImportError as error:
        raise ConfigError(
            f"The parameter detections names the topic {name}, whose messages are of the package "
            "vision_msgs, which is not installed: sudo apt install ros-$ROS_DISTRO-vision-msgs. "
            "Without another detector leave the parameter empty."
        ) from error
    try:
        topic = node.resolve_topic_name(name)
    except Exception as error:  # rclpy has several for invalid names
        raise ConfigError(f"detections is {name!r}, which is no topic name: {error}") from error
    replaces = pipeline.config.node.detections_mode == "replace"
    return DetectionInput(node, kind, topic, boxes, node_clock, replaces=replaces)


class DetectionInput:
    """Receives the boxes of another detector.

    Args:
        node: the node.
        kind: the message type, vision_msgs/Detection2DArray.
        topic: its resolved name.
        boxes: where they go.
        node_clock: the node's clock in seconds, for silence.
        replaces: there are no own detection passes.
    """

    def __init__(
        self,
        node: Node,
        kind: type,
        topic: str,
        boxes: ExternalBoxes,
        node_clock: Callable[[], float],
        *,
        replaces: bool,
    ) -> None:
        self._node, self._kind, self._topic, self._boxes = node, kind, topic, boxes
        self._health = DetectionHealth(topic, node_clock, replaces=replaces)

    def reset(self) -> None:
        """The node was activated."""
        self._health.reset()

    def subscribe(self, receiver: MessageReceiver) -> Any:
        """The subscription, which ``receiver`` serves."""
        subscription = self._node.create_subscription(
            self._kind,
            self._topic,
            self.receive,
            QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT),
            callback_group=OwnThreadGroup(),
        )
        receiver.add(subscription, self.receive)
        return subscription

    def receive(self, msg: Any) -> None:
        """Hand one message on to the pipeline."""
        self._health.received()
        self._boxes.put(box_message(msg))

    def status(self) -> ComponentStatus:
        """The state of the component "detections"."""
        publishers = self._node.get_publishers_info_by_topic(self._topic)
        return self._health.evaluate(self._boxes.use, {each.topic_type for each in publishers})


def box_message(msg: Any) -> BoxMessage:
    """A vision_msgs/Detection2DArray (vision_msgs 4, since ROS 2 Humble) as boxes.

    The header of the array counts: that of a single detection is often empty.
    """
    boxes = []
    for detection in msg.detections:
        centre, box = detection.bbox.center, detection.bbox
        hypotheses = tuple(
            (str(each.hypothesis.class_id), float(each.hypothesis.score))
            for each in detection.results
        )
        x, y, angle = centre.position.x, centre.position.y, centre.theta
        boxes.append(ExternalBox(x, y, box.size_x, box.size_y, angle, hypotheses))
    return BoxMessage(stamp_ns(msg), tf_frame(msg.header.frame_id), tuple(boxes))
