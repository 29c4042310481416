# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Boxes of another detector: which of them become proposals, and why the others do not.

Boxes have the stamp of the image that they were found in. They arrive later than that image, since
a detector needs time, or earlier, since images are large messages. So they wait for the frame of
their stamp or a later one. A box that cannot be used is refused for one of the causes of `Refusal`
and counted; nothing is used of which it is not certain what it means.
"""

import threading
from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np

from thfm_ros.contract import Frame
from thfm_ros.perception.decoding import Proposal

MAX_LEAD_S = 1.0
"""Boxes with a stamp further ahead of the newest frame do not wait for theirs: another clock."""

_MAX_WAITING = 32  # messages
_OUTSIDE_SHARE = 0.1
"""Of the image's longer side: detectors give people at the edge boxes that reach a bit beyond it,
boxes that reach further belong to an image of another size."""


class Refusal(str, Enum):
    """Why boxes are not used."""

    FUTURE = "of the future"
    OLD = "too old"
    FRAME_ID = "of another frame_id"
    SIZE = "of another image size"
    INVALID = "invalid"
    SCORE = "without a score from 0 to 1"
    CLASS = "of another class"


_ORDER = tuple(Refusal)


class ExternalBox(NamedTuple):
    """One box as it was received: pixels, centre and sides, rotation about the centre in rad."""

    x: float
    y: float
    width: float
    height: float
    angle: float
    hypotheses: tuple[tuple[str, float], ...]  # classes with scores


@dataclass(frozen=True, slots=True)
class BoxMessage:
    """All boxes of one image."""

    stamp_ns: int
    frame_id: str
    boxes: tuple[ExternalBox, ...]


@dataclass(frozen=True, slots=True)
class BoxUse:
    """What became of the boxes so far."""

    messages: int = 0  # looked at
    proposals: int = 0  # boxes that could be used
    overtaken: int = 0  # messages replaced by newer ones before a frame was processed
    confirmed: int = 0  # proposals whose crops showed a person
    rejected: int = 0  # proposals whose crops did not
    refused: tuple[tuple[Refusal, int], ...] = ()  # numbers of boxes or messages, by cause
    problem: Refusal | None = None  # why nothing of the newest message with boxes was used
    advice: str = ""  # about ``problem``: what came, and what would work


class ExternalBoxes:
    """Boxes of another detector for one stream of images. Thread-safe.

    Args:
        class_id: class of people; boxes of other classes are refused. Empty: all classes.
        max_age_s: boxes whose stamp is older than the newest frame by more are refused.
    """

    def __init__(self, class_id: str, max_age_s: float) -> None:
        self._class_id, self._max_age_s = class_id, max_age_s
        self._lock = threading.Lock()
        self._waiting: deque[BoxMessage] = deque()
        self._counts: Counter[str] = Counter()
        self._refused: Counter[Refusal] = Counter()
        self._problem: tuple[Refusal, str] | None = None

    def put(self, message: BoxMessage) -> None:
        """Add the boxes of an image, in any order of stamps."""
        with self._lock:
            self._waiting.append(message)
            if len(self._waiting) > _MAX_WAITING:
                self._waiting.popleft()
                self._counts["overtaken"] += 1

    def take(self, frame: Frame) -> list[Proposal] | None:
        """The proposals of the newest usable message up to ``frame``.

        Returns:
            Proposals, in pixels of the frame's image; an empty list if a detector has looked and
            found no one. None: there is no such message.
        """
        with self._lock:
            ready = [each for each in self._waiting if each.stamp_ns <= frame.stamp_ns]
            later = [each for each in self._waiting if each.stamp_ns > frame.stamp_ns]
            self._waiting.clear()
            for each in later:
                lead_s = (each.stamp_ns - frame.stamp_ns) * 1e-9
                if lead_s > MAX_LEAD_S:
                    self._refuse(Refusal.FUTURE, _about_future(lead_s), len(each.boxes))
                else:
                    self._waiting.append(each)
            if not ready:
                return None
            newest = max(ready, key=lambda each: each.stamp_ns)
            self._counts["overtaken"] += len(ready) - 1
            return self._proposals(newest, frame)

    def examined(self, *, is_person: bool) -> None:
        """A crop has confirmed or rejected one of the proposals."""
        with self._lock:
            self._counts["confirmed" if is_person else "rejected"] += 1

    @property
    def use(self) -> BoxUse:
        """What became of the boxes so far."""
        with self._lock:
            problem, advice = self._problem or (None, "")
            refused = tuple((each, self._refused[each]) for each in _ORDER if self._refused[each])
            return BoxUse(**self._counts, refused=refused, problem=problem, advice=advice)

    def _proposals(self, message: BoxMessage, frame: Frame) -> list[Proposal] | None:
        age_s = (frame.stamp_ns - message.stamp_ns) * 1e-9
        cause, advice = None, ""
        if age_s > self._max_age_s:
            cause, advice = Refusal.OLD, _about_old(age_s, self._max_age_s)
        elif message.frame_id != frame.frame_id:
            cause, advice = Refusal.FRAME_ID, _about_frame_id(message.frame_id, frame.frame_id)
        if cause is not None:
            self._refuse(cause, advice, len(message.boxes))
            return None
        self._counts["messages"] += 1
        proposals: list[Proposal] = []
        problem: tuple[Refusal, str] | None = None
        for box in message.boxes:
            found = self._proposal(box, frame)
            if isinstance(found, Proposal):
                proposals.append(found)
            else:
                self._refused[found[0]] += 1
                problem = found
        self._counts["proposals"] += len(proposals)
        if message.boxes:
            self._problem = None if proposals else problem
        return proposals

    def _refuse(self, cause: Refusal, advice: str, count: int) -> None:
        """Refuse a whole message: each of its boxes, one if it has none."""
        self._counts["messages"] += 1
        self._refused[cause] += max(count, 1)
        self._problem = (cause, advice)

    def _proposal(self, box: ExternalBox, frame: Frame) -> Proposal | tuple[Refusal, str]:
        """The proposal of one box, or why there is none."""
        scores = [score for class_id, score in box.hypotheses if self._class_id in ("", class_id)]
        if box.hypotheses and not scores:
            classes = ", ".join(sorted({class_id for class_id, _ in box.hypotheses}))
            return Refusal.CLASS, (
                f"boxes have the class {classes}, people are {self._class_id!r} by the parameter "
                "detections_class (empty: all boxes are people)"
            )
        if not scores or not all(0 <= score <= 1 for score in scores):
            return Refusal.SCORE, "each box needs a hypothesis with a score from 0 to 1"
        corners = corners_of(box)
        if corners is None:
            return Refusal.INVALID, (
                f"a box is not one: centre {box.x:g}, {box.y:g}, sides {box.width:g}, "
                f"{box.height:g}, angle {box.angle:g}; all must be finite, sides positive"
            )
        height, width = frame.rgb.shape[:2]
        margin = _OUTSIDE_SHARE * max(width, height)
        inside = np.clip(corners, 0, [width, height, width, height])
        if np.abs(corners - inside).max() > margin or (inside[2:] - inside[:2]).min() <= 0:
            x0, y0, x1, y1 = corners
            return Refusal.SIZE, (
                f"a box reaches from {x0:.0f}, {y0:.0f} to {x1:.0f}, {y1:.0f}, the image has "
                f"{width}x{height}: boxes must be in pixels of the images that this node receives"
            )
        return Proposal(inside.astype(np.float32), max(scores), external=True)


def corners_of(box: ExternalBox) -> np.ndarray | None:
    """The upright box around a possibly rotated one: x_min, y_min, x_max, y_max in pixels.

    None if a number is not finite, or a side not positive.
    """
    if not np.isfinite(box[:5]).all() or min(box.width, box.height) <= 0:
        return None
    cosine, sine = abs(np.cos(box.angle)), abs(np.sin(box.angle))
    half_x = (cosine * box.width + sine * box.height) / 2
    half_y = (sine * box.width + cosine * box.height) / 2
    return np.array([box.x - half_x, box.y - half_y, box.x + half_x, box.y + half_y])


def _about_frame_id(of_boxes: str, of_images: str) -> str:
    return (
        f"boxes have the frame_id {of_boxes!r}, images {of_images!r}: the detector must look at "
        "this camera and copy the header of its images"
    )


def _about_future(lead_s: float) -> str:
    return (
        f"boxes are {lead_s:.2f} s ahead of the newest image: the detector must copy the stamp of "
        "the image that it looks at"
    )


def _about_old(age_s: float, max_age_s: float) -> str:
    return (
        f"boxes are {age_s:.2f} s older than the newest image, at most {max_age_s:g} s are used "
        "(parameter detections_max_age_s): the detector must copy the stamp of the image, or is "
        "too slow"
    )
