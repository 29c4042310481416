# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Bodies as thfm_ros/BodyArray."""

import math

import numpy as np
from geometry_msgs.msg import Point, Quaternion, Vector3
from std_msgs.msg import Header

from thfm_ros.contract import Body, Perception, TrackState
from thfm_ros.msg import Body as BodyMsg
from thfm_ros.msg import BodyArray
from thfm_ros.msg import Joint as JointMsg
from thfm_ros.ros.rep155.joint_orientations import ORIENTED_JOINTS, joint_orientations
from thfm_ros.skeleton import Joint

_STATES = {
    TrackState.TENTATIVE: BodyMsg.TENTATIVE,
    TrackState.TRACKED: BodyMsg.TRACKED,
    TrackState.LOST: BodyMsg.LOST,
    TrackState.PREDICTED: BodyMsg.PREDICTED,
}

_UNKNOWN = (math.nan,) * 4


class BodyArrayMaker:
    """Makes one message per frame.

    Creating 35 joint messages per person costs seven times as much as filling existing ones (0.35
    against 0.05 ms), so successive messages share their parts: publish a message before making
    the next.
    """

    def __init__(self) -> None:
        self._array = BodyArray()
        self._pool: list[BodyMsg] = []

    def array(self, perception: Perception, header: Header) -> BodyArray:
        """All bodies, in the order of the indices in ``perception.instances``."""
        bodies = perception.bodies
        while len(self._pool) < len(bodies):
            self._pool.append(BodyMsg())
        array = self._array
        array.header = header
        array.image_width, array.image_height = perception.width, perception.height
        array.metric = perception.intrinsics is not None
        array.left_out = perception.left_out
        array.bodies = self._pool[: len(bodies)]
        for msg, body in zip(array.bodies, bodies, strict=True):
            _fill(msg, body)
        return array


def _fill(msg: BodyMsg, body: Body) -> None:
    msg.id, msg.state, msg.score = body.id, _STATES[body.state], float(body.score)
    msg.box = np.asarray(body.box, np.float32)
    set_point(msg.root, body.root_m.tolist())
    msg.root_covariance = np.asarray(body.root_covariance_m2, np.float32)
    set_point(msg.velocity, body.velocity_m_s.tolist())
    msg.velocity_covariance = np.asarray(body.velocity_covariance, np.float32)
    msg.measurement_age = float(body.measurement_age_s)
    if len(msg.joints) != len(body.keypoints):
        msg.joints = [JointMsg(orientation=_unknown_orientation()) for _ in body.keypoints]
    # One tolist() per array: reading numpy scalars one by one is the expensive part.
    covariances = np.asarray(body.covariances_m2, np.float32)
    rows = zip(body.keypoints.tolist(), body.positions_m.tolist(), covariances, strict=True)
    for joint, (keypoint, position, covariance) in zip(msg.joints, rows, strict=True):
        joint.x, joint.y, joint.score = keypoint
        set_point(joint.position, position)
        joint.covariance = covariance
    if len(msg.joints) == len(Joint):
        _set_orientations(msg.joints, body)


def _set_orientations(joints: list[JointMsg], body: Body) -> None:
    known = joint_orientations(body.positions_m)
    for index in ORIENTED_JOINTS:
        q = joints[index].orientation
        q.x, q.y, q.z, q.w = known.get(index, _UNKNOWN)


def _unknown_orientation() -> Quaternion:
    return Quaternion(x=math.nan, y=math.nan, z=math.nan, w=math.nan)


def set_point(point: Point | Vector3, xyz: list[float]) -> None:
    """Set the coordinates of a Point or Vector3."""
    point.x, point.y, point.z = xyz
