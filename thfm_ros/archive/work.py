# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Perceiving one unit, in a worker's process: all of its results, or none."""

import json
import logging
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np

from thfm_ros.archive.destination import OUTCOME, UNITS, Destination
from thfm_ros.archive.job import Job
from thfm_ros.archive.outcome import DONE, ERROR, Outcome
from thfm_ros.archive.storage import local_copy
from thfm_ros.archive.units import Unit, location_of
from thfm_ros.bags.bag import Bag
from thfm_ros.bags.camera_stream import CameraStream
from thfm_ros.config import Config, config_from
from thfm_ros.contract import Perception, PerceptionError, Task, TrackState
from thfm_ros.loading import Pipeline, load_pipeline
from thfm_ros.media import drawing
from thfm_ros.media.video import VideoFrame
from thfm_ros.offline.outputs import Outputs, topics_to_keep
from thfm_ros.offline.perceive import Summary, perceive, warnings_of
from thfm_ros.offline.sources import BagCamera, FocalLength
from thfm_ros.pipeline import PerceptionPipeline

log = logging.getLogger(__name__)

SUMMARY, THUMBNAIL = "summary.json", "thumbnail.jpg"
_THUMBNAIL_WIDTH = 320
_BINS = 120  # of people over time


class Worker:
    """Perceives units one after the other with one engine.

    Args:
        job: the settings.
        out: where the archive's results go.
        scratch_bytes: largest copy of a remote bag.
    """

    def __init__(self, job: Job, out: Destination, scratch_bytes: int) -> None:
        self._job, self._out = job, out
        self._scratch_bytes = scratch_bytes
        self._config = config_from(dict(job.settings))
        self._loaded: Pipeline | None = None
        self._checked = False

    def run(self, unit: Unit) -> Outcome:
        """Perceive a unit. What goes wrong with it is said in its outcome, never raised."""
        outcome = Outcome(unit.key, unit.source, unit.topic, DONE)
        start_s = time.monotonic()
        folder = self._out.unit_folder(unit.key)
        try:
            if not self._checked:
                self._out.check_shared()
                self._checked = True
            summary, warnings = self._perceive(unit, folder)
            found = replace(
                outcome,
                frames=summary.frames,
                people=summary.people,
                seconds=round(time.monotonic() - start_s, 3),
                warning="; ".join(warnings),
            )
            return self._published(folder, found)
        except (PerceptionError, OSError, MemoryError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            return replace(outcome, state=ERROR, error=str(error) or type(error).__name__)
        except Exception as error:  # a defect must not end the work on a thousand other bags
            shutil.rmtree(folder, ignore_errors=True)
            log.exception("%s, %s", unit.source, unit.topic)
            return replace(outcome, state=ERROR, error=f"unexpected: {error!r}")

    def _perceive(self, unit: Unit, folder: Path) -> tuple[Summary, list[str]]:
        job = self._job
        focal_length = FocalLength(job.hfov_deg, job.fx)
        shutil.rmtree(folder, ignore_errors=True)
        pipeline = self._pipeline(unit)
        card = pipeline.engine.card
        tasks = frozenset(map(Task, job.tasks)) or frozenset(card.tasks)
        location = location_of(unit)
        with local_copy(location, self._scratch_bytes) as path, Bag(path) as bag:
            stream = CameraStream(
                bag, unit.topic, job.info_topic, received_times=job.received_times
            )
            source = BagCamera(stream)
            keep = topics_to_keep(bag, job.keep)
            name = Path(unit.source).name
            outputs = Outputs(folder, source, tasks, card, pipeline.config, name, keep)
            notes = _Notes(folder, with_image=self._config.node.publish_camera_images)
            summary = perceive(
                pipeline,
                source,
                outputs.writers(job.formats),
                tasks,
                focal_length=focal_length,
                max_frames=job.max_frames,
                keep_partial=False,
                progress=False,
                observe=notes.observe,
            )
        notes.write()
        return summary, warnings_of(summary, source, focal_length)

    def _pipeline(self, unit: Unit) -> Pipeline:
        """A pipeline whose ids depend on the unit only, not on the units before."""
        if self._loaded is None:
            self._loaded = load_pipeline(self._config)
        config = _seeded(self._config, unit)
        if isinstance(self._loaded, PerceptionPipeline):
            return PerceptionPipeline(self._loaded.engine, config)
        return self._loaded.with_config(config)

    def _published(self, folder: Path, outcome: Outcome) -> Outcome:
        """Give the unit's folder its name."""
        (folder / OUTCOME).write_text(json.dumps(asdict(outcome)), encoding="utf-8")
        self._out.publish_unit(folder, outcome.unit)
        return outcome


def finished_outcome(out: Path, unit: Unit) -> Outcome | None:
    """The outcome of a unit that is done; None if it is not."""
    path = out / UNITS / unit.key / OUTCOME
    try:
        return Outcome(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _seeded(config: Config, unit: Unit) -> Config:
    return replace(config, track=replace(config.track, seed=int(unit.key[:7], 16)))


class _Notes:
    """What the report shows of a unit: people over time, and the frame with most of them."""

    def __init__(self, folder: Path, *, with_image: bool) -> None:
        self._folder, self._with_image = folder, with_image
        self._stamps_ns: list[int] = []
        self._people: list[int] = []
        self._most = -1
        self._thumbnail: np.ndarray | None = None

    def observe(self, frame: VideoFrame, perception: Perception) -> None:
        count = sum(body.state is TrackState.TRACKED for body in perception.bodies)
        self._stamps_ns.append(perception.stamp_ns)
        self._people.append(count)
        if count > self._most:
            self._most = count
            self._thumbnail = _thumbnail(frame, perception) if self._with_image else None

    def write(self) -> None:
        if not self._people:
            return
        groups = np.array_split(np.array(self._people), min(_BINS, len(self._people)))
        values = {
            "start_ns": self._stamps_ns[0],
            "end_ns": self._stamps_ns[-1],
            "people": [int(group.max()) for group in groups],
        }
        (self._folder / SUMMARY).write_text(json.dumps(values), encoding="utf-8")
        if self._thumbnail is not None:
            cv2.imwrite(str(self._folder / THUMBNAIL), self._thumbnail)


def _thumbnail(frame: VideoFrame, perception: Perception) -> np.ndarray:
    image = np.array(frame.rgb, order="C")
    for body in perception.bodies:
        if body.state is not TrackState.LOST:
            drawing.draw_skeleton(image, body)
    height, width = image.shape[:2]
    size = (_THUMBNAIL_WIDTH, max(1, round(height * _THUMBNAIL_WIDTH / width)))
    small: np.ndarray = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small[..., ::-1]
