# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Bodies from a thfm_ros/BodyArray: the inverse of bodies.py."""

from typing import Any

import numpy as np

from thfm_ros.contract import Body, Intrinsics, Perception, PerceptionError, TrackState
from thfm_ros.skeleton import JOINT_NAMES


def perception_from_bodies(msg: Any) -> Perception:
    """The bodies of a message, in the frame of its header.

    Whether the camera is calibrated is all that the message tells of it: the intrinsics are those
    of no camera, or None.

    Raises:
        PerceptionError: a body has another number of joints than JOINT_NAMES, or a state that is
            not known: another version of this package made it.
    """
    size = int(msg.image_width), int(msg.image_height)
    return Perception(
        stamp_ns=int(msg.header.stamp.sec) * 1_000_000_000 + int(msg.header.stamp.nanosec),
        frame_id=msg.header.frame_id,
        width=size[0],
        height=size[1],
        intrinsics=Intrinsics(1.0, 1.0, 0.0, 0.0, *size) if msg.metric else None,
        bodies=tuple(_body(each) for each in msg.bodies),
        left_out=int(msg.left_out),
    )


def _body(msg: Any) -> Body:
    if len(msg.joints) != len(JOINT_NAMES):
        raise PerceptionError(
            f"a body has {len(msg.joints)} joints, and this version of thfm_ros has "
            f"{len(JOINT_NAMES)}: use one version on all machines"
        )
    keypoints = [(joint.x, joint.y, joint.score) for joint in msg.joints]
    positions = [(p.x, p.y, p.z) for p in (joint.position for joint in msg.joints)]
    root, velocity = msg.root, msg.velocity
    return Body(
        id=msg.id,
        state=_state(msg),
        score=float(msg.score),
        box=np.asarray(msg.box, np.float32),
        keypoints=np.array(keypoints, np.float32),
        positions_m=np.array(positions, np.float32),
        covariances_m2=np.array([joint.covariance for joint in msg.joints], np.float32),
        root_m=np.array([root.x, root.y, root.z], np.float32),
        root_covariance_m2=np.asarray(msg.root_covariance, np.float32),
        velocity_m_s=np.array([velocity.x, velocity.y, velocity.z], np.float32),
        velocity_covariance=np.asarray(msg.velocity_covariance, np.float32),
        measurement_age_s=float(msg.measurement_age),
    )


def _state(msg: Any) -> TrackState:
    for state in TrackState:
        if msg.state == getattr(msg, state.name):
            return state
    raise PerceptionError(
        f"a body has the state {msg.state}, which this version of thfm_ros does not know: use one "
        "version on all machines"
    )
