# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Frames of all cameras by stamp, in a bounded buffer: the order of arrival does not matter.

The state after each frame is kept. A frame that arrives late is inserted where its stamp belongs,
and the states after it are computed again, so that the newest state is the one that the frames
would have given in the order of their stamps.
"""

import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from thfm_ros.fusion.association import Evidence, Pair, grouped, updated_evidence
from thfm_ros.fusion.detections import CameraFrame, Member
from thfm_ros.fusion.settings import FusionSettings

MAX_FRAMES = 512
"""Frames in the buffer at most, whatever ``max_delay_s`` is."""
_LATE_BEFORE_RESTART = 5


class Arrival(str, Enum):
    """What became of a frame."""

    ACCEPTED = "accepted"
    LATE = "too late"
    DUPLICATE = "second frame of one camera with one stamp"
    FUTURE = "stamp in the future"


@dataclass(frozen=True, slots=True)
class State:
    """What is known after the frames up to some stamp."""

    stamp_ns: int = 0
    frames: Mapping[str, CameraFrame] = field(default_factory=dict)  # newest of each camera
    evidence: Mapping[Pair, Evidence] = field(default_factory=dict)
    groups: tuple[frozenset[Member], ...] = ()


def advanced(state: State, frame: CameraFrame, settings: FusionSettings) -> State:
    """The state after one more frame, whose stamp is not older than the state's."""
    oldest_ns = frame.stamp_ns - round(settings.max_age_s * 1e9)
    others = [
        each
        for name, each in state.frames.items()
        if name != frame.camera and each.stamp_ns >= oldest_ns
    ]
    frames = {each.camera: each for each in others} | {frame.camera: frame}
    forget_ns = frame.stamp_ns - round(max(settings.lost_for_s, settings.max_age_s) * 1e9)
    recent = {p: e for p, e in state.evidence.items() if e.stamp_ns >= forget_ns}
    evidence = updated_evidence(recent, frame, others, settings)
    groups = grouped(list(frames.values()), evidence, state.groups, settings)
    return State(frame.stamp_ns, frames, evidence, groups)


class History:
    """The newest frames of all cameras in the order of their stamps, with the states after them."""

    def __init__(self, settings: FusionSettings) -> None:
        self._settings = settings
        self._late = 0  # frames in a row, of any camera
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._before = State()  # before the first frame of the buffer
        self._keys: list[tuple[int, str]] = []
        self._frames: list[CameraFrame] = []
        self._states: list[State] = []
        self._late = 0

    @property
    def newest(self) -> State:
        """The state after the newest frame."""
        return self._states[-1] if self._states else self._before

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: CameraFrame, now_ns: int | None = None) -> Arrival:
        """Insert a frame by its stamp.

        Where every frame is too late, time went backwards, as when a recording begins again: the
        history is forgotten.

        Args:
            frame: of any camera.
            now_ns: the clock; None: no frame is from the future.
        """
        tolerance_ns = round(self._settings.future_tolerance_s * 1e9)
        if now_ns is not None and frame.stamp_ns > now_ns + tolerance_ns:
            return Arrival.FUTURE
        key = frame.stamp_ns, frame.camera
        delay_ns = round(self._settings.max_delay_s * 1e9)
        oldest_ns = max(self.newest.stamp_ns - delay_ns, self._before.stamp_ns + 1)
        if frame.stamp_ns < oldest_ns:
            self._late += 1
            if self._late < _LATE_BEFORE_RESTART:
                return Arrival.LATE
            self.reset()
        self._late = 0
        index = bisect.bisect_left(self._keys, key)
        if index < len(self._keys) and self._keys[index] == key:
            return Arrival.DUPLICATE
        self._keys.insert(index, key)
        self._frames.insert(index, frame)
        del self._states[index:]
        for each in self._frames[index:]:
            self._states.append(advanced(self.newest, each, self._settings))
        self._forget(delay_ns)
        return Arrival.ACCEPTED

    def _forget(self, delay_ns: int) -> None:
        """Drop what no late frame can come before any more."""
        limit_ns = self.newest.stamp_ns - delay_ns
        count = bisect.bisect_left(self._keys, (limit_ns, ""))
        count = max(count, len(self._keys) - MAX_FRAMES)
        if count > 0:
            self._before = self._states[count - 1]
            del self._keys[:count], self._frames[:count], self._states[:count]
