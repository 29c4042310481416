"""Bodies as REP-155 has them: topics under /humans/bodies/<id>/ and a tree of tf frames.

What core message types can say is always there: joint_states, urdf, position. tf needs tf2_msgs,
the list of ids, regions, 2D skeletons and cropped pictures need hri_msgs; neither is on a Python
index, so each is used where it is installed, and `Humans.about` says what is missing.
"""

from collections.abc import Mapping, Set
from dataclasses import fields
from importlib import import_module
from typing import Any

import numpy as np
from geometry_msgs.msg import PointStamped, TransformStamped
from jaxtyping import Float64, UInt8
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header, String

from thfm_ros.config import NodeConfig
from thfm_ros.contract import Body, Perception, TrackState
from thfm_ros.ros.human_angles import Posture, posture
from thfm_ros.ros.human_model import MOVING, BodySize, forward, measured, urdf
from thfm_ros.ros.to_msg.bodies import point
from thfm_ros.ros.to_msg.images import image_message
from thfm_ros.ros.transform import quaternion_of
from thfm_ros.skeleton import REP155_18

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_RESIZED = 0.1  # a length that changed by more than this share is worth another description
_FOLLOW = 0.05  # how fast the believed lengths follow the measured ones, per frame


class Humans:
    """Publishes people the REP-155 way. Called by the worker's thread only."""

    def __init__(self, node: Node, config: NodeConfig) -> None:
        self._node = node
        self._prefix = config.body_frame_prefix
        self._root = config.humans_namespace.rstrip("/")
        self._hri = _optional("hri_msgs.msg")
        self._people: dict[str, _Person] = {}
        self._sizes: dict[str, _SteadySize] = {}
        self._tf_msgs = _optional("tf2_msgs.msg") if config.publish_tf else None
        self._tf = self._tf_msgs and node.create_publisher(self._tf_msgs.TFMessage, "/tf", 100)
        self._tracked = None
        if self._root and self._hri:
            topic = f"{self._root}/bodies/tracked"
            self._tracked = node.create_publisher(self._hri.IdsList, topic, 1)
        self._wants_tf = config.publish_tf

    @property
    def about(self) -> Mapping[str, str]:
        """What is published, and what is missing for the rest."""
        tf = "on" if self._tf else "off (publish_tf)"
        if self._wants_tf and not self._tf:
            tf = "off: tf2_msgs is not installed"
        hri = "on" if self._hri else "off: hri_msgs is not installed"
        if not self._root:
            hri = "off (humans_namespace is empty)"
        return {
            "REP-155 namespace": self._root or "off",
            "tf of bodies": tf,
            "tracked, roi, skeleton2d, cropped": hri,
            "bodies": ", ".join(sorted(self._people)),
        }

    def needed(self) -> bool:
        """Whether anybody listens to anything that this would publish."""
        return (
            _has_listener(self._tf)
            or _has_listener(self._tracked)
            or any(person.needed() for person in list(self._people.values()))
        )

    def publish(self, seen: Perception, rgb: UInt8[np.ndarray, "h w 3"], header: Header) -> None:
        """Everybody who is more than a first suspicion; ``header`` has the frame of the bodies."""
        bodies = [body for body in seen.bodies if body.state is not TrackState.TENTATIVE]
        transforms: list[TransformStamped] = []
        self._forget(self._people.keys() - {body.id for body in bodies})
        for body in bodies:
            found = posture(body.positions_m)
            if found is not None:
                self._sizes.setdefault(body.id, _SteadySize()).follow(measured(body.positions_m))
            if self._root:
                self._person(body).publish(body, seen, found, rgb, header)
            if found is not None and _has_listener(self._tf):
                transforms += self._transforms(body, found, header)
        if transforms and self._tf and self._tf_msgs:
            self._tf.publish(self._tf_msgs.TFMessage(transforms=transforms))
        if self._tracked and self._hri:
            ids = [body.id for body in bodies]
            self._tracked.publish(self._hri.IdsList(header=header, ids=ids))

    def clear(self, header: Header) -> None:
        """Nobody is here any more."""
        self._forget(set(self._people))
        if self._tracked and self._hri:
            self._tracked.publish(self._hri.IdsList(header=header, ids=[]))

    def close(self) -> None:
        """Give the topics back."""
        self._forget(set(self._people))
        for publisher in (self._tf, self._tracked):
            if publisher:
                self._node.destroy_publisher(publisher)

    def _person(self, body: Body) -> "_Person":
        if body.id not in self._people:
            topic = f"{self._root}/bodies/{body.id}"
            size = self._sizes.setdefault(body.id, _SteadySize())
            self._people[body.id] = _Person(self._node, topic, body.id, size, self._hri)
        return self._people[body.id]

    def _forget(self, gone: Set[str]) -> None:
        for body_id in set(gone):
            self._people.pop(body_id).close()
            self._sizes.pop(body_id, None)

    def _transforms(self, body: Body, found: Posture, header: Header) -> list[TransformStamped]:
        """``body_<id>`` in the header's frame, and every link that can be placed in that."""
        base = f"{self._prefix}{body.id}"
        made = [_transform(header, header.frame_id, base, found.rotation, found.origin_m)]
        size = self._sizes[body.id].described
        assert size is not None  # followed just now
        for link, place in forward(size, found.angles).items():
            if link != "body":
                name = f"{link}_{body.id}"
                made.append(_transform(header, base, name, place[:3, :3], place[:3, 3]))
        return made


class _SteadySize:
    """The lengths of one person, so steady that the description need not be sent every frame."""

    def __init__(self) -> None:
        self._believed: BodySize | None = None
        self.described: BodySize | None = None

    def follow(self, now: BodySize) -> None:
        """Take in another measurement; ``described`` changes only when it is off by much."""
        old = self._believed or now
        lengths = {
            f.name: (1 - _FOLLOW) * getattr(old, f.name) + _FOLLOW * getattr(now, f.name)
            for f in fields(BodySize)
        }
        self._believed = BodySize(**lengths)
        if self.described is None or _differs(self._believed, self.described):
            self.described = self._believed


class _Person:
    """The topics of one body."""

    def __init__(self, node: Node, topic: str, body_id: str, size: _SteadySize, hri: Any) -> None:
        self._node, self._id, self._hri = node, body_id, hri
        self._size = size
        self._sent: BodySize | None = None
        self._joints = node.create_publisher(JointState, f"{topic}/joint_states", 1)
        self._position = node.create_publisher(PointStamped, f"{topic}/position", 1)
        self._urdf = node.create_publisher(String, f"{topic}/urdf", LATCHED)
        self._all = [self._joints, self._position, self._urdf]
        if hri:
            self._roi = node.create_publisher(hri.NormalizedRegionOfInterest2D, f"{topic}/roi", 1)
            self._skeleton = node.create_publisher(hri.Skeleton2D, f"{topic}/skeleton2d", 1)
            self._cropped = node.create_publisher(Image, f"{topic}/cropped", 1)
            self._all += [self._roi, self._skeleton, self._cropped]

    def needed(self) -> bool:
        return any(_has_listener(publisher) for publisher in self._all)

    def close(self) -> None:
        for publisher in self._all:
            self._node.destroy_publisher(publisher)

    def publish(
        self,
        body: Body,
        seen: Perception,
        found: Posture | None,
        rgb: UInt8[np.ndarray, "h w 3"],
        header: Header,
    ) -> None:
        # A description is latched, so it is sent whether or not somebody listens already.
        size = self._size.described
        if size is not None and size is not self._sent:
            self._sent = size
            self._urdf.publish(String(data=urdf(self._id, size)))
        if found and _has_listener(self._joints):
            self._joints.publish(joint_state(self._id, found, header))
        if np.isfinite(body.root_m).all() and _has_listener(self._position):
            self._position.publish(PointStamped(header=header, point=point(body.root_m.tolist())))
        if self._hri and body.state is TrackState.TRACKED:
            # What lies in the picture keeps the picture's frame.
            in_picture = Header(stamp=header.stamp, frame_id=seen.frame_id)
            self._publish_hri(body, seen, rgb, in_picture)

    def _publish_hri(
        self, body: Body, seen: Perception, rgb: UInt8[np.ndarray, "h w 3"], header: Header
    ) -> None:
        if _has_listener(self._roi):
            self._roi.publish(region_of_interest(self._hri, body, seen, header))
        if _has_listener(self._skeleton):
            self._skeleton.publish(skeleton2d(self._hri, body, seen, header))
        if _has_listener(self._cropped):
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


def _transform(
    header: Header,
    parent: str,
    child: str,
    rotation: Float64[np.ndarray, "3 3"],
    translation: Float64[np.ndarray, "3"],
) -> TransformStamped:
    made = TransformStamped(child_frame_id=child)
    made.header.stamp, made.header.frame_id = header.stamp, parent
    to, turn = made.transform.translation, made.transform.rotation
    to.x, to.y, to.z = translation.tolist()
    turn.x, turn.y, turn.z, turn.w = quaternion_of(rotation)
    return made


def _differs(a: BodySize, b: BodySize) -> bool:
    pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(BodySize)]
    return any(abs(x - y) > _RESIZED * y for x, y in pairs)


def _has_listener(publisher: Any) -> bool:
    return bool(publisher) and publisher.get_subscription_count() > 0


def _optional(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        return None
