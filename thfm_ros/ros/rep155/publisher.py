# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Bodies as in REP-155: topics under /humans/bodies/<id>/ and a tree of tf frames.

joint_states, urdf and position need core message types only and are always published. tf needs
tf2_msgs; the list of ids, regions of interest, 2D skeletons and cropped images need hri_msgs.
Neither is on a Python index, so each is used where it is installed, and the diagnostics say what
is missing.
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

from thfm_ros.config_node import NodeConfig
from thfm_ros.contract import Perception, PerceptionError, TrackState
from thfm_ros.geometry import quaternion_from_matrix
from thfm_ros.posture.joint_angles import Posture, solve_posture
from thfm_ros.posture.kinematics import BodySize, joint_transforms
from thfm_ros.ros.qos import LATEST, create_publisher, has_subscribers
from thfm_ros.ros.rep155.body_topics import BodyTopics


def check_namespace(namespace: str) -> None:
    """Check that ``namespace`` can be the beginning of a topic name; it may be empty.

    Raises:
        PerceptionError: it cannot.
    """
    try:
        if root := namespace.rstrip("/"):
            validate_full_topic_name(expand_topic_name(f"{root}/bodies/id", "thfm", "/"))
    except (ValueError, InvalidTopicNameException) as error:
        raise PerceptionError(
            f"humans_namespace is {namespace!r}, which is not a valid name: {error} Set it to one "
            "like '/humans', or to '' to publish nothing of REP-155."
        ) from error


class HumansPublisher:
    """Publishes bodies on REP-155 topics and tf. Used by the worker's thread only."""

    def __init__(self, node: Node, config: NodeConfig) -> None:
        self._node = node
        self._frame_prefix = config.body_frame_prefix
        self._root = config.humans_namespace.rstrip("/")
        self._with_crops = config.publish_camera_images
        self._bodies: dict[str, BodyTopics] = {}
        self._hri = _optional_module("hri_msgs.msg")
        self._tracked = None
        if self._root and self._hri:
            topic = f"{self._root}/bodies/tracked"
            self._tracked = create_publisher(node, self._hri.IdsList, topic, LATEST)
        self._publish_tf = config.publish_tf
        self._tf_msgs = _optional_module("tf2_msgs.msg") if config.publish_tf else None
        self._tf = None
        if self._tf_msgs:
            self._tf = create_publisher(node, self._tf_msgs.TFMessage, "/tf", QoSProfile(depth=100))

    @property
    def diagnostic_values(self) -> Mapping[str, str]:
        """What is published, and what is missing for the rest."""
        tf = "on" if self._tf else "off (publish_tf)"
        if self._publish_tf and not self._tf:
            tf = "off: tf2_msgs is not installed"
        hri = "on" if self._hri else "off: hri_msgs is not installed"
        if not self._root:
            hri = "off (humans_namespace is empty)"
        return {
            "REP-155 namespace": self._root or "off",
            "tf of bodies": tf,
            "tracked, roi, skeleton2d, cropped": hri,
            "bodies": ", ".join(sorted(self._bodies)),
        }

    def has_subscribers(self) -> bool:
        """Whether any topic that this publishes has a subscriber. Any thread may call it."""
        shared = has_subscribers(self._tf) or has_subscribers(self._tracked)
        bodies = list(self._bodies.values())  # a copy: the diagnostics' thread calls this, too
        return shared or any(body.have_subscribers for body in bodies)

    def publish(
        self,
        perception: Perception,
        rgb: UInt8[np.ndarray, "h w 3"],
        header: Header,
        in_image: tuple[Perception, Header] | None = None,
    ) -> None:
        """Publish all confirmed tracks.

        Args:
            perception: what is published in 3D.
            rgb: the image.
            header: time and frame of the 3D positions.
            in_image: the perception of the image with its header, if ``perception`` is one of a
                later time: what is published in 2D.
        """
        bodies = [body for body in perception.bodies if body.state is not TrackState.TENTATIVE]
        self._remove(self._bodies.keys() - {body.id for body in bodies})
        image_perception, image_header = in_image or (perception, header)
        flat = {body.id: body for body in image_perception.bodies}
        image_header = Header(stamp=image_header.stamp, frame_id=perception.frame_id)
        transforms: list[TransformStamped] = []
        with_tf = has_subscribers(self._tf)
        for body in bodies:
            topics = self._bodies.get(body.id) or self._add(body.id)
            posture = solve_posture(body.positions_m) if with_tf or topics.needs_angles else None
            topics.publish(body, posture, header)
            topics.publish_2d(flat[body.id], image_perception, rgb, image_header)
            if with_tf and posture and topics.size.described:
                frame = f"{self._frame_prefix}{body.id}"
                transforms += body_transforms(
                    frame, body.id, posture, topics.size.described, header
                )
        if transforms and self._tf and self._tf_msgs:
            self._tf.publish(self._tf_msgs.TFMessage(transforms=transforms))
        if self._tracked and self._hri:
            ids = [body.id for body in bodies]
            self._tracked.publish(self._hri.IdsList(header=header, ids=ids))

    def clear(self, header: Header) -> None:
        """Remove all bodies: there is no current detection."""
        self._remove(set(self._bodies))
        if self._tracked and self._hri:
            self._tracked.publish(self._hri.IdsList(header=header, ids=[]))

    def close(self) -> None:
        """Destroy all publishers."""
        self._remove(set(self._bodies))
        for each in (self._tf, self._tracked):
            if each:
                self._node.destroy_publisher(each)

    def _add(self, body_id: str) -> BodyTopics:
        namespace = f"{self._root}/bodies/{body_id}" if self._root else ""
        topics = BodyTopics(self._node, namespace, body_id, self._hri, self._with_crops)
        self._bodies[body_id] = topics
        return topics

    def _remove(self, body_ids: Set[str]) -> None:
        for body_id in set(body_ids):
            self._bodies.pop(body_id).close()


def body_transforms(
    frame: str, body_id: str, posture: Posture, size: BodySize, header: Header
) -> list[TransformStamped]:
    """The tf tree of a body: ``frame`` in the header's frame, and below it every known link."""
    rotation, origin = posture.rotation, posture.origin_m
    transforms = [_transform(header, header.frame_id, frame, rotation, origin)]
    for joint, t_parent_child in joint_transforms(size, posture.angles):
        parent = frame if joint.parent == "body" else f"{joint.parent}_{body_id}"
        child = f"{joint.child}_{body_id}"
        rotation, origin = t_parent_child[:3, :3], t_parent_child[:3, 3]
        transforms.append(_transform(header, parent, child, rotation, origin))
    return transforms


def _transform(
    header: Header,
    parent: str,
    child: str,
    rotation: Float64[np.ndarray, "3 3"],
    translation_m: Float64[np.ndarray, "3"],
) -> TransformStamped:
    stamped = TransformStamped(child_frame_id=child)
    stamped.header = Header(stamp=header.stamp, frame_id=parent)
    t, q = stamped.transform.translation, stamped.transform.rotation
    t.x, t.y, t.z = translation_m.tolist()
    q.x, q.y, q.z, q.w = quaternion_from_matrix(rotation)
    return stamped


def _optional_module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None
