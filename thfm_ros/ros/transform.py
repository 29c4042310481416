# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Bodies in another tf frame than the camera's, if the parameter ``target_frame`` names one.

tf2_ros is part of an apt installation and on no Python index, so it is imported only when needed.
Without a transform nothing is published: never is a body published in a frame where its position
is not known.
"""

from dataclasses import replace
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from thfm_ros.camera.calibration import tf_frame
from thfm_ros.contract import Body, Perception, PerceptionError
from thfm_ros.geometry import pack_covariance, unpack_covariance
from thfm_ros.perception.root_filter import extrapolation_s
from thfm_ros.ros.to_msg.headers import header_at

_FRAME_MOTION_NS = 150_000_000
"""The motion of the camera is measured over this time, about the lag of the bodies' velocities."""


class FrameMotion(NamedTuple):
    """How the camera's frame moves in the target frame: changes per second."""

    rotation: Float64[np.ndarray, "3 3"]
    translation_m: Float64[np.ndarray, "3"]


class TargetFrame:
    """Transforms bodies into the tf frame ``target_frame``, at the time of their image.

    ``problem`` says why the last bodies could not be transformed; empty if they could.
    ``centre_m`` is where the camera was then, in the target frame; NaN if its frame is that.

    Raises:
        PerceptionError: tf2_ros is not installed.
    """

    def __init__(self, node: Node, target_frame: str, timeout_s: float) -> None:
        try:
            tf2_ros: Any = import_module("tf2_ros")
        except ImportError as error:
            raise PerceptionError(
                f"target_frame is {target_frame!r}, which needs tf2_ros, and that is not installed "
                f"({error}). Install it (apt: ros-$ROS_DISTRO-tf2-ros-py), or leave target_frame "
                "empty to get bodies in the camera's optical frame."
            ) from error
        self._node, self._frame = node, tf_frame(target_frame)
        self._timeout = Duration(seconds=timeout_s)
        self._buffer = tf2_ros.Buffer(node=node)
        self._listener = tf2_ros.TransformListener(self._buffer, node)
        self._errors = tf2_ros.TransformException
        self.problem = ""
        self.centre_m = np.full(3, np.nan)

    def clear(self) -> None:
        """Discard all transforms: after a jump back in time, later ones would hide the new ones."""
        self._buffer.clear()

    def close(self) -> None:
        """Destroy the listener's subscriptions and the buffer's service, which the node keeps."""
        self._listener.unregister()
        if service := getattr(self._buffer, "srv", None):
            self._node.destroy_service(service)

    def transform(
        self, perception: Perception, header: Header, predicted: Perception | None = None
    ) -> tuple[Perception, Header] | None:
        """The perception with bodies in the target frame, and its header.

        Args:
            perception: of an image.
            header: of the image.
            predicted: its bodies at a later time. They are returned, with that time in the header,
                unless the motion of the camera, which would have to be predicted, too, is unknown.

        Returns:
            None if the transform is not known; then ``problem`` says why.
        """
        frame_id = tf_frame(header.frame_id)
        if frame_id == self._frame:
            self.problem, self.centre_m = "", np.full(3, np.nan)
            if predicted is None:
                return perception, header
            return predicted, header_at(predicted.stamp_ns, header.frame_id)
        try:
            stamped = self._buffer.lookup_transform(
                self._frame, frame_id, Time.from_msg(header.stamp), self._timeout
            )
        except self._errors as error:
            self.problem = (
                f"no transform from {frame_id!r} to target_frame {self._frame!r}: {error}. "
                "Bodies are not published. Publish the transform, or leave target_frame empty."
            )
            return None
        self.problem = ""
        rotation, translation = _rotation_and_translation(stamped)
        self.centre_m = translation
        motion = self._motion(header, frame_id, rotation, translation)
        new_header = Header(stamp=header.stamp, frame_id=self._frame)
        transformed = transformed_perception(perception, rotation, translation, motion)
        if predicted is None or motion is None:
            return transformed, new_header
        later = transformed_perception(predicted, rotation, translation, motion)
        bodies = tuple(
            _moved_with_camera(*each, motion)
            for each in zip(perception.bodies, transformed.bodies, later.bodies, strict=True)
        )
        return replace(later, bodies=bodies), header_at(predicted.stamp_ns, self._frame)

    def _motion(
        self,
        header: Header,
        frame_id: str,
        rotation: Float64[np.ndarray, "3 3"],
        translation_m: Float64[np.ndarray, "3"],
    ) -> FrameMotion | None:
        """The motion of the camera's frame up to the header's stamp; None if it is not known."""
        earlier_ns = Time.from_msg(header.stamp).nanoseconds - _FRAME_MOTION_NS
        if earlier_ns <= 0:  # tf2 would take 0 for the newest transform
            return None
        try:
            stamped = self._buffer.lookup_transform(
                self._frame, frame_id, Time(nanoseconds=earlier_ns), Duration()
            )
        except self._errors:
            return None
        earlier_rotation, earlier_translation_m = _rotation_and_translation(stamped)
        seconds = _FRAME_MOTION_NS * 1e-9
        return FrameMotion(
            (rotation - earlier_rotation) / seconds,
            (translation_m - earlier_translation_m) / seconds,
        )


def matrix_from_quaternion(quaternion: Any) -> Float64[np.ndarray, "3 3"]:
    """Rotation matrix of a geometry_msgs/Quaternion, which is normalised first."""
    q = np.array([quaternion.x, quaternion.y, quaternion.z, quaternion.w])
    x, y, z, w = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def transformed_perception(
    perception: Perception,
    rotation: Float64[np.ndarray, "3 3"],
    translation_m: Float64[np.ndarray, "3"],
    motion: FrameMotion | None,
) -> Perception:
    """The perception with all bodies in another frame; see `transformed_body`."""
    bodies = tuple(transformed_body(b, rotation, translation_m, motion) for b in perception.bodies)
    return replace(perception, bodies=bodies)


def transformed_body(
    body: Body,
    rotation: Float64[np.ndarray, "3 3"],
    translation_m: Float64[np.ndarray, "3"],
    motion: FrameMotion | None,
) -> Body:
    """The body in another frame: p' = rotation p + translation. Pixels are unchanged.

    The velocity becomes one relative to the other frame, with the camera's own ``motion`` there;
    if that is not known, it is NaN.
    """
    velocity, covariance = np.full(3, np.nan), np.full(6, np.nan)
    if motion is not None:
        velocity = rotation @ body.velocity_m_s + motion.rotation @ body.root_m
        velocity = velocity + motion.translation_m
        covariance = _rotated(body.velocity_covariance, rotation)
    return replace(
        body,
        positions_m=(body.positions_m @ rotation.T + translation_m).astype(np.float32),
        covariances_m2=_rotated(body.covariances_m2, rotation),
        root_m=(rotation @ body.root_m + translation_m).astype(np.float32),
        root_covariance_m2=_rotated(body.root_covariance_m2, rotation),
        velocity_m_s=velocity.astype(np.float32),
        velocity_covariance=covariance.astype(np.float32),
    )


def _moved_with_camera(body: Body, transformed: Body, predicted: Body, motion: FrameMotion) -> Body:
    """``predicted``, which the camera's pose at the time of the image took into the target frame,
    moved by what the camera moves until then: a person's velocity in its frame contains that.

    ``body`` is the person in the image, in the camera's frame, ``transformed`` in the target frame.
    A person whose velocity is not known stays where they are in the target frame.
    """
    seconds = extrapolation_s(predicted) - extrapolation_s(body)
    moved_m = (motion.rotation @ body.root_m + motion.translation_m) * seconds
    if not np.isfinite(transformed.velocity_m_s).all():
        moved_m = np.zeros(3)
    return replace(
        predicted,
        positions_m=(predicted.positions_m + moved_m).astype(np.float32),
        root_m=(predicted.root_m + moved_m).astype(np.float32),
        velocity_m_s=transformed.velocity_m_s,
    )


def _rotation_and_translation(
    stamped: Any,
) -> tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, "3"]]:
    """The contents of a geometry_msgs/TransformStamped."""
    vector = stamped.transform.translation
    rotation = matrix_from_quaternion(stamped.transform.rotation)
    return rotation, np.array([vector.x, vector.y, vector.z])


def _rotated(
    covariances: Float32[np.ndarray, "*n 6"], r: Float64[np.ndarray, "3 3"]
) -> Float32[np.ndarray, "*n 6"]:
    return pack_covariance(r @ unpack_covariance(covariances) @ r.T)
