"""From the newest frames of a stream to everything that is said about the newest of them.

The network looks twice: at the whole frame now and then (who is there?), and at a steady crop
round each person in every frame (everything else). `PerceptionPipeline.step` is the table of
contents.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.config import Config
from thfm_ros.contract import Clip, Frame, Perception, PerceptionError, Task
from thfm_ros.engine.base import Engine
from thfm_ros.geometry import area, covered, iou, longer_side
from thfm_ros.model.outputs import RawOutputs
from thfm_ros.perception.array_pool import ArrayPool
from thfm_ros.perception.background_task import BackgroundTask
from thfm_ros.perception.crop_region import Region, around, cut, follow
from thfm_ros.perception.decoding import Candidate, Detection, Expected, decode_person
from thfm_ros.perception.dense_maps import DENSE_TASKS, Canvas
from thfm_ros.perception.person_search import PersonDetector
from thfm_ros.perception.tracking import Tracked, Tracker

_REJECTED_FOR_NS = 1_000_000_000
"""A place whose own crop shows nobody is not looked at again for so long."""


_CORRECTIONS = 2
"""Looks at somebody new that may follow the first one, each in a better place."""


@dataclass(slots=True)
class CropStream:
    """One region, and the engine's memory of it."""

    region: Region
    state: object | None = None


@dataclass(frozen=True, slots=True)
class TrackedPerson:
    """Somebody who was seen in the frame before; source pixels."""

    look: CropStream
    extent: Float32[np.ndarray, "4"]  # what of them a crop should show
    joints: Float32[np.ndarray, "k 2"]


_Seen = tuple[Detection, CropStream]
"""Somebody, and the crop that shows them."""


class PerceptionPipeline:
    """Perception of one camera. Not thread-safe: one worker calls `step`.

    ``last_timings_ms`` holds what the stages of the last step cost: "cut", "network", "decode",
    "track", "paint" and "total".
    """

    def __init__(self, engine: Engine, config: Config, *, live: bool = False) -> None:
        """``live``: a camera does not wait; see `person_search.PersonDetector`. Results then depend
        on time too, else only on the frames."""
        self.engine = engine
        self.config = config
        self.live = live
        self.last_timings_ms: dict[str, float] = {}
        self._tracker = Tracker(config.track)
        self._searcher = PersonDetector(engine, config, live=live)
        self._beside = live and config.regions.beside and engine.concurrent
        self._thread = 0
        self._sheets = ArrayPool()
        self._epoch: int | None = None
        self.reset()

    def with_config(self, config: Config) -> "PerceptionPipeline":
        """The same engine under another configuration; the stream begins anew."""
        pipeline = PerceptionPipeline(self.engine, config, live=self.live)
        pipeline._tracker = self._tracker.anew(config.track)
        return pipeline

    def reset(self) -> None:
        """Forget everybody and every stream."""
        self._sheets.forget()
        self._tracker.reset()
        self._known: dict[str, TrackedPerson] = {}
        self._seen_ns = 0  # when they were seen
        self._searcher.reset()
        self._neighbours: list[Candidate] = []  # in the crops of the last frame
        self._rejected_proposals: list[tuple[int, Float32[np.ndarray, "4"]]] = []

    def step(self, clip: Clip, tasks: frozenset[Task]) -> Perception:
        """Perceive the newest frame of ``clip``; only what ``tasks`` ask for is computed.

        Raises:
            PerceptionError: a task that the checkpoint does not have, or intrinsics of another
                image size.
            EngineError: the engine failed; the next step begins anew.
        """
        self._begin(clip, tasks)
        began = time.perf_counter()
        try:
            candidates = self._search(clip.newest)
            dense = bool(tasks & DENSE_TASKS)
            seen = self._look_at_the_known(clip, dense)
            new_detections = self._look_at_candidates(clip, candidates, dense)
            people = self._remember(clip.newest, seen, new_detections)
            perception = self._paint(clip.newest, people, tasks)
        except Exception:
            self.reset()
            raise
        self.last_timings_ms["total"] = (time.perf_counter() - began) * 1e3
        return perception

    def _begin(self, clip: Clip, tasks: frozenset[Task]) -> None:
        """Refuse what cannot be done; forget all when the stream was broken."""
        card, frame = self.engine.card, clip.newest
        if missing := tasks - set(card.tasks):
            names = ", ".join(sorted(task.value for task in missing))
            able = ", ".join(task.value for task in card.tasks)
            raise PerceptionError(f"{card.name} cannot estimate {names}; it can: {able}.")
        k, (height, width) = frame.intrinsics, frame.rgb.shape[:2]
        if k is not None and (k.width, k.height) != (width, height):
            raise PerceptionError(
                f"The calibration is for images of {k.width}x{k.height}, the image has "
                f"{width}x{height}. Calibrate at this size, or publish a CameraInfo that fits."
            )
        self._thread = threading.get_ident()
        self.last_timings_ms = dict.fromkeys(("cut", "network", "decode", "track", "paint"), 0.0)
        if clip.epoch != self._epoch:
            self.reset()
            self._epoch = clip.epoch

    def _search(self, frame: Frame) -> list[Candidate]:
        """Look at the whole image: who might be there that is not known yet?"""
        found = self._searcher.search(
            frame,
            self._stage,
            waits=not self._known,
            full=len(self._known) >= self.config.regions.max_people,
        )
        if found is None:
            return []
        self._rejected_proposals = [
            each for each in self._rejected_proposals if each[0] > frame.stamp_ns
        ]
        known = [body.box for body in self._tracker.present.values()]
        known += [box for _, box in self._rejected_proposals]
        new: list[Candidate] = []
        for candidate in [*found, *self._neighbours]:
            large = longer_side(candidate.box) >= self.config.regions.min_person_px
            if large and not _is_any_of(candidate.box, known):
                new.append(candidate)
                known.append(candidate.box)
        return new

    def _look_at_the_known(self, clip: Clip, dense: bool) -> dict[str, _Seen]:
        """Look at everybody who was there in the frame before, in the crop that follows them."""
        there: list[tuple[str, CropStream, Expected]] = []
        age_s = (clip.newest.stamp_ns - self._seen_ns) * 1e-9
        for name, body in self._tracker.present.items():
            box, known = self._tracker.expected(name, clip.newest.stamp_ns), self._known[name]
            moved = box - body.box
            look = self._followed(known.look, known.extent + moved)
            there.append((name, look, Expected(box, known.joints + moved[:2], age_s)))

        def sights(whom: Sequence[tuple[str, CropStream, Expected]]) -> list[Detection | None]:
            return [self._sight(clip, look, who, dense) for _, look, who in whom]

        half = (len(there) + 1) // 2 if self._beside else len(there)
        others = BackgroundTask(partial(sights, there[half:]), "crops") if there[half:] else None
        detections = sights(there[:half]) + (others.result() if others else [])
        keep = self.config.decode.keep_score
        return {
            name: (seen, look)
            for (name, look, _), seen in zip(there, detections, strict=True)
            if seen and seen.body.score >= keep
        }

    def _look_at_candidates(
        self, clip: Clip, candidates: Sequence[Candidate], dense: bool
    ) -> list[_Seen]:
        """A second look decides whether somebody is there."""
        room = self.config.regions.max_people - len(self._known)
        new_detections = []
        for candidate in candidates[: max(room, 0)]:
            size = self.engine.card.crop_size
            look = CropStream(around(candidate.box, size, self.config.regions))
            detection = self._sight(clip, look, Expected(candidate.box), dense)
            for _ in range(_CORRECTIONS):  # a first look may only tell where to look
                if detection is None:
                    break
                better = self._followed(look, detection.extent)
                if better is look:
                    break
                look = better
                detection = self._sight(clip, look, Expected(detection.body.box), dense)
            if detection and detection.body.score >= self.config.decode.min_score:
                new_detections.append((detection, look))
            else:
                self._rejected_proposals.append(
                    (clip.newest.stamp_ns + _REJECTED_FOR_NS, candidate.box)
                )
        # Who is seen in two crops is the one that shows more of them.
        return sorted(new_detections, key=lambda each: -area(each[0].body.box))

    def _sight(
        self, clip: Clip, look: CropStream, expected: Expected, dense: bool
    ) -> Detection | None:
        """The person of one crop, who should be where ``expected`` says."""
        if look.state is None and self.config.regions.rewarm:
            memory = self.engine.card.window
            for frame in clip.frames[-memory:-1]:
                self._run(frame, look, dense=False)
        raw = self._run(clip.newest, look, dense)
        height, width = clip.newest.rgb.shape[:2]
        with self._stage("decode"):
            return decode_person(
                raw,
                look.region.map,
                (width, height),
                clip.newest.intrinsics,
                expected,
                self.config.decode,
            )

    def _run(self, frame: Frame, look: CropStream, dense: bool) -> RawOutputs:
        with self._stage("cut"):
            image = cut(frame, look.region)
        with self._stage("network"):
            raw, look.state = self.engine.step(image, look.state, dense=dense)
        return raw

    def _remember(
        self, frame: Frame, seen: dict[str, _Seen], new_detections: Sequence[_Seen]
    ) -> list[Tracked]:
        """Give everybody a name, and let each crop follow its person."""
        with self._stage("track"):
            before = len(self._known)
            detections = {name: detection for name, (detection, _) in seen.items()}
            people = self._tracker.update(
                frame.stamp_ns, detections, [detection for detection, _ in new_detections]
            )
            looks = {id(detection): look for detection, look in [*seen.values(), *new_detections]}
            self._known = {
                body.id: TrackedPerson(
                    looks[id(detection)], detection.extent, detection.body.keypoints[:, :2]
                )
                for body, detection in people
                if detection
            }
            self._seen_ns = frame.stamp_ns
            self._neighbours = [
                other for _, detection in people if detection for other in detection.neighbours
            ]
            if len(self._known) < before:  # somebody got lost: look for them at once
                self._searcher.hurry()
        return people

    def _followed(self, look: CropStream, box: Float[np.ndarray, "4"]) -> CropStream:
        """The look that shows ``box``: a crop that moves begins a new stream."""
        region = follow(look.region, box, self.config.regions)
        return look if region is look.region else CropStream(region)

    def _paint(self, frame: Frame, people: Sequence[Tracked], tasks: frozenset[Task]) -> Perception:
        with self._stage("paint"):
            height, width = frame.rgb.shape[:2]
            metric = frame.intrinsics is not None
            threshold = self.config.decode.mask_threshold
            canvas = Canvas(
                width, height, tasks, metric=metric, threshold=threshold, sheets=self._sheets
            )
            detections = ((index, each.detection) for index, each in enumerate(people))
            maps = canvas.paint([(index, seen) for index, seen in detections if seen])
        return Perception(
            stamp_ns=frame.stamp_ns,
            frame_id=frame.frame_id,
            width=width,
            height=height,
            intrinsics=frame.intrinsics,
            bodies=tuple(each.body for each in people),
            **maps,
        )

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        """Take the time that a step spends on it; what goes on beside costs a step nothing."""
        began = time.perf_counter()
        yield
        if threading.get_ident() == self._thread:
            self.last_timings_ms[name] += (time.perf_counter() - began) * 1e3


def _is_any_of(box: Float32[np.ndarray, "4"], others: Sequence[Float32[np.ndarray, "4"]]) -> bool:
    """Whether a rough box of the frame pass means somebody who is known more exactly."""
    return any(iou(box, other) > 0.3 or covered(box, other) > 0.6 for other in others)
