# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Bodies as thfm_ros/BodyArray."""

import math
from typing import Any

import numpy as np

from thfm_ros.contract import Body, Perception, TrackState
from thfm_ros.posture.joint_orientations import ORIENTED_JOINTS, joint_orientations
from thfm_ros.result_messages.kinds import MessageKinds
from thfm_ros.skeleton import Joint

BODY, BODY_ARRAY, JOINT = "thfm_ros/msg/Body", "thfm_ros/msg/BodyArray", "thfm_ros/msg/Joint"

_UNKNOWN = (math.nan,) * 4


class BodyArrayMaker:
    """Makes one message per frame.

    Creating 35 joint messages per person costs seven times as much as filling existing ones (0.35
    against 0.05 ms), so successive messages share their parts: publish a message before making
    the next.
    """

    def __init__(self, kinds: MessageKinds) -> None:
        self._kinds = kinds
        self._array = kinds(BODY_ARRAY)
        self._pool: list[Any] = []

    def array(self, perception: Perception, header: Any) -> Any:
        """All bodies, in the order of the indices in ``perception.instances``."""
        bodies = perception.bodies
        while len(self._pool) < len(bodies):
            self._pool.append(self._kinds(BODY))
        array = self._array
        array.header = header
        array.image_width, array.image_height = perception.width, perception.height
        array.metric = perception.intrinsics is not None
        array.left_out = perception.left_out
        array.bodies = self._pool[: len(bodies)]
        for msg, body in zip(array.bodies, bodies, strict=True):
            self._fill(msg, body)
        return array

    def _fill(self, msg: Any, body: Body) -> None:
        msg.id, msg.state, msg.score = body.id, _state_of(msg, body.state), float(body.score)
        msg.box = np.ascontiguousarray(body.box, np.float32)
        set_point(msg.root, body.root_m.tolist())
        msg.root_covariance = np.ascontiguousarray(body.root_covariance_m2, np.float32)
        set_point(msg.velocity, body.velocity_m_s.tolist())
        msg.velocity_covariance = np.ascontiguousarray(body.velocity_covariance, np.float32)
        msg.measurement_age = float(body.measurement_age_s)
        if len(msg.joints) != len(body.keypoints):
            msg.joints = [self._unknown_joint() for _ in body.keypoints]
        # One tolist() per array: reading numpy scalars one by one is the expensive part.
        covariances = np.ascontiguousarray(body.covariances_m2, np.float32)
        rows = zip(body.keypoints.tolist(), body.positions_m.tolist(), covariances, strict=True)
        for joint, (keypoint, position, covariance) in zip(msg.joints, rows, strict=True):
            joint.x, joint.y, joint.score = keypoint
            set_point(joint.position, position)
            joint.covariance = covariance
        if len(msg.joints) == len(Joint):
            _set_orientations(msg.joints, body)

    def _unknown_joint(self) -> Any:
        nan = math.nan
        unknown = self._kinds("geometry_msgs/msg/Quaternion", x=nan, y=nan, z=nan, w=nan)
        return self._kinds(JOINT, orientation=unknown)


def _set_orientations(joints: list[Any], body: Body) -> None:
    known = joint_orientations(body.positions_m)
    for index in ORIENTED_JOINTS:
        q = joints[index].orientation
        q.x, q.y, q.z, q.w = known.get(index, _UNKNOWN)


def _state_of(msg: Any, state: TrackState) -> int:
    """The constant of thfm_ros/Body with the state's name."""
    return int(getattr(msg, state.name))


def set_point(point: Any, xyz: list[float]) -> None:
    """Set the coordinates of a Point or Vector3."""
    point.x, point.y, point.z = xyz
