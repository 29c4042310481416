"""Bodies in another tf frame than the camera's, when `target_frame` asks for one.

tf2_ros comes with an apt installation and is on no Python index, so it is only looked for when it
is needed. No transform is no message: nothing is published in a frame where it is not known.
"""

from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from thfm_ros.contract import Body, Perception, PerceptionError
from thfm_ros.geometry import packed

# xx, xy, xz, yy, yz, zz -> the matrix
_UNPACKED = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])


class IntoFrame:
    """Moves people into ``target_frame`` at the moment of their image.

    ``trouble`` says why the last ones could not be moved.

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
        self._node, self._frame = node, target_frame
        self._timeout = Duration(seconds=timeout_s)
        self._buffer = tf2_ros.Buffer(node=node)
        self._listener = tf2_ros.TransformListener(self._buffer, node)
        self._errors = tf2_ros.TransformException
        self.trouble = ""

    def forget(self) -> None:
        """Drop all transforms: those of a later time hide what comes after a jump back."""
        self._buffer.clear()

    def close(self) -> None:
        """Give subscriptions and service back: the node holds on to them otherwise."""
        self._listener.unregister()
        if service := getattr(self._buffer, "srv", None):
            self._node.destroy_service(service)

    def move(self, seen: Perception, header: Header) -> tuple[Perception, Header] | None:
        """The same people in the target frame, and the header that says so; None: unknown."""
        if header.frame_id == self._frame:
            return seen, header
        try:
            found = self._buffer.lookup_transform(
                self._frame, header.frame_id, Time.from_msg(header.stamp), self._timeout
            )
        except self._errors as error:
            self.trouble = (
                f"no transform from {header.frame_id!r} to target_frame {self._frame!r}: {error}. "
                "Bodies are held back. Publish it, or leave target_frame empty."
            )
            return None
        self.trouble = ""
        r = rotation_of(found.transform.rotation)
        at = found.transform.translation
        t = np.array([at.x, at.y, at.z])
        bodies = tuple(moved(body, r, t) for body in seen.bodies)
        return replace(seen, bodies=bodies), Header(stamp=header.stamp, frame_id=self._frame)


def rotation_of(quaternion: Any) -> Float64[np.ndarray, "3 3"]:
    """Matrix of a geometry_msgs/Quaternion."""
    q = np.array([quaternion.x, quaternion.y, quaternion.z, quaternion.w])
    x, y, z, w = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_of(r: Float64[np.ndarray, "3 3"]) -> tuple[float, float, float, float]:
    """x, y, z, w of a rotation matrix."""
    # The largest of the four, which is at least 1/2, divides the others: exact at every angle.
    squares = np.array([r[0, 0], r[1, 1], r[2, 2], np.trace(r)])
    i = int(squares.argmax())
    if i == 3:
        q = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], 1 + squares[3]])
    else:
        j, k = (i + 1) % 3, (i + 2) % 3
        q = np.empty(4)
        q[i] = 1 + r[i, i] - r[j, j] - r[k, k]
        q[j], q[k] = r[j, i] + r[i, j], r[k, i] + r[i, k]
        q[3] = r[k, j] - r[j, k]
    x, y, z, w = (q / np.linalg.norm(q)).tolist()
    return x, y, z, w


def moved(body: Body, r: Float64[np.ndarray, "3 3"], t: Float64[np.ndarray, "3"]) -> Body:
    """A body seen from another frame: p' = r p + t."""
    return replace(
        body,
        positions_m=(body.positions_m @ r.T + t).astype(np.float32),
        covariances_m2=_turned(body.covariances_m2, r),
        root_m=(r @ body.root_m + t).astype(np.float32),
        root_covariance_m2=_turned(body.root_covariance_m2, r),
    )


def _turned(
    covariances: Float32[np.ndarray, "*n 6"], r: Float64[np.ndarray, "3 3"]
) -> Float32[np.ndarray, "*n 6"]:
    return packed(r @ covariances[..., _UNPACKED] @ r.T)
