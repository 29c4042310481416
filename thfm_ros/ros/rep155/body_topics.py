# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The REP-155 topics of one body."""

from dataclasses import fields
from typing import Any

import numpy as np
from geometry_msgs.msg import PointStamped
from jaxtyping import UInt8
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header, String

from thfm_ros.contract import Body, Perception, TrackState
from thfm_ros.posture.joint_angles import Posture
from thfm_ros.posture.kinematics import REVOLUTE_JOINTS, BodySize, measure_body, urdf
from thfm_ros.result_messages.bodies import set_point
from thfm_ros.ros.qos import LATCHED, LATEST, create_publisher, has_subscribers
from thfm_ros.ros.to_msg.images import image_message
from thfm_ros.skeleton import REP155_18, Joint

_MEASURE_EVERY = 10  # frames
_SMOOTHING_FACTOR = 0.3  # weight of a new measurement in the exponential average
_MAX_DEVIATION = 0.1  # relative change of a length after which the URDF is published again
_TRUNK = [Joint.LEFT_HIP, Joint.RIGHT_HIP, Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER]


class SmoothedBodySize:
    """The lengths of one person over time: smoothed, and changed only when they differ clearly.

    ``described`` are the lengths of the published URDF; None until the trunk was measured.
    """

    def __init__(self) -> None:
        self._smoothed: BodySize | None = None
        self._frames = 0
        self.described: BodySize | None = None

    def update(self, body: Body) -> None:
        """Add the measurement of a frame."""
        self._frames += 1
        due = self.described is None or self._frames % _MEASURE_EVERY == 0
        if not due or not np.isfinite(body.positions_m[_TRUNK]).all():
            return
        new = measure_body(body.positions_m)
        old = self._smoothed or new
        lengths = {
            f.name: (1 - _SMOOTHING_FACTOR) * getattr(old, f.name)
            + _SMOOTHING_FACTOR * getattr(new, f.name)
            for f in fields(BodySize)
        }
        self._smoothed = BodySize(**lengths)
        if self.described is None or _differ(self._smoothed, self.described):
            self.described = self._smoothed


class BodyTopics:
    """Publishes the topics under ``namespace``, /humans/bodies/<id>; none if it is empty.

    Args:
        node: owns the publishers.
        namespace: full name, without a trailing slash.
        body_id: track id.
        hri: the module hri_msgs.msg; None if it is not installed.
        with_crops: also publish the person's part of the image.
    """

    def __init__(
        self, node: Node, namespace: str, body_id: str, hri: Any, with_crops: bool = True
    ) -> None:
        self._node, self._id = node, body_id
        self._hri = hri if namespace else None
        self.size = SmoothedBodySize()
        self._published_size: BodySize | None = None
        self._joints = self._position = self._urdf = None
        self._roi = self._skeleton = self._cropped = None
        if namespace:
            self._joints = create_publisher(node, JointState, f"{namespace}/joint_states", LATEST)
            self._position = create_publisher(node, PointStamped, f"{namespace}/position", LATEST)
            self._urdf = create_publisher(node, String, f"{namespace}/urdf", LATCHED)
        if self._hri:
            roi = hri.NormalizedRegionOfInterest2D
            self._roi = create_publisher(node, roi, f"{namespace}/roi", LATEST)
            self._skeleton = create_publisher(
                node, hri.Skeleton2D, f"{namespace}/skeleton2d", LATEST
            )
            if with_crops:
                self._cropped = create_publisher(node, Image, f"{namespace}/cropped", LATEST)
        publishers = [self._joints, self._position, self._urdf]
        publishers += [self._roi, self._skeleton, self._cropped]
        self._publishers = [each for each in publishers if each is not None]

    @property
    def have_subscribers(self) -> bool:
        """Whether any of the topics has a subscriber."""
        return any(has_subscribers(each) for each in self._publishers)

    @property
    def needs_angles(self) -> bool:
        """Whether joint_states has a subscriber."""
        return has_subscribers(self._joints)

    def close(self) -> None:
        """Destroy the publishers."""
        for each in self._publishers:
            self._node.destroy_publisher(each)

    def publish(self, body: Body, posture: Posture | None, header: Header) -> None:
        """Publish in 3D on topics with subscribers, and the latched URDF when the size has changed.

        Args:
            body: the body.
            posture: its joint angles; None if they are not known.
            header: time and frame of the body's 3D positions.
        """
        self.size.update(body)
        size = self.size.described
        if self._urdf and size is not None and size is not self._published_size:
            self._published_size = size
            self._urdf.publish(String(data=urdf(self._id, size)))
        if self._joints and posture and has_subscribers(self._joints):
            self._joints.publish(joint_state(self._id, posture, header))
        if self._position and has_subscribers(self._position) and np.isfinite(body.root_m).all():
            position = PointStamped(header=header)
            set_point(position.point, body.root_m.tolist())
            self._position.publish(position)

    def publish_2d(
        self, body: Body, perception: Perception, rgb: UInt8[np.ndarray, "h w 3"], header: Header
    ) -> None:
        """Publish in 2D on topics with subscribers, if the body was detected in the image.

        Args:
            body: one of ``perception.bodies``.
            perception: of the image; gives its size.
            rgb: the image.
            header: stamp and frame_id of the image.
        """
        if not self._hri or not perception.width or body.state is not TrackState.TRACKED:
            return
        if self._roi and has_subscribers(self._roi):
            self._roi.publish(region_of_interest(self._hri, body, perception, header))
        if self._skeleton and has_subscribers(self._skeleton):
            self._skeleton.publish(skeleton2d(self._hri, body, perception, header))
        if self._cropped and has_subscribers(self._cropped):
            limits = [perception.width, perception.height] * 2
            x0, y0, x1, y1 = np.clip(np.round(body.box), 0, limits)
            crop = rgb[int(y0) : int(y1), int(x0) : int(x1)]
            if crop.size:
                self._cropped.publish(image_message(crop, header))


def joint_state(body_id: str, posture: Posture, header: Header) -> JointState:
    """The known joint angles; a joint with an unknown angle is left out."""
    names = [name for name in REVOLUTE_JOINTS if name in posture.angles]
    return JointState(
        header=header,
        name=[f"{name}_{body_id}" for name in names],
        position=[posture.angles[name] for name in names],
    )


def region_of_interest(hri: Any, body: Body, perception: Perception, header: Header) -> Any:
    """The bounding box as hri_msgs/NormalizedRegionOfInterest2D; ``hri`` is hri_msgs.msg."""
    size = np.array([perception.width, perception.height] * 2)
    x0, y0, x1, y1 = np.clip(body.box / size, 0, 1).tolist()
    return hri.NormalizedRegionOfInterest2D(
        header=header, xmin=x0, ymin=y0, xmax=x1, ymax=y1, c=float(body.score)
    )


def skeleton2d(hri: Any, body: Body, perception: Perception, header: Header) -> Any:
    """hri_msgs/Skeleton2D: 18 keypoints in 0..1 from the top left; unknown: NaN with c = 0."""
    size = np.array([perception.width, perception.height, 1])
    keypoints = body.keypoints[list(REP155_18)] / size
    known = np.isfinite(keypoints).all(axis=1)
    points = [
        hri.NormalizedPointOfInterest2D(x=x, y=y, c=c if is_known else 0.0)
        for (x, y, c), is_known in zip(keypoints.tolist(), known, strict=True)
    ]
    return hri.Skeleton2D(header=header, skeleton=points)


def _differ(a: BodySize, b: BodySize) -> bool:
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(BodySize)]
    return any(abs(x - y) > _MAX_DEVIATION * y for x, y in pairs)
