# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Verdicts: the results of a film against the conditions of its scenario."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np
from jaxtyping import Float

from thfm_ros.contract import Perception
from thfm_ros.evaluation.matching import current_bodies, pair_by_iou
from thfm_ros.evaluation.scenario.contents import (
    Condition,
    KeyBox,
    Kind,
    Scenario,
    ScenarioError,
)


@dataclass(frozen=True)
class FrameResult:
    """The people detected in one frame, confirmed tracks or not; lost ones are left out."""

    time_s: float
    ids: tuple[str, ...]
    boxes: Float[np.ndarray, "n 4"]  # pixels
    distances_m: Float[np.ndarray, "n"]  # from the camera to the pelvis; NaN: unknown


class Verdict(str, Enum):
    """How a condition ended; FAIL and UNEXPECTED_PASS fail the scenario."""

    PASS = "pass"
    FAIL = "fail"
    KNOWN_FAILURE = "known failure"  # fails, as the file says
    UNEXPECTED_PASS = "unexpected pass"  # the file says that it fails, and it does not


@dataclass(frozen=True)
class ConditionResult:
    """A condition with what was measured."""

    condition: Condition
    verdict: Verdict
    measured: float  # share of the frames that pass, or a number of ids; NaN: never found
    frames: int  # that the condition looks at

    @property
    def is_failure(self) -> bool:
        """Whether the scenario fails because of this condition."""
        return self.verdict in (Verdict.FAIL, Verdict.UNEXPECTED_PASS)


def frame_result(perception: Perception, time_s: float) -> FrameResult:
    """What a condition needs of a perception."""
    bodies = current_bodies(perception)
    roots = np.array([body.root_m for body in bodies], float).reshape(-1, 3)
    return FrameResult(
        time_s,
        tuple(body.id for body in bodies),
        np.array([body.box for body in bodies], float).reshape(-1, 4),
        np.linalg.norm(roots, axis=1),
    )


def verdicts(scenario: Scenario, frames: Sequence[FrameResult]) -> list[ConditionResult]:
    """The verdict on every condition.

    Raises:
        ScenarioError: a condition looks at no frame of the film, so that it could not fail.
    """
    return [_verdict(scenario, condition, frames) for condition in scenario.conditions]


def _verdict(
    scenario: Scenario, condition: Condition, frames: Sequence[FrameResult]
) -> ConditionResult:
    frames = [frame for frame in frames if condition.covers(frame.time_s)]
    if condition.people:
        people = [scenario.people[name] for name in condition.people]
        frames = [frame for frame in frames if any(p.at(frame.time_s) for p in people)]
    if not frames:
        raise ScenarioError(
            f"{scenario.name}: the condition {condition.name!r} looks at no frame of the film; "
            "check from_s, until_s and the times of its people."
        )
    if condition.kind is Kind.MAX_IDS:
        measured = float(len({each for frame in frames for each in frame.ids}))
        is_met = measured <= condition.limit
    elif condition.kind is Kind.MAX_ID_CHANGES:
        measured = _id_changes(scenario, condition, frames)
        is_met = measured <= condition.limit  # not of NaN: nothing was ever found
    else:
        passed = [_frame_passes(scenario, condition, frame) for frame in frames]
        measured = sum(passed) / len(passed)
        is_met = measured >= condition.pass_rate - 1e-9
    if condition.known_failure:
        verdict = Verdict.UNEXPECTED_PASS if is_met else Verdict.KNOWN_FAILURE
    else:
        verdict = Verdict.PASS if is_met else Verdict.FAIL
    return ConditionResult(condition, verdict, measured, len(frames))


def _frame_passes(scenario: Scenario, condition: Condition, frame: FrameResult) -> bool:
    if condition.kind in (Kind.OCCUPIED, Kind.EMPTY):
        inside = people_in_zone(scenario.zones[condition.zone], frame)
        return inside == 0 if condition.kind is Kind.EMPTY else inside >= condition.at_least
    present = expected(scenario, frame.time_s)
    matches = matched(present, frame, condition.min_iou)
    for name in condition.people:
        if name not in present:
            continue
        if name not in matches:
            return False
        if condition.kind is Kind.DISTANCE:
            error_m = abs(frame.distances_m[matches[name]] - present[name].distance_m)
            if not error_m <= condition.tolerance * present[name].distance_m:  # or it is NaN
                return False
    return True


def expected(scenario: Scenario, time_s: float) -> dict[str, KeyBox]:
    """The people in view at a time, by name."""
    at = {name: person.at(time_s) for name, person in scenario.people.items()}
    return {name: key for name, key in at.items() if key is not None}


def matched(present: dict[str, KeyBox], frame: FrameResult, min_iou: float) -> dict[str, int]:
    """Index of the detection of each person who is found: one each, highest IoU first."""
    wanted = {name: key.box for name, key in present.items()}
    return pair_by_iou(wanted, dict(enumerate(frame.boxes)), min_iou)


def people_in_zone(zone: Float[np.ndarray, "n 2"], frame: FrameResult) -> int:
    """Number of detections whose box has its centre in the zone or on its edge."""
    polygon = zone.astype(np.float32).reshape(-1, 1, 2)
    centres = (frame.boxes[:, :2] + frame.boxes[:, 2:]) / 2
    inside = [cv2.pointPolygonTest(polygon, (float(x), float(y)), False) >= 0 for x, y in centres]
    return sum(inside)


def _id_changes(scenario: Scenario, condition: Condition, frames: Sequence[FrameResult]) -> float:
    """Changes of the ids of these people from one detection to the next; NaN: never detected."""
    latest: dict[str, str] = {}
    changes = 0
    for frame in frames:
        matches = matched(expected(scenario, frame.time_s), frame, condition.min_iou)
        for name in condition.people:
            if name in matches:
                track_id = frame.ids[matches[name]]
                changes += latest.get(name, track_id) != track_id
                latest[name] = track_id
    return float(changes) if len(latest) == len(condition.people) else math.nan
