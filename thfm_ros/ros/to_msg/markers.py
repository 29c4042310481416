# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Bodies as markers for rviz: joints, bones, and the id above the head.

Three markers per body, in a namespace of their own. Joints with a low confidence or an unknown
position are left out; they are never drawn at the origin.
"""

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from jaxtyping import Bool, Float32
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from thfm_ros.contract import Body, Perception, TrackState
from thfm_ros.media.drawing import colour_of
from thfm_ros.ros.to_msg.bodies import set_point
from thfm_ros.skeleton import BONES, JOINT_NAMES, Joint

_JOINTS, _BONES, _ID = 0, 1, 2  # ids of the markers of a body
_LIFETIME = Duration(nanosec=500_000_000)  # rviz removes the markers of a node that has crashed
_BONE_ENDS = np.array(BONES)


class BodyMarkers:
    """Makes the markers of each frame, and deletes those of bodies that are gone.

    Successive messages share their parts: publish a message before making the next.
    """

    def __init__(self) -> None:
        self._displayed: dict[str, _MarkersOfBody] = {}

    def markers(
        self, perception: Perception, header: Header, min_confidence: float = 0.0
    ) -> MarkerArray:
        """The changes for this frame; keypoints below ``min_confidence`` are left out."""
        visible = []
        for body in perception.bodies:
            known = np.isfinite(body.positions_m).all(axis=1)
            known &= body.keypoints[:, 2] >= min_confidence
            if known.any():
                visible.append((body, known))
        gone = self._displayed.keys() - {body.id for body, _ in visible}
        changes = [
            Marker(header=header, ns=f"body_{body_id}", id=number, action=Marker.DELETE)
            for body_id in sorted(gone)
            for number in (_JOINTS, _BONES, _ID)
        ]
        for body_id in gone:
            del self._displayed[body_id]
        for body, known in visible:
            markers = self._displayed.setdefault(body.id, _MarkersOfBody(body.id))
            changes += markers.update(body, known, header)
        return MarkerArray(markers=changes)

    def clear(self, header: Header) -> MarkerArray:
        """The message that deletes all markers."""
        self._displayed = {}
        return MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL)])


class _MarkersOfBody:
    """The three markers of one body."""

    def __init__(self, body_id: str) -> None:
        self._points = [Point() for _ in JOINT_NAMES]
        self._colour = ColorRGBA()
        self._colour.r, self._colour.g, self._colour.b = (v / 255 for v in colour_of(body_id))
        self._markers = [
            self._marker(body_id, number, kind)
            for number, kind in (
                (_JOINTS, Marker.SPHERE_LIST),
                (_BONES, Marker.LINE_LIST),
                (_ID, Marker.TEXT_VIEW_FACING),
            )
        ]
        joints, bones, text = self._markers
        joints.scale.x = joints.scale.y = joints.scale.z = 0.05
        bones.scale.x = 0.025
        text.scale.z = 0.15
        text.text = body_id

    def _marker(self, body_id: str, number: int, kind: int) -> Marker:
        marker = Marker(ns=f"body_{body_id}", id=number, type=kind, lifetime=_LIFETIME)
        marker.pose.orientation.w = 1.0
        marker.color = self._colour
        return marker

    def update(self, body: Body, known: Bool[np.ndarray, "k"], header: Header) -> list[Marker]:
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
