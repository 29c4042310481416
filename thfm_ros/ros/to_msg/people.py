# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""People as standard messages of packages that may be missing: people_msgs and vision_msgs.

``msgs`` is the module with the message classes, people_msgs.msg or vision_msgs.msg.
"""

from typing import Any

import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import Header

from thfm_ros.contract import Body, Perception, TrackState
from thfm_ros.geometry import unpack_covariance

_UNKNOWN_ROTATION = 1e6  # variance of an orientation that was not measured, rad^2


def people(perception: Perception, header: Header, msgs: Any) -> Any:
    """Confirmed people as people_msgs/People, lost ones too (predicted, less reliable).

    people_msgs cannot say "unknown": people without a position are left out, and an unknown
    velocity is zero, with the tag "velocity" = "unknown".
    """
    confirmed = [
        body
        for body in perception.bodies
        if body.state is not TrackState.TENTATIVE and np.isfinite(body.root_m).all()
    ]
    return msgs.People(header=header, people=[_person(body, msgs) for body in confirmed])


def _person(body: Body, msgs: Any) -> Any:
    person = msgs.Person(name=body.id, reliability=float(body.score))
    x, y, z = body.root_m.tolist()
    person.position = Point(x=x, y=y, z=z)
    is_known = bool(np.isfinite(body.velocity_m_s).all())
    if is_known:
        x, y, z = body.velocity_m_s.tolist()
        person.velocity = Point(x=x, y=y, z=z)
    person.tagnames = ["state", "velocity"]
    person.tags = [body.state.value, "known" if is_known else "unknown"]
    return person


def detections(perception: Perception, header: Header, msgs: Any) -> Any:
    """The people detected in this image as vision_msgs/Detection2DArray.

    ``id`` is the track id; the pose is that of the pelvis, its position NaN if it is unknown and
    its orientation never measured, so of a large variance.
    """
    found = [body for body in perception.bodies if body.measurement_age_s == 0]
    return msgs.Detection2DArray(
        header=header, detections=[_detection(body, header, msgs) for body in found]
    )


def _detection(body: Body, header: Header, msgs: Any) -> Any:
    detection = msgs.Detection2D(header=header, id=body.id)
    x0, y0, x1, y1 = body.box.tolist()
    box = detection.bbox
    box.center.position.x, box.center.position.y = (x0 + x1) / 2, (y0 + y1) / 2
    box.size_x, box.size_y = x1 - x0, y1 - y0
    hypothesis = msgs.ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = "person"
    hypothesis.hypothesis.score = float(body.score)
    position = hypothesis.pose.pose.position
    position.x, position.y, position.z = body.root_m.tolist()
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = unpack_covariance(body.root_covariance_m2)
    covariance[3:, 3:] = np.eye(3) * _UNKNOWN_ROTATION
    hypothesis.pose.covariance = covariance.ravel()
    detection.results = [hypothesis]
    return detection
