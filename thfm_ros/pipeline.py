# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The embedded pipeline: from the newest frames of a stream to the perception of the newest one.

The network runs in two ways: detection passes over the whole image now and then, to find people,
and one pass over a steady crop of each person in every frame, for everything else.
`PerceptionPipeline.step` shows the data flow.
"""

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from thfm_ros.config import Config
from thfm_ros.contract import Clip, Frame, Perception, PerceptionError, Task, TrackState
from thfm_ros.engine.base import Engine
from thfm_ros.geometry import area, longer_side
from thfm_ros.lens import check_image_size
from thfm_ros.perception.appearance import appearance_of
from thfm_ros.perception.background_task import BackgroundTask
from thfm_ros.perception.confirmation import evidence_for, person_probability
from thfm_ros.perception.crop_stream import CropDetection, CropDetector, CropInputs, CropStream
from thfm_ros.perception.decoding import Detection, ExpectedPerson, Proposal
from thfm_ros.perception.dense_maps import DENSE_TASKS
from thfm_ros.perception.external_boxes import ExternalBoxes
from thfm_ros.perception.frame_maps import FrameMaps
from thfm_ros.perception.proposal_selection import select_proposals
from thfm_ros.perception.proposal_sources import ProposalSources, external_boxes_for
from thfm_ros.perception.root_filter import prediction_stamp
from thfm_ros.perception.stage_timer import StageTimer
from thfm_ros.perception.step_budget import Candidate, StepBudget
from thfm_ros.perception.stream_state import (
    REJECTED_FOR_NS,
    RejectedProposal,
    StreamState,
    next_state,
    tracked_people,
)
from thfm_ros.perception.tracking import Tracker, TrackOutput


class PerceptionPipeline:
    """Perception of one camera. Not thread-safe: a single thread calls `step`.

    ``last_timings_ms`` holds the time of each stage of the last step: "crop", "network",
    "decode", "track", "paint" and "total". ``paint_later``: see `loading.Pipeline`.
    """

    def __init__(
        self,
        engine: Engine,
        config: Config,
        *,
        live: bool = False,
        used_ids: set[str] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        external_boxes: ExternalBoxes | None = None,
    ) -> None:
        """``live``: the frames come from a camera, which does not wait (see `PersonDetector`).
        Results then depend on timing, otherwise on the frames only, unless there is a time budget.
        ``used_ids``: see `Tracker`. ``clock``: seconds, for the time budget. ``external_boxes``:
        of another detector; None: those of the configuration, if it names a topic.
        """
        self._clock = clock
        self.engine = engine
        self.config = config
        self.live = live
        self.last_timings_ms: dict[str, float] = {}
        self.paint_later = False
        self._paint: Callable[[], dict[str, Any]] = dict  # the maps of the last step
        self._tracker = Tracker(config.track, used_ids)
        self.external_boxes = external_boxes or external_boxes_for(config)
        self._sources = ProposalSources(engine, config, live=live, external=self.external_boxes)
        self._crop_detector = CropDetector(engine, config)
        self._run_async = live and config.regions.run_async and engine.concurrent
        budget_ms = config.regions.budget_ms if live else 0.0
        self._budget = StepBudget(budget_ms, clock, parallel=2 if self._run_async else 1)
        self._maps = FrameMaps(config, live=live)
        self._epoch: int | None = None
        self._state = StreamState()

    def with_config(self, config: Config) -> "PerceptionPipeline":
        """A pipeline with the same engine and another configuration; it begins a new stream."""
        boxes = self.external_boxes
        pipeline = PerceptionPipeline(
            self.engine, config, live=self.live, clock=self._clock, external_boxes=boxes
        )
        pipeline._tracker = self._tracker.restarted(config.track)
        pipeline.paint_later = self.paint_later
        return pipeline

    def reset(self) -> None:
        """Drop all tracks and begin a new stream."""
        self._maps.reset()
        self._tracker.reset()
        self._sources.reset()
        self._state = StreamState()

    def step(self, clip: Clip, tasks: frozenset[Task]) -> Perception:
        """Perceive the newest frame of ``clip``; only what ``tasks`` request is computed.

        Raises:
            PerceptionError: the checkpoint lacks a task, or intrinsics are of another image size.
            EngineError: the engine failed; the next step begins a new stream.
        """
        self._check(clip.newest, tasks)
        if clip.epoch != self._epoch:
            self.reset()
            self._epoch = clip.epoch
        self._tracker.set_camera(clip.newest.intrinsics)
        timer = StageTimer(("crop", "network", "decode", "track", "paint"))
        inputs = CropInputs(clip, bool(tasks & DENSE_TASKS), timer)
        self._budget.begin(clip)
        try:
            found = self._find_proposals(clip.newest, self._state, timer)
            vacancies = max(self.config.regions.max_people - len(self._state.people), 0)
            proposals = self._known_or(found, clip.newest)[:vacancies]
            now = self._budget.proposals(len(proposals), tracked=len(self._state.people))
            measured = self._measured_now(clip.newest, proposals=now)
            detections = self._detect_tracked(inputs, self._state, measured)
            new_detections, rejected = self._confirm(inputs, proposals[:now])
            self._budget.proposals_done()
            with timer("track"):
                tracks = self._tracker.update(
                    clip.newest.stamp_ns,
                    {track_id: each.detection for track_id, each in detections.items()},
                    [each.detection for each in new_detections],
                    not_measured=self._state.people.keys() - measured,
                    describe=partial(appearance_of, clip.newest),
                )
                people = tracked_people(self._state, tracks, detections, new_detections)
            self._paint = partial(self._maps.paint, clip.newest, tracks, tasks)
            maps = {} if self.paint_later else self._painted(timer)
        except Exception:
            self.reset()
            raise
        if len(people) < len(self._state.people):
            self._sources.request_detection()
        left_out = self._state.left_out if found is None else len(found[vacancies:])
        self._state = next_state(
            self._state, clip.newest, tracks, people, rejected, left_out, tuple(proposals[now:])
        )
        self._budget.end()
        self.last_timings_ms = timer.finished()
        return _perception(clip.newest, tracks, maps, left_out)

    def _painted(self, timer: StageTimer) -> dict[str, Any]:
        with timer("paint"):
            return self._paint()

    def painter(self, perception: Perception) -> Callable[[], Perception]:
        """Paints the maps of the last `step` into its result; see `loading.Pipeline.painter`."""
        paint = self._paint
        return (lambda: replace(perception, **paint())) if self.paint_later else lambda: perception

    def predicted(self, perception: Perception, now_ns: int) -> Perception:
        """The perception of the last `step` with its bodies at `prediction_stamp`; maps stay."""
        stamp_ns = prediction_stamp(perception.stamp_ns, now_ns)
        bodies = tuple(self._tracker.body_at(body.id, stamp_ns) for body in perception.bodies)
        return replace(perception, stamp_ns=stamp_ns, bodies=bodies)

    def _check(self, frame: Frame, tasks: frozenset[Task]) -> None:
        """Raise PerceptionError for tasks or intrinsics that cannot be used."""
        card = self.engine.card
        if missing := tasks - set(card.tasks):
            names = ", ".join(sorted(task.value for task in missing))
            available = ", ".join(task.value for task in card.tasks)
            raise PerceptionError(f"{card.name} cannot estimate {names}; it can: {available}.")
        check_image_size(frame)

    def _find_proposals(
        self, frame: Frame, state: StreamState, timer: StageTimer
    ) -> list[Proposal] | None:
        """Proposals of untracked people, the likeliest first; None: no detector has looked."""
        at_capacity = len(state.people) >= self.config.regions.max_people
        found = self._sources.detect(frame, timer, state, at_capacity=at_capacity)
        return None if found is None else self._selected(found, frame)

    def _known_or(self, found: list[Proposal] | None, frame: Frame) -> list[Proposal]:
        """The proposals of a finished pass, else those that the time budget put off."""
        return self._selected(self._state.pending, frame) if found is None else found

    def _selected(self, proposals: Sequence[Proposal], frame: Frame) -> list[Proposal]:
        """Those of untracked people, the likeliest first."""
        known = [body.box for body in self._tracker.active.values()]
        rejected = self._state.rejected_proposals
        known += [each.box for each in rejected if each.until_ns > frame.stamp_ns]
        return select_proposals(proposals, known, self.config.regions.min_person_px)

    def _measured_now(self, frame: Frame, *, proposals: int) -> Set[str]:
        """Ids of the tracks whose crops are run for this frame; all without a time budget."""
        active = self._tracker.followed
        age_s = (frame.stamp_ns - self._state.stamp_ns) * 1e-9
        candidates = []
        for track_id, body in active.items():
            box = self._tracker.predicted_box(track_id, frame.stamp_ns)
            speed = float(np.abs(box[:2] - body.box[:2]).max()) / max(age_s, 1e-3)
            side = longer_side(body.box)
            candidates.append(
                Candidate(
                    track_id,
                    age_s=age_s + body.measurement_age_s,
                    size=side / frame.rgb.shape[0],
                    speed=speed / max(side, 1.0),
                    is_new=body.state is TrackState.TENTATIVE,
                )
            )
        return self._budget.choose(candidates, proposals)

    def _detect_tracked(
        self, inputs: CropInputs, state: StreamState, measured: Set[str]
    ) -> dict[str, CropDetection]:
        """Detect the ``measured`` people of the previous frame, each in the crop that follows them.

        Returns:
            Detections by track id; people without a detection are missing.
        """
        stamp_ns = inputs.clip.newest.stamp_ns
        age_s = (stamp_ns - state.stamp_ns) * 1e-9
        crops: list[tuple[CropStream, ExpectedPerson]] = []
        active = {key: body for key, body in self._tracker.followed.items() if key in measured}
        for track_id, body in active.items():
            box, person = self._tracker.predicted_box(track_id, stamp_ns), state.people[track_id]
            shift = box - body.box
            known = body.state is not TrackState.TENTATIVE
            extent = person.extent + shift
            stream = self._crop_detector.following(person.stream, extent, known=known)
            keypoints_age_s = age_s + body.measurement_age_s
            expected = ExpectedPerson(box, person.keypoints + shift[:2], keypoints_age_s)
            crops.append((stream, expected))

        def detect(some: Sequence[tuple[CropStream, ExpectedPerson]]) -> list[Detection | None]:
            return [self._crop_detector.detect(inputs, *crop) for crop in some]

        half = (len(crops) + 1) // 2 if self._run_async else len(crops)
        with self._budget.crops(len(crops)):
            task = BackgroundTask(partial(detect, crops[half:]), "crops") if crops[half:] else None
            detections = detect(crops[:half]) + (task.result() if task else [])
        return {
            track_id: CropDetection(detection, stream)
            for track_id, (stream, _), detection in zip(active, crops, detections, strict=True)
            if detection and detection.body.score >= self.config.decode.keep_score
        }

    def _confirm(
        self, inputs: CropInputs, proposals: Sequence[Proposal]
    ) -> tuple[list[CropDetection], list[RejectedProposal]]:
        """Confirm or reject proposals by their crops.

        The maps of these crops are always computed: they tell people from things that resemble
        people.

        Returns:
            The new detections, those with the largest boxes first, and the rejected proposals.
        """
        new_detections: list[CropDetection] = []
        rejected: list[RejectedProposal] = []
        until_ns = inputs.clip.newest.stamp_ns + REJECTED_FOR_NS
        with_maps = inputs._replace(dense=True)
        for proposal in proposals:
            found = self._crop_detector.detect_proposal(with_maps, proposal)
            is_person = found is not None and self._is_person(proposal, found.detection)
            self._sources.examined(proposal, is_person=is_person)
            if found and is_person:
                new_detections.append(found)
            else:
                rejected.append(RejectedProposal(proposal.box, until_ns))
        # Of two detections of one person, the tracker uses the one that shows more of them.
        new_detections.sort(key=lambda each: -area(each.detection.body.box))
        return new_detections, rejected

    def _is_person(self, proposal: Proposal, detection: Detection) -> bool:
        probability = person_probability(evidence_for(proposal, detection))
        return probability >= self.config.decode.min_score


def _perception(
    frame: Frame, tracks: Sequence[TrackOutput], maps: Mapping[str, Any], left_out: int
) -> Perception:
    height, width = frame.rgb.shape[:2]
    return Perception(
        stamp_ns=frame.stamp_ns,
        frame_id=frame.frame_id,
        width=width,
        height=height,
        intrinsics=frame.intrinsics,
        bodies=tuple(track.body for track in tracks),
        left_out=left_out,
        **maps,
    )
