# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Bodies of a camera in the world: by a pose that the parameters give, or by tf."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from rclpy.node import Node
from std_msgs.msg import Header

from thfm_ros.camera.calibration import tf_frame
from thfm_ros.contract import Perception, PerceptionError
from thfm_ros.ros.transform import FrameMotion, TargetFrame, transformed_perception

Pose = tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, "3"]]
"""Rotation and translation that take points of a camera's frame into the world."""

_AT_REST = FrameMotion(np.zeros((3, 3)), np.zeros(3))


def fixed_poses(texts: Sequence[str]) -> dict[str, Pose]:
    """Pose by frame_id, from texts like "left_optical 0 -4 1.4 -1.57 0 0".

    Raises:
        PerceptionError: a text has another form, or a frame is given twice.
    """
    poses: dict[str, Pose] = {}
    for text in filter(None, (each.strip() for each in texts)):
        frame_id, *words = text.split()
        values = _numbers(words)
        if len(values) != 6:
            raise PerceptionError(
                f"camera_poses has {text!r}; each element is 'FRAME_ID X Y Z ROLL PITCH YAW' in "
                "metres and radians."
            )
        if tf_frame(frame_id) in poses:
            raise PerceptionError(f"camera_poses has two poses of {frame_id!r}; give one.")
        poses[tf_frame(frame_id)] = rotation_from_rpy(*values[3:]), np.array(values[:3])
    return poses


def _numbers(words: Sequence[str]) -> list[float]:
    """The words as finite numbers; none if one of them is something else."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return []
    return values if all(map(math.isfinite, values)) else []


def rotation_from_rpy(roll: float, pitch: float, yaw: float) -> Float64[np.ndarray, "3 3"]:
    """About the fixed axes x, y, z in this order, radians: as static_transform_publisher."""
    (cr, sr), (cp, sp), (cy, sy) = ((math.cos(a), math.sin(a)) for a in (roll, pitch, yaw))
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


class CameraPoses:
    """Takes bodies into the world; the newest ``problem`` says why that failed.

    Args:
        node: owns the tf listener.
        world: the target frame.
        fixed: poses that need no tf.

    Raises:
        PerceptionError: no pose is given, and tf2_ros is not installed.
    """

    def __init__(self, node: Node, world: str, fixed: Mapping[str, Pose]) -> None:
        self._world, self._fixed = tf_frame(world), fixed
        self.problem = ""
        self._tf: TargetFrame | None = None
        self._missing = ""
        try:
            self._tf = TargetFrame(node, world, timeout_s=0.0)
        except PerceptionError as error:
            if not fixed:
                raise PerceptionError(
                    f"{error} Or give the poses of all cameras in the parameter camera_poses."
                ) from error
            self._missing = "tf2_ros is not installed, and"

    def to_world(
        self, perception: Perception, header: Header
    ) -> tuple[Perception, Float64[np.ndarray, "3"]] | None:
        """The perception in the world, and where the camera is; None with a ``problem``."""
        self.problem = ""
        frame_id = tf_frame(header.frame_id)
        if pose := self._fixed.get(frame_id):
            return transformed_perception(perception, *pose, _AT_REST), pose[1]
        if frame_id == self._world:
            return perception, np.full(3, np.nan)
        if not frame_id:
            self.problem = "messages have no frame_id: set the frame_id of the camera's images"
            return None
        if self._tf is None:
            self.problem = f"{self._missing} camera_poses has no pose of {frame_id!r}"
            return None
        transformed = self._tf.transform(perception, header)
        if transformed is None:
            self.problem = self._tf.problem
            return None
        return transformed[0], self._tf.centre_m

    def clear(self) -> None:
        """Discard buffered transforms after time went backwards."""
        if self._tf:
            self._tf.clear()

    def close(self) -> None:
        """Destroy the tf listener."""
        if self._tf:
            self._tf.close()
