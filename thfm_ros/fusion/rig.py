# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""All cameras together: what each of them contributes, and what is wrong with it.

Nothing of a camera with a fault that would make results wrong gets into the fusion.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from jaxtyping import Float64

from thfm_ros.contract import Perception
from thfm_ros.fusion.calibration_offset import PairOffset
from thfm_ros.fusion.detections import CameraFrame, Detection, Member, camera_frame, predicted
from thfm_ros.fusion.fuser import Fuser
from thfm_ros.fusion.history import Arrival
from thfm_ros.fusion.settings import FusionSettings
from thfm_ros.fusion.upright import Uprightness

OK, WARN, ERROR = 0, 1, 2
SILENT_S = 2.0
"""Time without bodies after which a camera is missed."""
_REFUSALS = {
    Arrival.LATE: (
        "{n} messages were later than max_delay_s ({delay:g} s) behind the newest stamp of all "
        "cameras: the camera is slow, or the clocks of two machines differ"
    ),
    Arrival.DUPLICATE: (
        "{n} messages repeated a stamp: two nodes publish on this topic, or one message arrived "
        "twice"
    ),
    Arrival.FUTURE: (
        "{n} messages have stamps in the future, the last one by {ahead:.2f} s: the clocks of two "
        "machines differ (synchronise them), or one node uses simulated time and the other not"
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of one component, as diagnostics report it."""

    component: str
    level: int  # OK, WARN or ERROR
    message: str
    values: dict[str, str] = field(default_factory=dict)


@dataclass
class _Camera:
    upright: Uprightness = field(default_factory=Uprightness)
    frame_id: str = ""
    heard_s: float = 0.0
    used_s: float = 0.0  # when its newest frame was accepted; 0: none was
    stamp_ns: int = 0  # of that frame
    people: int = 0
    ahead_s: float = 0.0
    is_metric: bool = True
    problem: str = ""  # why its last message could not be used; set by the caller
    accepted: int = 0
    refused: Counter[Arrival] = field(default_factory=Counter)  # since the last report


class Rig:
    """The cameras of one fusion.

    Args:
        settings: all parameters.
        cameras: their names.
        world: name of the frame of all positions.
        seed: of the ids.
        used_ids: ids that are not used again; new ones are added.
    """

    def __init__(
        self,
        settings: FusionSettings,
        cameras: Iterable[str],
        world: str,
        seed: int = -1,
        used_ids: set[str] | None = None,
    ) -> None:
        self._settings, self._world = settings, world
        self.fuser = Fuser(settings, seed, used_ids)
        self._cameras = {name: _Camera() for name in cameras}
        self._offsets = {pair: PairOffset(settings) for pair in combinations(self._cameras, 2)}

    def receive(
        self,
        name: str,
        frame_id: str,
        perception: Perception,
        centre_m: Float64[np.ndarray, "3"],
        *,
        now_ns: int,
    ) -> bool:
        """Take in what a camera perceived; whether it is used.

        Args:
            name: of the camera.
            frame_id: of its message.
            perception: with bodies in the world.
            centre_m: of the camera in the world; NaN if that is not known.
            now_ns: the clock.
        """
        camera = self._cameras[name]
        camera.frame_id, camera.heard_s, camera.problem = frame_id, now_ns * 1e-9, ""
        camera.is_metric = perception.intrinsics is not None
        camera.people = len(perception.bodies)
        if self._same_frame(name):
            return False
        frame = camera_frame(
            name,
            perception.stamp_ns,
            perception.bodies,
            centre_m,
            self._settings,
            perception.left_out,
        )
        arrival = self.fuser.add(camera.upright.checked(frame), now_ns)
        if arrival is not Arrival.ACCEPTED:
            camera.refused[arrival] += 1
            camera.ahead_s = (frame.stamp_ns - now_ns) * 1e-9
            return False
        camera.accepted += 1
        camera.used_s, camera.stamp_ns = camera.heard_s, frame.stamp_ns
        self._collect(frame)
        return True

    def refuse(self, name: str, problem: str, now_ns: int) -> None:
        """A message of this camera could not be used: for lack of a transform, for example."""
        self._cameras[name].problem = problem
        self._cameras[name].heard_s = now_ns * 1e-9

    def is_complete(self, tolerance_ns: int, now_s: float) -> bool:
        """Whether the newest frames of all cameras have about one stamp.

        Also slow cameras count, whose frames are too old to contribute when the next ones come;
        those that have been silent for SILENT_S do not.
        """
        oldest_ns = self.fuser.state.stamp_ns - tolerance_ns
        heard = [c for c in self._cameras.values() if c.used_s and now_s - c.used_s <= SILENT_S]
        return all(camera.stamp_ns >= oldest_ns for camera in heard)

    def reset(self) -> None:
        """Forget all people."""
        self.fuser.reset()
        for camera in self._cameras.values():
            camera.used_s, camera.stamp_ns = 0.0, 0

    def _same_frame(self, name: str) -> str:
        """Another camera with this one's frame_id; empty if there is none."""
        frame_id = self._cameras[name].frame_id
        if frame_id == self._world:
            return ""
        for other, camera in self._cameras.items():
            if other != name and camera.frame_id == frame_id:
                return other
        return ""

    def _collect(self, frame: CameraFrame) -> None:
        """Take samples for the offsets of pairs: people of one group, or one person in each."""
        groups = self.fuser.state.groups
        for other in self.fuser.state.frames.values():
            if other.camera == frame.camera:
                continue
            seconds = (frame.stamp_ns - other.stamp_ns) * 1e-9
            ones = _measured(frame)
            others = [predicted(each, seconds, self._settings) for each in _measured(other)]
            for one, two in _correspondences(ones, others, groups):
                pair = (frame.camera, other.camera)
                if pair in self._offsets:
                    self._offsets[pair].add(one, two, frame.stamp_ns)
                else:
                    self._offsets[pair[::-1]].add(two, one, frame.stamp_ns)

    def findings(self, now_s: float) -> list[Finding]:
        """The state of each camera, of the calibration and of the people."""
        cameras = [self._camera_finding(name, now_s) for name in self._cameras]
        return [*cameras, self._calibration_finding(), self._people_finding()]

    def _camera_finding(self, name: str, now_s: float) -> Finding:
        camera = self._cameras[name]
        values = {
            "frame_id": camera.frame_id,
            "people": str(camera.people),
            "messages used": str(camera.accepted),
        }
        level, message = self._camera_problem(name, camera, now_s)
        camera.refused.clear()
        return Finding(f"camera {name}", level, message, values)

    def _camera_problem(self, name: str, camera: _Camera, now_s: float) -> tuple[int, str]:
        if not camera.heard_s:
            return WARN, f"no bodies of camera {name} yet: is its node running?"
        if now_s - camera.heard_s > SILENT_S:
            return WARN, f"no bodies of camera {name} for {now_s - camera.heard_s:.1f} s"
        if camera.problem:
            return ERROR, camera.problem
        if other := self._same_frame(name):
            return ERROR, (
                f"cameras {name} and {other} both have the frame_id {camera.frame_id!r}: nothing "
                "of them is used, since only one of them can be there. Give each its own frame_id "
                "and tf frame"
            )
        if problem := camera.upright.problem(name, self._world):
            return ERROR, problem
        if not camera.is_metric:
            return WARN, f"camera {name} is not calibrated: its bodies have no position"
        for arrival, text in _REFUSALS.items():
            if count := camera.refused[arrival]:
                delay = self._settings.max_delay_s
                return WARN, text.format(n=count, delay=delay, ahead=camera.ahead_s)
        return OK, f"{camera.people} people"

    def _calibration_finding(self) -> Finding:
        values, wrong = {}, []
        for (a, b), pair in self._offsets.items():
            offset = pair.estimate()
            if offset is None:
                continue
            values[f"offset {a} - {b}"] = (
                f"{offset.metres:.2f} m (+-{offset.metres_sigma:.2f}), {offset.degrees:.1f} "
                f"degrees (+-{offset.degrees_sigma:.1f}), {offset.samples} samples"
            )
            if offset.is_wrong(self._settings):
                wrong.append(offset.text(a, b))
        if wrong:
            return Finding("calibration", WARN, ". ".join(wrong), values)
        message = "the cameras agree" if values else "not enough people were seen by two cameras"
        return Finding("calibration", OK, message, values)

    def _people_finding(self) -> Finding:
        state = self.fuser.state
        several = sum(len(group) > 1 for group in state.groups)
        values = {
            "people": str(len(state.groups)),
            "seen by several cameras": str(several),
            "cameras": ", ".join(sorted(state.frames)),
        }
        return Finding("people", OK, f"{len(state.groups)} people", values)


def _measured(frame: CameraFrame) -> list[Detection]:
    return [each for each in frame.detections if each.is_measured]


def _correspondences(
    ones: list[Detection], others: list[Detection], groups: Iterable[frozenset[Member]]
) -> list[tuple[Detection, Detection]]:
    """Who is whom: as grouped, or, if none is, the only person of each camera.

    With a wrong calibration people are never grouped; if each camera sees one person, it is most
    probably the same, and `Offset.residual` tells if it is not.
    """
    group_of = {member: index for index, group in enumerate(groups) for member in group}
    pairs = [
        (one, two)
        for one in ones
        for two in others
        if group_of.get(one.member, -1) == group_of.get(two.member, -2)
    ]
    if not pairs and len(ones) == len(others) == 1:
        return [(ones[0], others[0])]
    return pairs
