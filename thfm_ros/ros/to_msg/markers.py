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
from thfm_ros.draw import colour_of
from thfm_ros.ros.to_msg.bodies import point
from thfm_ros.skeleton import BONES, Joint

_SPHERES, _LINES, _TEXT = 0, 1, 2
_LIFETIME = Duration(nanosec=500_000_000)  # should the node die, its people vanish from rviz
_BONES = np.array(BONES)


class BodyMarkers:
    """Draws bodies and takes away those that are gone."""

    def __init__(self) -> None:
        self._drawn: set[str] = set()

    def markers(self, seen: Perception, header: Header, min_score: float = 0.0) -> MarkerArray:
        """What rviz must change for this frame; joints below ``min_score`` are left out."""
        made = [marker for body in seen.bodies for marker in _body(body, header, min_score)]
        now = {marker.ns.removeprefix("body_") for marker in made}
        gone = [
            Marker(header=header, ns=f"body_{body_id}", id=number, action=Marker.DELETE)
            for body_id in sorted(self._drawn - now)
            for number in (_SPHERES, _LINES, _TEXT)
        ]
        self._drawn = now
        return MarkerArray(markers=gone + made)

    def clear(self, header: Header) -> MarkerArray:
        """Take everything away."""
        self._drawn = set()
        return MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL)])


def _body(body: Body, header: Header, min_score: float) -> list[Marker]:
    known = np.isfinite(body.positions_m).all(axis=1)
    known &= body.keypoints[:, 2] >= min_score
    if not known.any():
        return []
    places = body.positions_m.tolist()
    points = [point(xyz) for xyz in places]
    r, g, b = (level / 255 for level in colour_of(body.id))
    # What is only predicted is drawn paler than what is seen.
    colour = ColorRGBA(r=r, g=g, b=b, a=1.0 if body.state is TrackState.TRACKED else 0.4)
    shared = {"header": header, "ns": f"body_{body.id}", "color": colour}
    return [
        _spheres(points, known, shared),
        _lines(points, known, shared),
        _text(body, places, known, shared),
    ]


def _spheres(points: list[Point], known: np.ndarray, shared: dict[str, object]) -> Marker:
    marker = _marker(_SPHERES, Marker.SPHERE_LIST, shared)
    marker.scale.x = marker.scale.y = marker.scale.z = 0.05
    marker.points = [points[i] for i in np.flatnonzero(known)]
    return marker


def _lines(points: list[Point], known: np.ndarray, shared: dict[str, object]) -> Marker:
    marker = _marker(_LINES, Marker.LINE_LIST, shared)
    marker.scale.x = 0.025
    whole = _BONES[known[_BONES].all(axis=1)]
    marker.points = [points[i] for i in whole.ravel()]
    return marker


def _text(
    body: Body, places: list[list[float]], known: np.ndarray, shared: dict[str, object]
) -> Marker:
    marker = _marker(_TEXT, Marker.TEXT_VIEW_FACING, shared)
    marker.text = body.id
    marker.scale.z = 0.15
    place = np.array(places[int(np.flatnonzero(known)[0])])
    if known[[Joint.HEAD, Joint.PELVIS]].all():
        # A camera does not know what is up, but a body does.
        head, pelvis = np.array(places[Joint.HEAD]), np.array(places[Joint.PELVIS])
        place = head + 0.25 * (head - pelvis) / max(float(np.linalg.norm(head - pelvis)), 1e-6)
    marker.pose.position = point(place.tolist())
    return marker


def _marker(number: int, kind: int, shared: dict[str, object]) -> Marker:
    marker = Marker(id=number, type=kind, action=Marker.ADD, lifetime=_LIFETIME, **shared)
    marker.pose.orientation.w = 1.0
    return marker
