"""People as markers for rviz: the joints of a body, its bones, and its id above the head.

Three markers per body, in a namespace of its own. Joints whose score is too low, or whose place
in space is unknown, are left out; they are never drawn at the origin.
"""

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from thfm_ros.contract import Body, Perception, TrackState
from thfm_ros.media.drawing import colour_of
from thfm_ros.ros.to_msg.bodies import set_point
from thfm_ros.skeleton import BONES, JOINT_NAMES, Joint

_SPHERES, _LINES, _TEXT = 0, 1, 2
_LIFETIME = Duration(nanosec=500_000_000)  # should the node die, its people vanish from rviz
_BONES = np.array(BONES)


class BodyMarkers:
    """Draws bodies and takes away those that are gone.

    The messages share their parts with the ones before: publish one before making the next.
    """

    def __init__(self) -> None:
        self._drawn: dict[str, _Drawing] = {}

    def markers(self, seen: Perception, header: Header, min_score: float = 0.0) -> MarkerArray:
        """What rviz must change for this frame; joints below ``min_score`` are left out."""
        shown = []
        for body in seen.bodies:
            known = np.isfinite(body.positions_m).all(axis=1) & (body.keypoints[:, 2] >= min_score)
            if known.any():
                shown.append((body, known))
        gone = self._drawn.keys() - {body.id for body, _ in shown}
        changes = [
            Marker(header=header, ns=f"body_{body_id}", id=number, action=Marker.DELETE)
            for body_id in sorted(gone)
            for number in (_SPHERES, _LINES, _TEXT)
        ]
        for body_id in gone:
            del self._drawn[body_id]
        for body, known in shown:
            drawing = self._drawn.setdefault(body.id, _Drawing(body.id))
            changes += drawing.of(body, known, header)
        return MarkerArray(markers=changes)

    def clear(self, header: Header) -> MarkerArray:
        """Take everything away."""
        self._drawn = {}
        return MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL)])


class _Drawing:
    """The three markers of one body."""

    def __init__(self, body_id: str) -> None:
        self._points = [Point() for _ in JOINT_NAMES]
        self._colour = ColorRGBA()
        self._colour.r, self._colour.g, self._colour.b = (v / 255 for v in colour_of(body_id))
        self._markers = [
            self._marker(body_id, number, kind)
            for number, kind in (
                (_SPHERES, Marker.SPHERE_LIST),
                (_LINES, Marker.LINE_LIST),
                (_TEXT, Marker.TEXT_VIEW_FACING),
            )
        ]
        spheres, lines, text = self._markers
        spheres.scale.x = spheres.scale.y = spheres.scale.z = 0.05
        lines.scale.x = 0.025
        text.scale.z = 0.15
        text.text = body_id

    def _marker(self, body_id: str, number: int, kind: int) -> Marker:
        marker = Marker(ns=f"body_{body_id}", id=number, type=kind, lifetime=_LIFETIME)
        marker.pose.orientation.w = 1.0
        marker.color = self._colour
        return marker

    def of(self, body: Body, known: np.ndarray, header: Header) -> list[Marker]:
        """The markers, brought up to date."""
        for point, xyz in zip(self._points, body.positions_m.tolist(), strict=True):
            set_point(point, xyz)
        for marker in self._markers:
            marker.header = header
        # What is only predicted is drawn paler than what is seen.
        self._colour.a = 1.0 if body.state is TrackState.TRACKED else 0.4
        spheres, lines, text = self._markers
        spheres.points = [self._points[i] for i in np.flatnonzero(known).tolist()]
        whole = _BONES[known[_BONES].all(axis=1)]
        lines.points = [self._points[i] for i in whole.ravel().tolist()]
        set_point(text.pose.position, _above(body, known).tolist())
        return self._markers


def _above(body: Body, known: np.ndarray) -> np.ndarray:
    """A place over the head; a camera does not know what is up, but a body does."""
    if not known[[Joint.HEAD, Joint.PELVIS]].all():
        return np.asarray(body.positions_m[int(np.flatnonzero(known)[0])])
    head, pelvis = body.positions_m[Joint.HEAD], body.positions_m[Joint.PELVIS]
    up = head - pelvis
    return np.asarray(head + 0.25 * up / max(float(np.linalg.norm(up)), 1e-6))
