# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The one person whom a robot follows: chosen once, never exchanged for another.

Changes of state need time in both directions (hysteresis): a missed detection is no loss, and a
single detection does not end one.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from thfm_ros.config_follow import FollowConfig
from thfm_ros.contract import Body, PerceptionError, TrackState

_CLEARLY_NEARER = 0.9  # of the candidate's distance: another person must be nearer than that


class TargetState(str, Enum):
    """State of the choice."""

    NONE = "none"  # no one was asked for
    WAITING = "waiting"  # asked for, no one chosen yet
    FOLLOWING = "following"  # in view, or missed for a moment
    LOST = "lost"
    FOUND_AGAIN = "found_again"  # in view again after LOST
    GAVE_UP = "gave_up"  # lost for too long; a new request is needed


@dataclass(frozen=True, slots=True)
class Target:
    """The chosen person in one frame.

    ``body`` is where they are, measured or predicted; None unless the state is FOLLOWING or
    FOUND_AGAIN and the position is known.
    """

    state: TargetState
    id: str = ""
    body: Body | None = None
    state_age_s: float = 0.0
    message: str = ""


class PersonSelector:
    """Chooses a person on request and keeps to them.

    Requests may come from another thread than `update`.
    """

    def __init__(self, config: FollowConfig) -> None:
        self.config = config
        self._lock = threading.Lock()
        self._stamp_ns = 0
        self._seen: dict[str, float] = {}  # seconds since each person was last in view, by id
        self._clear(TargetState.NONE)

    def _clear(self, state: TargetState, track_id: str = "") -> None:
        self._state, self._id = state, track_id
        self._state_age_s = 0.0
        self._candidate = ""
        self._in_view_s = self._missed_s = 0.0  # of the candidate or the chosen person, so far

    def stop(self) -> None:
        """Follow no one."""
        with self._lock:
            self._clear(TargetState.NONE)

    def follow_nearest(self) -> None:
        """Follow the person who is nearest to the camera, or the first one to come."""
        with self._lock:
            self._clear(TargetState.WAITING)

    def follow(self, track_id: str) -> None:
        """Follow this person.

        Raises:
            PerceptionError: no one with this id is in view or was a moment ago; nothing changes.
        """
        with self._lock:
            if track_id not in self._seen:
                in_view = ", ".join(sorted(i for i, age_s in self._seen.items() if age_s == 0))
                raise PerceptionError(
                    f"There is no person {track_id!r}; in view: {in_view or 'no one'}. Ids are "
                    "Body.id in ~/bodies, five lower-case letters. Nothing was changed."
                )
            self._clear(TargetState.WAITING, track_id)

    def update(self, stamp_ns: int, bodies: Sequence[Body]) -> Target:
        """Process the people of one frame; after a jump back in time, no time has passed."""
        with self._lock:
            elapsed_s = max(stamp_ns - self._stamp_ns, 0) * 1e-9 if self._stamp_ns else 0.0
            self._stamp_ns = stamp_ns
            in_view = {body.id: body for body in bodies if _is_in_view(body)}
            ages = {track_id: age_s + elapsed_s for track_id, age_s in self._seen.items()}
            ages |= dict.fromkeys(in_view, 0.0)
            kept_s = self.config.give_up_after_s
            self._seen = {track_id: age_s for track_id, age_s in ages.items() if age_s <= kept_s}
            self._state_age_s += elapsed_s
            if self._state is TargetState.WAITING and not self._id:
                self._choose_nearest(list(in_view.values()), elapsed_s)
            elif self._id:
                self._keep_to_the_chosen(self._id in in_view, elapsed_s)
            return self._target(bodies)

    def interrupt(self) -> Target:
        """Process the end of the images: whoever is followed is lost."""
        with self._lock:
            if self._state in (TargetState.FOLLOWING, TargetState.FOUND_AGAIN):
                self._enter(TargetState.LOST)
            self._candidate, self._in_view_s = "", 0.0
            self._missed_s = max(self._missed_s, 1e-9)  # the time without images is none in view
            return self._target([])

    def _choose_nearest(self, people: Sequence[Body], elapsed_s: float) -> None:
        """Choose the candidate who has been the nearest person for long enough."""
        distances = {body.id: distance_m(body) for body in people}
        distances = {track_id: d for track_id, d in distances.items() if math.isfinite(d)}
        if not distances:
            self._candidate = ""
            return
        nearest = min(distances, key=lambda track_id: distances[track_id])
        kept = distances.get(self._candidate, math.inf)
        if distances[nearest] < _CLEARLY_NEARER * kept:
            self._candidate, self._in_view_s = nearest, 0.0
        else:
            self._in_view_s += elapsed_s
        if self._in_view_s >= self.config.found_after_s:
            self._id = self._candidate
            self._enter(TargetState.FOLLOWING)

    def _keep_to_the_chosen(self, in_view: bool, elapsed_s: float) -> None:
        """Move on between the states of a chosen person."""
        was_in_view = self._missed_s == 0
        if in_view:
            self._in_view_s += elapsed_s if was_in_view else 0.0
            self._missed_s = 0.0
        else:
            self._in_view_s, self._missed_s = 0.0, self._missed_s + elapsed_s
        state, config = self._state, self.config
        if state is TargetState.WAITING and in_view:
            self._enter(TargetState.FOLLOWING)
        elif state in (TargetState.FOLLOWING, TargetState.FOUND_AGAIN):
            if not in_view and self._missed_s > config.lost_after_s:
                self._enter(TargetState.LOST)
            elif state is TargetState.FOUND_AGAIN and self._state_age_s >= config.found_after_s:
                self._enter(TargetState.FOLLOWING)
        elif state is TargetState.LOST and in_view and self._in_view_s >= config.found_after_s:
            self._enter(TargetState.FOUND_AGAIN)
        elif (
            state in (TargetState.LOST, TargetState.WAITING)
            and not in_view
            and self._state_age_s > config.give_up_after_s
        ):
            self._enter(TargetState.GAVE_UP)

    def _enter(self, state: TargetState) -> None:
        self._state, self._state_age_s = state, 0.0

    def _target(self, bodies: Sequence[Body]) -> Target:
        body = None
        if self._state in (TargetState.FOLLOWING, TargetState.FOUND_AGAIN):
            body = next((each for each in bodies if each.id == self._id), None)
            if body is not None and not np.isfinite(body.root_m).all():
                body = None
        message = self._describe(bodies, body)
        return Target(self._state, self._id, body, self._state_age_s, message)

    def _describe(self, bodies: Sequence[Body], body: Body | None) -> str:
        state, config = self._state, self.config
        if state is TargetState.NONE:
            return "no one is followed; choose with ~/follow"
        if state is TargetState.WAITING and self._id:
            return f"{self._id} is not in view"
        if state is TargetState.WAITING:
            known = [each for each in bodies if math.isfinite(distance_m(each))]
            if bodies and not known:
                return "no one's distance is known: the camera is not calibrated"
            return f"the nearest person is chosen after {config.found_after_s:g} s in view"
        if state is TargetState.LOST:
            return f"{self._id} is lost; given up after {config.give_up_after_s:g} s"
        if state is TargetState.GAVE_UP:
            return f"{self._id} was given up; choose anew with ~/follow"
        position = "" if body is not None else ", the position is not known"
        again = " again" if state is TargetState.FOUND_AGAIN else ""
        return f"{self._id} is followed{again}{position}"


def distance_m(body: Body) -> float:
    """Distance of the pelvis from the camera; NaN if it is not known."""
    return float(np.linalg.norm(body.root_m))


def _is_in_view(body: Body) -> bool:
    """Whether a confirmed track is detected, or was not looked for on purpose."""
    return body.state in (TrackState.TRACKED, TrackState.PREDICTED)
