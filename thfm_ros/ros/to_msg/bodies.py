"""People as thfm_ros/BodyArray."""

import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import Header

from thfm_ros.contract import Body, Perception, TrackState
from thfm_ros.msg import Body as BodyMsg
from thfm_ros.msg import BodyArray
from thfm_ros.msg import Joint as JointMsg

_STATES = {
    TrackState.TENTATIVE: BodyMsg.TENTATIVE,
    TrackState.TRACKED: BodyMsg.TRACKED,
    TrackState.LOST: BodyMsg.LOST,
}


def body_array(seen: Perception, header: Header) -> BodyArray:
    """Everybody, in the order that ``instances`` counts in."""
    array = BodyArray(header=header, image_width=seen.width, image_height=seen.height)
    array.metric = seen.intrinsics is not None
    array.bodies = [_body(body) for body in seen.bodies]
    return array


def _body(body: Body) -> BodyMsg:
    msg = BodyMsg(id=body.id, state=_STATES[body.state], score=float(body.score))
    msg.box = np.asarray(body.box, np.float32)
    msg.root = point(body.root_m.tolist())
    msg.root_covariance = np.asarray(body.root_covariance_m2, np.float32)
    msg.joints = _joints(body)
    return msg


def _joints(body: Body) -> list[JointMsg]:
    # tolist() once: reading numpy scalars one by one is what costs here.
    covariances = np.asarray(body.covariances_m2, np.float32)
    rows = zip(body.keypoints.tolist(), body.positions_m.tolist(), covariances, strict=True)
    return [
        JointMsg(x=x, y=y, score=score, position=point(position), covariance=covariance)
        for (x, y, score), position, covariance in rows
    ]


def point(xyz: list[float]) -> Point:
    """A Point of three Python floats."""
    return Point(x=xyz[0], y=xyz[1], z=xyz[2])
