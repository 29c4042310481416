# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Tracks: ids, states and light temporal smoothing of the people of one stream.

A person whose own crop shows them again needs no matching. Only new detections are matched, to
tracks that were lost a moment ago.
"""

import dataclasses
import random
import string
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from thfm_ros.config import TrackConfig
from thfm_ros.contract import Body, Intrinsics, TrackState
from thfm_ros.geometry import (
    iou,
    longer_side,
    normalized_center_distance,
    pack_covariance,
    unpack_covariance,
)
from thfm_ros.lens import same_projection
from thfm_ros.perception.decoding import Detection
from thfm_ros.perception.one_euro import OneEuroFilter
from thfm_ros.perception.root_filter import MAX_EXTRAPOLATION_S, RootFilter
from thfm_ros.perception.same_person import same_person, same_pose
from thfm_ros.perception.size_reference import SizeReference

_SAME_PERSON_IOU = 0.5  # of a detection and the prediction of a track that was not looked for
_BODY_LENGTH_M = 1.7  # speeds are measured in body lengths per second, in space as in the image
_MAX_UNMEASURED_S = 3.0  # after which a track ends that was not looked for


class TrackOutput(NamedTuple):
    """One track in one frame.

    ``detection`` is None for a track that was not detected. ``new_index`` is the index of a
    detection that came from ``new_detections``, else None.
    """

    body: Body
    detection: Detection | None
    new_index: int | None = None


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
        self._tracks: dict[str, _Track] = {}
        self._camera: Intrinsics | None = None

    @property
    def active(self) -> dict[str, Body]:
        """The bodies detected in the newest frame, by id, in the order in which tracks began."""
        bodies = ((track_id, track.body) for track_id, track in self._tracks.items())
        return {track_id: body for track_id, body in bodies if body.state is not TrackState.LOST}

    def predicted_box(self, track_id: str, stamp_ns: int) -> Float[np.ndarray, "4"]:
        """Predicted bounding box of a track in a frame of this stamp, source pixels."""
        return self._tracks[track_id].predicted_box(stamp_ns)

    def reset(self) -> None:
        """Drop all tracks; their ids are not used again."""
        self._tracks.clear()

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
    ) -> list[TrackOutput]:
        """Process one frame.

        Args:
            stamp_ns: of the frame.
            tracked: detections in the crops of active tracks, by track id.
            new_detections: all others. Of two detections of the same person the first is used.
            not_measured: ids of active tracks that were not looked for in this frame, on purpose.

        Returns:
            All tracks: first those that are detected, then the others; within both in the order
            in which tracks began.
        """
        outputs: dict[str, TrackOutput] = {}
        for track_id, track in self._tracks.items():
            if track_id in tracked and not _is_duplicate(tracked[track_id], outputs):
                body = track.update(tracked[track_id], stamp_ns)
                outputs[track_id] = TrackOutput(body, tracked[track_id])
        for index, detection in enumerate(new_detections):
            known = [each.body for each in outputs.values()]
            is_part = any(same_pose(detection.body, body) for body in known)
            if is_part or _is_duplicate(detection, outputs):
                continue
            track_id = (
                self._matching_unmeasured_track(detection, stamp_ns, not_measured - outputs.keys())
                or self._matching_lost_track(detection, stamp_ns, outputs)
                or self._begin_track()
            )
            body = self._tracks[track_id].update(detection, stamp_ns)
            outputs[track_id] = TrackOutput(body, detection, index)
        others: list[TrackOutput] = []
        for track_id in [each for each in self._tracks if each not in outputs]:
            if self._tracks[track_id].mark_unseen(stamp_ns, measured=track_id not in not_measured):
                others.append(TrackOutput(self._tracks[track_id].body, None))
            else:
                del self._tracks[track_id]
        return [outputs[track_id] for track_id in self._tracks if track_id in outputs] + others

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
        self, detection: Detection, stamp_ns: int, outputs: Mapping[str, TrackOutput]
    ) -> str | None:
        """The lost track whose predicted box fits the detection best, if any does."""
        fits = {}
        for track_id, track in self._tracks.items():
            if track_id in outputs or track.body.state is not TrackState.LOST:
                continue
            box = track.predicted_box(stamp_ns)
            overlap = iou(box, detection.body.box)
            distance = normalized_center_distance(box, detection.body.box)
            if overlap >= self._config.min_iou or distance <= self._config.max_centre_distance:
                fits[track_id] = overlap - distance
        return max(fits, key=lambda track_id: fits[track_id], default=None)

    def _begin_track(self) -> str:
        """Add a track with an unused id; returns the id."""
        while True:
            track_id = "".join(self._random.choices(string.ascii_lowercase, k=5))
            if track_id not in self._used_ids:
                break
        self._used_ids.add(track_id)
        self._tracks[track_id] = _Track(track_id, self._config)
        return track_id


def _is_duplicate(detection: Detection, outputs: Mapping[str, TrackOutput]) -> bool:
    """Whether the same person was already detected in another crop."""
    return any(
        each.detection is not None and same_person(detection, each.detection)
        for each in outputs.values()
    )


@dataclass
class _Track:
    """The state of one track."""

    track_id: str
    config: TrackConfig
    hits: int = 0  # number of detections
    detected_ns: int = 0  # stamp of the last one

    def __post_init__(self) -> None:
        self.body: Body  # as it is reported
        self._detected: Body  # as it was last detected
        self._raw_box = np.zeros(4)
        self._box_velocity = np.zeros(2)  # of the centre, pixels per second
        self._filters = [OneEuroFilter(self.config) for _ in range(3)]
        self._root_filter, self._size = RootFilter(), SizeReference()

    def update(self, detection: Detection, stamp_ns: int) -> Body:
        """Continue the track with a detection; returns the body to report."""
        body, dt = detection.body, (stamp_ns - self.detected_ns) * 1e-9
        if self.hits:
            motion = (body.box[:2] + body.box[2:] - self._raw_box[:2] - self._raw_box[2:]) / 2
            self._box_velocity = 0.5 * self._box_velocity + 0.5 * motion / max(dt, 1e-3)
        self.hits, self.detected_ns, self._raw_box = self.hits + 1, stamp_ns, body.box
        covariance = unpack_covariance(body.root_covariance_m2)
        root_m = body.root_m / self._size.relative_size(body.positions_m)
        self._root_filter.update(stamp_ns, root_m, covariance)
        motion = self._root_filter.predict(0.0)
        if self.config.smoothing == "one_euro":
            body = self._smoothed(body, dt)
        confirmed = self.hits >= self.config.hits_to_confirm
        state = TrackState.TRACKED if confirmed else TrackState.TENTATIVE
        self.body = self._detected = dataclasses.replace(
            body,
            id=self.track_id,
            state=state,
            velocity_m_s=motion.velocity_m_s.astype(np.float32),
            velocity_covariance=pack_covariance(motion.velocity_covariance),
        )
        return self.body

    def forget_positions(self) -> None:
        """Begin position and velocity with the next detection: the scale of space has changed."""
        self._filters[1:] = [OneEuroFilter(self.config) for _ in self._filters[1:]]
        self._root_filter = RootFilter()

    def mark_unseen(self, stamp_ns: int, *, measured: bool) -> bool:
        """Predict the body of a frame without a detection; False if the track has ended.

        A track that was looked for is lost, or ends if it is tentative. One that was not stays
        tentative, or is predicted; once it is lost it stays lost.
        """
        age_s = (stamp_ns - self.detected_ns) * 1e-9
        state = self.body.state
        longest_s = self.config.lost_for_s
        if not measured:  # their turn may come late: with a small time budget, on a slow machine
            longest_s = max(longest_s, _MAX_UNMEASURED_S)
        if age_s > longest_s or (measured and state is TrackState.TENTATIVE):
            return False
        if measured:
            state = TrackState.LOST
        elif state is TrackState.TRACKED:
            state = TrackState.PREDICTED
        remaining = 1 - age_s / max(self.config.lost_for_s, 1e-9)
        score = self._detected.score
        if state is TrackState.LOST:
            score *= max(remaining, 0.0)
        self.body = dataclasses.replace(self._predicted(stamp_ns), state=state, score=score)
        return True

    def _predicted(self, stamp_ns: int) -> Body:
        """The last detected body, moved to a later frame."""
        last, age_s = self._detected, (stamp_ns - self.detected_ns) * 1e-9
        shift = (self.predicted_box(stamp_ns) - last.box).astype(np.float32)
        now, then = self._root_filter.predict(age_s), self._root_filter.predict(0.0)
        moved_m = (now.position_m - then.position_m).astype(np.float32)
        growth = pack_covariance(now.covariance_m2 - then.covariance_m2)
        return dataclasses.replace(
            last,
            box=last.box + shift,
            keypoints=last.keypoints + np.array([*shift[:2], 0], np.float32),
            positions_m=last.positions_m + moved_m,
            covariances_m2=last.covariances_m2 + growth,
            root_m=last.root_m + moved_m,
            root_covariance_m2=last.root_covariance_m2 + growth,
            velocity_m_s=now.velocity_m_s.astype(np.float32),
            velocity_covariance=pack_covariance(now.velocity_covariance),
            measurement_age_s=age_s,
        )

    def predicted_box(self, stamp_ns: int) -> Float[np.ndarray, "4"]:
        """The last box, moved with constant velocity for at most MAX_EXTRAPOLATION_S."""
        ahead_s = min((stamp_ns - self.detected_ns) * 1e-9, MAX_EXTRAPOLATION_S)
        return np.asarray(self._raw_box + np.tile(self._box_velocity * ahead_s, 2))

    def _smoothed(self, body: Body, dt: float) -> Body:
        longer = max(longer_side(body.box), 1.0)
        keypoint_filter, position_filter, root_filter = self._filters
        keypoints = body.keypoints.copy()
        keypoints[:, :2] = keypoint_filter.smooth(keypoints[:, :2], dt, longer)
        return dataclasses.replace(
            body,
            keypoints=keypoints,
            positions_m=position_filter.smooth(body.positions_m, dt, _BODY_LENGTH_M),
            root_m=root_filter.smooth(body.root_m[None], dt, _BODY_LENGTH_M)[0],
        )
