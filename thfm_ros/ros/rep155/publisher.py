"""Bodies as REP-155 has them: topics under /humans/bodies/<id>/ and a tree of tf frames.

What core message types can say is always there: joint_states, urdf, position. tf needs tf2_msgs,
the list of ids, regions, 2D skeletons and cropped images need hri_msgs; neither is on a Python
index, so each is used where it is installed, and `Humans.about` says what is missing.
"""

from collections.abc import Mapping, Set
from importlib import import_module
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from jaxtyping import Float64, UInt8
from rclpy.exceptions import InvalidTopicNameException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.validate_full_topic_name import validate_full_topic_name
from std_msgs.msg import Header

from thfm_ros.config import NodeConfig
from thfm_ros.contract import Perception, PerceptionError, TrackState
from thfm_ros.ros.qos import NEWEST, has_listener, publisher
from thfm_ros.ros.rep155.body_topics import Human
from thfm_ros.ros.rep155.joint_angles import Posture, posture
from thfm_ros.ros.rep155.kinematics import BodySize, steps
from thfm_ros.ros.transform import quaternion_of


def check_namespace(namespace: str) -> None:
    """PerceptionError where no topic can be below ``namespace``; empty is fine."""
    try:
        if root := namespace.rstrip("/"):
            validate_full_topic_name(expand_topic_name(f"{root}/bodies/id", "thfm", "/"))
    except (ValueError, InvalidTopicNameException) as error:
        raise PerceptionError(
            f"humans_namespace is {namespace!r}, which is no name: {error} Set it to one like "
            "'/humans', or to '' to publish none of REP-155."
        ) from error


class Humans:
    """Publishes people the REP-155 way. Called by the worker's thread only."""

    def __init__(self, node: Node, config: NodeConfig) -> None:
        self._node = node
        self._prefix = config.body_frame_prefix
        self._root = config.humans_namespace.rstrip("/")
        self._people: dict[str, Human] = {}
        self._hri = _optional("hri_msgs.msg")
        self._tracked = None
        if self._root and self._hri:
            topic = f"{self._root}/bodies/tracked"
            self._tracked = publisher(node, self._hri.IdsList, topic, NEWEST)
        self._wants_tf = config.publish_tf
        self._tf_msgs = _optional("tf2_msgs.msg") if config.publish_tf else None
        self._tf = None
        if self._tf_msgs:
            self._tf = publisher(node, self._tf_msgs.TFMessage, "/tf", QoSProfile(depth=100))

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
        lists = has_listener(self._tf) or has_listener(self._tracked)
        return lists or any(human.needed for human in self._people.values())

    def publish(self, seen: Perception, rgb: UInt8[np.ndarray, "h w 3"], header: Header) -> None:
        """Everybody who is more than a first suspicion; ``header`` has the frame of the bodies."""
        bodies = [body for body in seen.bodies if body.state is not TrackState.TENTATIVE]
        self._forget(self._people.keys() - {body.id for body in bodies})
        transforms: list[TransformStamped] = []
        with_tf = has_listener(self._tf)
        for body in bodies:
            human = self._people.get(body.id) or self._meet(body.id)
            found = posture(body.positions_m) if with_tf or human.angles_needed else None
            human.publish(body, seen, found, rgb, header)
            if with_tf and found and human.size.described:
                base = f"{self._prefix}{body.id}"
                transforms += tree(base, body.id, found, human.size.described, header)
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
        for each in (self._tf, self._tracked):
            if each:
                self._node.destroy_publisher(each)

    def _meet(self, body_id: str) -> Human:
        root = f"{self._root}/bodies/{body_id}" if self._root else ""
        human = self._people[body_id] = Human(self._node, root, body_id, self._hri)
        return human

    def _forget(self, gone: Set[str]) -> None:
        for body_id in set(gone):
            self._people.pop(body_id).close()


def tree(
    base: str, body_id: str, found: Posture, size: BodySize, header: Header
) -> list[TransformStamped]:
    """``base``, the body's frame, in the header's; below it every link that can be placed."""
    made = [_transform(header, header.frame_id, base, found.rotation, found.origin_m)]
    for hinge, step in steps(size, found.angles):
        parent = base if hinge.parent == "body" else f"{hinge.parent}_{body_id}"
        name = f"{hinge.child}_{body_id}"
        made.append(_transform(header, parent, name, step[:3, :3], step[:3, 3]))
    return made


def _transform(
    header: Header,
    parent: str,
    child: str,
    rotation: Float64[np.ndarray, "3 3"],
    translation: Float64[np.ndarray, "3"],
) -> TransformStamped:
    made = TransformStamped(child_frame_id=child)
    made.header = Header(stamp=header.stamp, frame_id=parent)
    to, turn = made.transform.translation, made.transform.rotation
    to.x, to.y, to.z = translation.tolist()
    turn.x, turn.y, turn.z, turn.w = quaternion_of(rotation)
    return made


def _optional(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        return None
