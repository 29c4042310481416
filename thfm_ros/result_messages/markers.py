# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Bodies as markers for rviz: joints, bones, and the id above the head.

Three markers per body, in a namespace of their own. Joints with a low confidence or an unknown
position are left out; they are never drawn at the origin.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from thfm_ros.contract import Body, Perception, TrackState
from thfm_ros.media.drawing import colour_of
from thfm_ros.result_messages.bodies import set_point
from thfm_ros.result_messages.kinds import MessageKinds
from thfm_ros.skeleton import BONES, JOINT_NAMES, Joint

_JOINTS, _BONES, _ID = 0, 1, 2  # ids of the markers of a body
_LINE_LIST, _SPHERE_LIST, _TEXT = 5, 7, 9  # of visualization_msgs/Marker, as the next ones
_DELETE, _DELETE_ALL = 2, 3
_LIFETIME_NS = 500_000_000  # rviz removes the markers of a node that has crashed
_MARKER, _POINT = "visualization_msgs/msg/Marker", "geometry_msgs/msg/Point"
_BONE_ENDS = np.array(BONES)


class BodyMarkers:
    """Makes the markers of each frame, and deletes those of bodies that are gone.

    Successive messages share their parts: publish a message before making the next.
    """

    def __init__(self, kinds: MessageKinds) -> None:
        self._kinds = kinds
        self._displayed: dict[str, _MarkersOfBody] = {}

    def markers(self, perception: Perception, header: Any, min_confidence: float = 0.0) -> Any:
        """The changes for this frame; keypoints below ``min_confidence`` are left out."""
        visible = []
        for body in perception.bodies:
            known = np.isfinite(body.positions_m).all(axis=1)
            known &= body.keypoints[:, 2] >= min_confidence
            if known.any():
                visible.append((body, known))
        gone = self._displayed.keys() - {body.id for body, _ in visible}
        changes = [
            self._marker(header=header, ns=f"body_{body_id}", id=number, action=_DELETE)
            for body_id in sorted(gone)
            for number in (_JOINTS, _BONES, _ID)
        ]
        for body_id in gone:
            del self._displayed[body_id]
        for body, known in visible:
            markers = self._displayed.setdefault(body.id, _MarkersOfBody(self._kinds, body.id))
            changes += markers.update(body, known, header)
        return self._array(changes)

    def clear(self, header: Any) -> Any:
        """The message that deletes all markers."""
        self._displayed = {}
        return self._array([self._marker(header=header, action=_DELETE_ALL)])

    def _marker(self, **fields: Any) -> Any:
        return self._kinds(_MARKER, **fields)

    def _array(self, markers: list[Any]) -> Any:
        return self._kinds("visualization_msgs/msg/MarkerArray", markers=markers)


class _MarkersOfBody:
    """The three markers of one body."""

    def __init__(self, kinds: MessageKinds, body_id: str) -> None:
        self._kinds = kinds
        self._points = [kinds(_POINT) for _ in JOINT_NAMES]
        self._colour = kinds("std_msgs/msg/ColorRGBA")
        self._colour.r, self._colour.g, self._colour.b = (v / 255 for v in colour_of(body_id))
        self._markers = [
            self._marker(body_id, number, kind)
            for number, kind in (
                (_JOINTS, _SPHERE_LIST),
                (_BONES, _LINE_LIST),
                (_ID, _TEXT),
            )
        ]
        joints, bones, text = self._markers
        joints.scale.x = joints.scale.y = joints.scale.z = 0.05
        bones.scale.x = 0.025
        text.scale.z = 0.15
        text.text = body_id

    def _marker(self, body_id: str, number: int, kind: int) -> Any:
        lifetime = self._kinds("builtin_interfaces/msg/Duration", nanosec=_LIFETIME_NS)
        marker = self._kinds(_MARKER, ns=f"body_{body_id}", id=number, type=kind, lifetime=lifetime)
        marker.pose.orientation.w = 1.0
        marker.color = self._colour
        return marker

    def update(self, body: Body, known: Bool[np.ndarray, "k"], header: Any) -> list[Any]:
        """The markers of this frame, with the joints that are ``known``."""
        for point, xyz in zip(self._points, body.positions_m.tolist(), strict=True):
            set_point(point, xyz)
        for marker in self._markers:
            marker.header = header
        # Predicted bodies are drawn more transparent than detected ones.
        self._colour.a = 1.0 if body.state is TrackState.TRACKED else 0.4
        joints, bones, text = self._markers
        joints.points = [self._points[i] for i in np.flatnonzero(known).tolist()]
        known_bones = _BONE_ENDS[known[_BONE_ENDS].all(axis=1)]
        bones.points = [self._points[i] for i in known_bones.ravel().tolist()]
        set_point(text.pose.position, _above_head(body, known).tolist())
        return self._markers


def _above_head(body: Body, known: Bool[np.ndarray, "k"]) -> Float32[np.ndarray, "3"]:
    """A point above the head, in the direction of the trunk: the camera's "up" is not known."""
    if not known[[Joint.HEAD, Joint.PELVIS]].all():
        return np.asarray(body.positions_m[int(np.flatnonzero(known)[0])])
    head, pelvis = body.positions_m[Joint.HEAD], body.positions_m[Joint.PELVIS]
    up = head - pelvis
    return np.asarray(head + 0.25 * up / max(float(np.linalg.norm(up)), 1e-6))
