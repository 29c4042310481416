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
from thfm_ros.ros.qos import LATCHED, NEWEST, has_listener, publisher
from thfm_ros.ros.rep155.joint_angles import Posture
from thfm_ros.ros.rep155.kinematics import MOVING, BodySize, measured, urdf
from thfm_ros.ros.to_msg.bodies import set_point
from thfm_ros.ros.to_msg.images import image_message
from thfm_ros.skeleton import REP155_18, Joint

_MEASURE_EVERY = 10  # frames; people do not grow
_FOLLOW = 0.3  # how far the believed lengths go towards the measured ones each time
_RESIZED = 0.1  # a length that changed by more than this share is worth another description
_TRUNK = [Joint.LEFT_HIP, Joint.RIGHT_HIP, Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER]


class SteadySize:
    """The lengths of one person, so steady that the description is rarely sent again."""

    def __init__(self) -> None:
        self._believed: BodySize | None = None
        self._frames = 0
        self.described: BodySize | None = None

    def follow(self, body: Body) -> None:
        """Take in a frame; ``described`` changes only when it is off by much."""
        self._frames += 1
        due = self.described is None or self._frames % _MEASURE_EVERY == 0
        if not due or not np.isfinite(body.positions_m[_TRUNK]).all():
            return
        now = measured(body.positions_m)
        old = self._believed or now
        lengths = {
            f.name: (1 - _FOLLOW) * getattr(old, f.name) + _FOLLOW * getattr(now, f.name)
            for f in fields(BodySize)
        }
        self._believed = BodySize(**lengths)
        if self.described is None or _differs(self._believed, self.described):
            self.described = self._believed


class Human:
    """The topics under ``root``, /humans/bodies/<id>; none if it is empty."""

    def __init__(self, node: Node, root: str, body_id: str, hri: Any) -> None:
        self._node, self._id = node, body_id
        self._hri = hri if root else None
        self.size = SteadySize()
        self._sent: BodySize | None = None
        self._joints = self._position = self._urdf = None
        self._roi = self._skeleton = self._cropped = None
        if root:
            self._joints = publisher(node, JointState, f"{root}/joint_states", NEWEST)
            self._position = publisher(node, PointStamped, f"{root}/position", NEWEST)
            self._urdf = publisher(node, String, f"{root}/urdf", LATCHED)
        if self._hri:
            self._roi = publisher(node, hri.NormalizedRegionOfInterest2D, f"{root}/roi", NEWEST)
            self._skeleton = publisher(node, hri.Skeleton2D, f"{root}/skeleton2d", NEWEST)
            self._cropped = publisher(node, Image, f"{root}/cropped", NEWEST)
        every = (self._joints, self._position, self._urdf, self._roi, self._skeleton, self._cropped)
        self._all = [each for each in every if each is not None]

    @property
    def needed(self) -> bool:
        """Whether anybody listens to any of them."""
        return any(has_listener(each) for each in self._all)

    @property
    def angles_needed(self) -> bool:
        """Whether anybody listens to the joints' angles."""
        return has_listener(self._joints)

    def close(self) -> None:
        """Give the topics back."""
        for each in self._all:
            self._node.destroy_publisher(each)

    def publish(
        self,
        body: Body,
        seen: Perception,
        found: Posture | None,
        rgb: UInt8[np.ndarray, "h w 3"],
        header: Header,
    ) -> None:
        """Everything that has a listener; the description whether it has one or not."""
        self.size.follow(body)
        size = self.size.described
        if self._urdf and size is not None and size is not self._sent:
            self._sent = size
            self._urdf.publish(String(data=urdf(self._id, size)))
        if self._joints and found and has_listener(self._joints):
            self._joints.publish(joint_state(self._id, found, header))
        if self._position and has_listener(self._position) and np.isfinite(body.root_m).all():
            where = PointStamped(header=header)
            set_point(where.point, body.root_m.tolist())
            self._position.publish(where)
        if self._hri and body.state is TrackState.TRACKED:
            # What lies in the image keeps the image's frame.
            self._publish_2d(body, seen, rgb, Header(stamp=header.stamp, frame_id=seen.frame_id))

    def _publish_2d(
        self, body: Body, seen: Perception, rgb: UInt8[np.ndarray, "h w 3"], header: Header
    ) -> None:
        if self._roi and has_listener(self._roi):
            self._roi.publish(region_of_interest(self._hri, body, seen, header))
        if self._skeleton and has_listener(self._skeleton):
            self._skeleton.publish(skeleton2d(self._hri, body, seen, header))
        if self._cropped and has_listener(self._cropped):
            x0, y0, x1, y1 = np.clip(np.round(body.box), 0, [seen.width, seen.height] * 2)
            cut = rgb[int(y0) : int(y1), int(x0) : int(x1)]
            if cut.size:
                self._cropped.publish(image_message(cut, header))


def joint_state(body_id: str, found: Posture, header: Header) -> JointState:
    """The angles that are known; a joint that is not seen is not in the message."""
    names = [name for name in MOVING if name in found.angles]
    return JointState(
        header=header,
        name=[f"{name}_{body_id}" for name in names],
        position=[found.angles[name] for name in names],
    )


def region_of_interest(hri: Any, body: Body, seen: Perception, header: Header) -> Any:
    """The box as hri_msgs/NormalizedRegionOfInterest2D; ``hri`` is the module hri_msgs.msg."""
    size = np.array([seen.width, seen.height] * 2)
    x0, y0, x1, y1 = np.clip(body.box / size, 0, 1).tolist()
    return hri.NormalizedRegionOfInterest2D(
        header=header, xmin=x0, ymin=y0, xmax=x1, ymax=y1, c=float(body.score)
    )


def skeleton2d(hri: Any, body: Body, seen: Perception, header: Header) -> Any:
    """hri_msgs/Skeleton2D: 18 points, 0..1 from the top left; an unknown one is NaN, c is 0."""
    chosen = body.keypoints[list(REP155_18)] / np.array([seen.width, seen.height, 1])
    known = np.isfinite(chosen).all(axis=1)
    skeleton = [
        hri.NormalizedPointOfInterest2D(x=x, y=y, c=c if sure else 0.0)
        for (x, y, c), sure in zip(chosen.tolist(), known, strict=True)
    ]
    return hri.Skeleton2D(header=header, skeleton=skeleton)


def _differs(a: BodySize, b: BodySize) -> bool:
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(BodySize)]
    return any(abs(x - y) > _RESIZED * y for x, y in pairs)
