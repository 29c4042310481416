# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The tracks of the people of one stream: which detection continues which track, and ids.

A person whose own crop shows them again needs no matching. Only new detections are matched, to
tracks that were lost a moment ago, then to the appearance of people who left longer ago.
"""

import random
import string
from collections.abc import Callable, Mapping, Sequence, Set
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Float32

from thfm_ros.config import TrackConfig
from thfm_ros.contract import Body, Intrinsics, TrackState
from thfm_ros.geometry import iou, normalized_center_distance
from thfm_ros.lens import same_projection
from thfm_ros.perception.decoding import Detection
from thfm_ros.perception.known_people import KnownPeople
from thfm_ros.perception.occlusion import Explanations, overlaps, shown_people
from thfm_ros.perception.same_person import same_person, same_pose
from thfm_ros.perception.track import Track

Describe: TypeAlias = Callable[[Detection], Float32[np.ndarray, "d"] | None]
"""The appearance of a detection in the newest frame; see `appearance.appearance_of`."""

_OTHER_CLOTHES = -20.0
"""Evidence below which a new detection is not the person of a lost track, wherever it is."""

_SAME_PERSON_IOU = 0.5  # of a detection and the prediction of a track that was not looked for


class TrackOutput(NamedTuple):
    """One track in one frame.

    ``detection`` is None for a track that was not detected. ``new_index`` is the index of a
    detection that came from ``new_detections``, else None. ``followed``: its crop goes on.
    """

    body: Body
    detection: Detection | None
    new_index: int | None = None
    followed: bool = True


class Tracker:
    """The tracks of one stream.

    Args:
        config: thresholds, smoothing, and the seed of ids.
        used_ids: ids that are not used again; those of this tracker are added. None: no ids.
    """

    def __init__(self, config: TrackConfig, used_ids: set[str] | None = None) -> None:
        self._config = config
        self._random = random.Random(None if config.seed < 0 else config.seed)
        self._used_ids: set[str] = set() if used_ids is None else used_ids
        self._tracks: dict[str, Track] = {}
        self._camera: Intrinsics | None = None
        self._known = KnownPeople(config.remember_for_s) if config.remember_for_s else None

    @property
    def active(self) -> dict[str, Body]:
        """The bodies detected in the newest frame, by id, in the order in which tracks began."""
        bodies = ((track_id, track.body) for track_id, track in self._tracks.items())
        return {track_id: body for track_id, body in bodies if body.state is not TrackState.LOST}

    @property
    def followed(self) -> dict[str, Body]:
        """Those of `active`, and the hidden ones, whose crops go on looking for them."""
        return {
            track_id: track.body
            for track_id, track in self._tracks.items()
            if track.body.state is not TrackState.LOST or track.hidden
        }

    def predicted_box(self, track_id: str, stamp_ns: int) -> Float[np.ndarray, "4"]:
        """Predicted bounding box of a track in a frame of this stamp, source pixels."""
        return self._tracks[track_id].predicted_box(stamp_ns)

    def body_at(self, track_id: str, stamp_ns: int) -> Body:
        """The body of a track, predicted at a time that is not before the newest frame's."""
        return self._tracks[track_id].body_at(stamp_ns)

    def reset(self) -> None:
        """Drop all tracks and forget all people; their ids are not used again."""
        self._tracks.clear()
        if self._known is not None:
            self._known.clear()

    def set_camera(self, camera: Intrinsics | None) -> None:
        """Set the camera of the next frame; with another one positions begin anew, not tracks."""
        if not same_projection(self._camera, camera):
            for track in self._tracks.values():
                track.forget_positions()
            self._camera = camera

    def restarted(self, config: TrackConfig) -> "Tracker":
        """A tracker without tracks that never uses an id that this one has used."""
        return Tracker(config, self._used_ids)

    def update(
        self,
        stamp_ns: int,
        tracked: Mapping[str, Detection],
        new_detections: Sequence[Detection],
        not_measured: Set[str] = frozenset(),
        describe: Describe | None = None,
    ) -> list[TrackOutput]:
        """Process one frame.

        Args:
            stamp_ns: of the frame.
            tracked: detections in the crops of followed tracks, by track id.
            new_detections: all others. Of two detections of the same person the first is used.
            not_measured: ids of followed tracks that were not looked for in this frame, on purpose.
            describe: gives the appearance by which people are known again; None: no one is.

        Returns:
            All tracks: first those that are detected, then the others; within both in the order
            in which tracks began.
        """
        explanations = self._explanations(stamp_ns, describe)
        outputs = self._continued(stamp_ns, tracked, explanations)
        for index, detection in enumerate(new_detections):
            known = [each.body for each in outputs.values()]
            is_part = any(same_pose(detection.body, body) for body in known)
            if is_part or _is_duplicate(detection, outputs):
                continue
            track_id = (
                self._matching_unmeasured_track(detection, stamp_ns, not_measured - outputs.keys())
                or self._matching_lost_track(detection, stamp_ns, outputs, explanations)
                or self._begin_track(self._known_again(detection, stamp_ns, outputs, describe))
            )
            body = self._tracks[track_id].update(detection, stamp_ns)
            outputs[track_id] = TrackOutput(body, detection, index)
        self._remember(outputs, stamp_ns, describe)
        others = self._unseen(stamp_ns, outputs, not_measured)
        return [outputs[track_id] for track_id in self._tracks if track_id in outputs] + others

    def _explanations(self, stamp_ns: int, describe: Describe | None) -> Explanations:
        """How well the tracks explain detections in the frame of this stamp."""

        def clothes(track_id: str, detection: Detection) -> float:
            if self._known is None or describe is None:
                return 0.0
            appearance = describe(detection)
            return 0.0 if appearance is None else self._known.likeness(track_id, appearance)

        return Explanations(
            lambda track_id, each: self._tracks[track_id].surprise(each, stamp_ns), clothes
        )

    def _continued(
        self, stamp_ns: int, tracked: Mapping[str, Detection], explanations: Explanations
    ) -> dict[str, TrackOutput]:
        """The tracks that go on with the detection in their own crop."""
        in_order = {key: tracked[key] for key in self._tracks if key in tracked}
        shown = shown_people(in_order, explanations)
        boxes = {
            key: shown[key].body.box if key in shown else track.predicted_box(stamp_ns)
            for key, track in self._tracks.items()
        }
        outputs = {}
        for key, detection in shown.items():
            overlapped = overlaps(boxes, key)
            body = self._tracks[key].update(detection, stamp_ns, overlapped=overlapped)
            outputs[key] = TrackOutput(body, detection)
        return outputs

    def _unseen(
        self, stamp_ns: int, outputs: Mapping[str, TrackOutput], not_measured: Set[str]
    ) -> list[TrackOutput]:
        """The tracks without a detection, which end, are lost, hidden or predicted."""
        seen = {track_id: each.body.box for track_id, each in outputs.items()}
        followed = self.followed
        unseen: list[TrackOutput] = []
        for track_id in [each for each in self._tracks if each not in outputs]:
            track = self._tracks[track_id]
            if track.mark_unseen(stamp_ns, measured=track_id not in not_measured):
                near = overlaps({**seen, track_id: track.body.box}, track_id)
                track.hidden = near and track_id in followed and track.body.state is TrackState.LOST
                goes_on = track.hidden or track.body.state is not TrackState.LOST
                unseen.append(TrackOutput(track.body, None, followed=goes_on))
            else:
                del self._tracks[track_id]
        return unseen

    def _matching_unmeasured_track(
        self, detection: Detection, stamp_ns: int, track_ids: Set[str]
    ) -> str | None:
        """The track that was not looked for in this frame and whose person this is, if any."""
        overlaps = {}
        for track_id in sorted(track_ids & self._tracks.keys()):
            track = self._tracks[track_id]
            overlap = iou(track.predicted_box(stamp_ns), detection.body.box)
            if overlap > _SAME_PERSON_IOU or same_pose(detection.body, track.body):
                overlaps[track_id] = overlap
        return max(overlaps, key=lambda track_id: overlaps[track_id], default=None)

    def _matching_lost_track(
        self,
        detection: Detection,
        stamp_ns: int,
        outputs: Mapping[str, TrackOutput],
        explanations: Explanations,
    ) -> str | None:
        """The lost track that explains a detection best, of those whose box is near, if any."""
        costs = {}
        for track_id, track in self._tracks.items():
            if track_id in outputs or track.body.state is not TrackState.LOST:
                continue
            box = track.predicted_box(stamp_ns)
            overlap = iou(box, detection.body.box)
            distance = normalized_center_distance(box, detection.body.box)
            near = overlap >= self._config.min_iou or distance <= self._config.max_centre_distance
            if near and explanations.clothes(track_id, detection) > _OTHER_CLOTHES:
                costs[track_id] = explanations.cost(track_id, detection)
        return min(costs, key=lambda track_id: costs[track_id], default=None)

    def _known_again(
        self,
        detection: Detection,
        stamp_ns: int,
        outputs: Mapping[str, TrackOutput],
        describe: Describe | None,
    ) -> str | None:
        """The id of the person whom a new detection shows, if they left and are remembered."""
        if self._known is None or describe is None:
            return None
        self._known.forget_old(stamp_ns)
        appearance = describe(detection) if len(self._known) else None
        if appearance is None:
            return None
        # Tracks that go on may get their detection later in this frame.
        return self._known.recognise(appearance, outputs.keys() | self.active.keys())

    def _remember(
        self, outputs: Mapping[str, TrackOutput], stamp_ns: int, describe: Describe | None
    ) -> None:
        """Remember what people look like whom no one overlaps in this frame."""
        if self._known is None or describe is None:
            return
        boxes = {track_id: each.body.box for track_id, each in outputs.items()}
        for track_id, output in outputs.items():
            due = self._known.is_due(track_id, stamp_ns) and not overlaps(boxes, track_id)
            if due and output.detection is not None:
                appearance = describe(output.detection)
                if appearance is not None:
                    self._known.add(track_id, appearance, stamp_ns)

    def _begin_track(self, known_id: str | None) -> str:
        """Add a track with the id of a known person, or an unused one; returns the id."""
        track_id = known_id
        while track_id is None or (track_id in self._used_ids and track_id != known_id):
            track_id = "".join(self._random.choices(string.ascii_lowercase, k=5))
        self._used_ids.add(track_id)
        self._tracks[track_id] = Track(track_id, self._config)
        return track_id


def _is_duplicate(detection: Detection, outputs: Mapping[str, TrackOutput]) -> bool:
    """Whether the same person was already detected in another crop."""
    return any(
        each.detection is not None and same_person(detection, each.detection)
        for each in outputs.values()
    )
