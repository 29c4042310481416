# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The chosen person as ~/target, ~/target_info and tf frame target_person; the service ~/follow."""

import math
from importlib import import_module
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TransformStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Header

from thfm_ros.config import Config
from thfm_ros.contract import Body, Perception, PerceptionError
from thfm_ros.geometry import quaternion_from_matrix
from thfm_ros.msg import TargetInfo
from thfm_ros.perception.followed_person import PersonSelector, Target, TargetState, distance_m
from thfm_ros.posture.joint_angles import solve_posture
from thfm_ros.ros.qos import LATEST, create_publisher, has_subscribers
from thfm_ros.ros.to_msg.headers import header_at
from thfm_ros.srv import Follow

TARGET_FRAME = "target_person"
_IDENTITY = (0.0, 0.0, 0.0, 1.0)


class TargetPublisher:
    """Publishes the chosen person. Used by the worker's thread, apart from `request`."""

    def __init__(self, node: Node, config: Config) -> None:
        self._node = node
        self.selector = PersonSelector(config.follow)
        self._pose = create_publisher(node, PoseStamped, "~/target", LATEST)
        self._info = create_publisher(node, TargetInfo, "~/target_info", LATEST)
        self._tf_msgs = _tf2_msgs() if config.node.publish_tf else None
        self._tf = None
        if self._tf_msgs:
            self._tf = create_publisher(node, self._tf_msgs.TFMessage, "/tf", QoSProfile(depth=100))
        self._orientation = _IDENTITY  # the last known one
        self._orientation_of = ""  # id of the person who had it

    @property
    def have_subscribers(self) -> bool:
        """Whether ~/target or ~/target_info has a subscriber. Any thread may call it."""
        return has_subscribers(self._pose) or has_subscribers(self._info)

    def request(self, request: Any, response: Any) -> Any:
        """Answer the service ~/follow; may be called from any thread."""
        try:
            response.message = self._choose(request)
            response.success = True
        except PerceptionError as error:
            response.message = str(error)
        return response

    def _choose(self, request: Any) -> str:
        """Do what was asked; the result in words."""
        if request.mode == Follow.Request.NONE:
            self.selector.stop()
            return "no one is followed"
        if request.mode == Follow.Request.NEAREST:
            self.selector.follow_nearest()
            text = "the nearest person will be chosen"
        elif request.mode == Follow.Request.ID:
            self.selector.follow(request.id)
            text = f"{request.id} is chosen"
        else:
            raise PerceptionError(
                f"There is no mode {request.mode}: 0 is NONE, 1 is NEAREST, 2 is ID (with id). "
                "Nothing was changed."
            )
        text += "; ~/target_info has the state"
        if not self.have_subscribers:
            text += ". No one subscribes to ~/target or ~/target_info yet, so nothing is estimated"
        return text

    def publish(
        self, perception: Perception, in_target_frame: tuple[Perception, Header] | None
    ) -> None:
        """Publish what has subscribers.

        Args:
            perception: of the frame, in the camera's optical frame.
            in_target_frame: the perception and the header of the pose, at the time that predict_to
                says; None if the transform is not known: then there is no pose.
        """
        target = self.selector.update(perception.stamp_ns, perception.bodies)
        body = None
        if in_target_frame is not None and target.body is not None:
            body = next((b for b in in_target_frame[0].bodies if b.id == target.id), None)
        known = False
        if body is not None and in_target_frame is not None:
            known = self._update_orientation(body)
            self._publish_pose(body, in_target_frame[1])
        if has_subscribers(self._info):
            header = header_at(perception.stamp_ns, perception.frame_id)
            self._info.publish(target_info(target, header, orientation_known=known))

    def clear(self, header: Header) -> None:
        """Say that there are no images: whoever was followed is lost."""
        target = self.selector.interrupt()
        if has_subscribers(self._info):
            self._info.publish(target_info(target, header, orientation_known=False))

    def close(self) -> None:
        """Destroy all publishers."""
        for each in (self._pose, self._info, self._tf):
            if each:
                self._node.destroy_publisher(each)

    def _update_orientation(self, body: Body) -> bool:
        """Keep the body's orientation if it is known; whether it is."""
        if body.id != self._orientation_of:
            self._orientation, self._orientation_of = _IDENTITY, body.id
        posture = solve_posture(body.positions_m)
        if posture is None:
            return False
        self._orientation = quaternion_from_matrix(posture.rotation)
        return True

    def _publish_pose(self, body: Body, header: Header) -> None:
        x, y, z = body.root_m.tolist()
        if has_subscribers(self._pose):
            pose = PoseStamped(header=header)
            p, q = pose.pose.position, pose.pose.orientation
            p.x, p.y, p.z = x, y, z
            q.x, q.y, q.z, q.w = self._orientation
            self._pose.publish(pose)
        if self._tf and self._tf_msgs and has_subscribers(self._tf):
            stamped = TransformStamped(header=header, child_frame_id=TARGET_FRAME)
            t, q = stamped.transform.translation, stamped.transform.rotation
            t.x, t.y, t.z = x, y, z
            q.x, q.y, q.z, q.w = self._orientation
            self._tf.publish(self._tf_msgs.TFMessage(transforms=[stamped]))


def target_info(target: Target, header: Header, *, orientation_known: bool) -> TargetInfo:
    """The state of the choice as thfm_ros/TargetInfo."""
    info = TargetInfo(header=header, id=target.id, message=target.message)
    info.state = _STATES[target.state]
    info.state_age = target.state_age_s
    info.distance = info.measurement_age = math.nan
    if target.body is not None:
        info.distance = distance_m(target.body)
        info.measurement_age = float(np.float32(target.body.measurement_age_s))
    info.orientation_known = orientation_known
    return info


_STATES = {state: getattr(TargetInfo, state.name) for state in TargetState}


def _tf2_msgs() -> Any:
    try:
        return import_module("tf2_msgs.msg")
    except ImportError:
        return None
