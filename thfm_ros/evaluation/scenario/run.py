# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Running a scenario: its film through the pipeline, and the overlay of the results."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.contract import Frame, Perception, Task
from thfm_ros.evaluation.scenario.contents import Kind, Scenario, ScenarioError
from thfm_ros.evaluation.scenario.film import ScenarioFilm
from thfm_ros.evaluation.scenario.verdicts import (
    ConditionResult,
    FrameResult,
    expected,
    frame_result,
    matched,
    people_in_zone,
    verdicts,
)
from thfm_ros.loading import Pipeline
from thfm_ros.media.drawing import overlay
from thfm_ros.media.video import VideoFrame
from thfm_ros.media.video_writer import VideoWriter
from thfm_ros.perception.frame_window import FrameWindow

_MET, _MISSED = (80, 220, 100), (255, 60, 40)
_OVERLAY_IOU = 0.5


@dataclass(frozen=True)
class ScenarioResult:
    """A scenario that was run."""

    scenario: Scenario
    frames: int
    conditions: tuple[ConditionResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every condition ended as the file says."""
        return not any(each.is_failure for each in self.conditions)


def run_scenario(
    pipeline: Pipeline, scenario: Scenario, overlay_path: Path | None = None
) -> ScenarioResult:
    """Run the pipeline on the film and compare the results with the conditions.

    Args:
        pipeline: begins a new stream; its configuration is that of the scenario.
        scenario: what is run.
        overlay_path: write a video with detections, expected boxes and zones.

    Raises:
        PerceptionError: the film cannot be read, or a condition looks at no frame of it.
    """
    film = ScenarioFilm(scenario)
    clip = FrameWindow(film.window(pipeline.config.window))
    results: list[FrameResult] = []
    writer = VideoWriter(overlay_path, film.fps) if overlay_path else None
    try:
        for image in film:
            if not results:
                _check_inside(scenario, image.rgb.shape[1], image.rgb.shape[0])
            perception = _perceive(pipeline, clip, film, image)
            if perception is None:  # a second frame with the same time
                continue
            results.append(frame_result(perception, image.stamp_ns * 1e-9))
            if writer:
                writer.write(_drawn(scenario, image.rgb, perception, results[-1]), image.stamp_ns)
    finally:
        if writer:
            writer.close()
    return ScenarioResult(scenario, len(results), tuple(verdicts(scenario, results)))


def _check_inside(scenario: Scenario, width: int, height: int) -> None:
    """Refuse a zone or a box that no detection can reach.

    Raises:
        ScenarioError: one lies outside of the image.
    """
    corners = {f"zones.{name}": zone for name, zone in scenario.zones.items()}
    for name, person in scenario.people.items():
        for key in (key for span in person.spans for key in span):
            corners[f"people.{name} at {key.at_s:g} s"] = key.box.reshape(2, 2)
    for name, points in corners.items():
        low, high = points.min(axis=0), points.max(axis=0)
        if (high <= 0).any() or (low >= (width, height)).any():
            raise ScenarioError(
                f"{scenario.name}: {name} lies outside of the image, which has {width}x{height} "
                "pixels."
            )


def _perceive(
    pipeline: Pipeline, window: FrameWindow, film: ScenarioFilm, image: VideoFrame
) -> Perception | None:
    frame = Frame(image.rgb, image.stamp_ns, "camera", film.intrinsics(image))
    clip = window.push(frame)
    return None if clip is None else pipeline.step(clip, frozenset({Task.BODIES}))


def _drawn(
    scenario: Scenario, rgb: UInt8[np.ndarray, "h w 3"], perception: Perception, frame: FrameResult
) -> UInt8[np.ndarray, "h w 3"]:
    """The frame with skeletons, and expected boxes and zones in green (as expected) or red."""
    image = overlay(rgb, perception)
    present = expected(scenario, frame.time_s)
    found = matched(present, frame, _OVERLAY_IOU)
    for name, key in present.items():
        x0, y0, x1, y1 = (round(float(edge)) for edge in key.box)
        colour = _MET if name in found else _MISSED
        cv2.rectangle(image, (x0, y0), (x1, y1), colour, 2)
        cv2.putText(image, name, (x0, y1 - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1)
    for condition in scenario.conditions:
        if condition.kind in (Kind.EMPTY, Kind.OCCUPIED) and condition.covers(frame.time_s):
            zone = scenario.zones[condition.zone]
            inside = people_in_zone(zone, frame)
            wanted = inside == 0 if condition.kind is Kind.EMPTY else inside >= condition.at_least
            corners = np.round(zone).astype(np.int32).reshape(-1, 1, 2)
            cv2.polylines(image, [corners], True, _MET if wanted else _MISSED, 2)
    return image
