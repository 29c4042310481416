# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Tracks: ids, states and light temporal smoothing of the people of one stream.

A person whose own crop shows them again needs no matching. Only new detections are matched, to
tracks that were lost a moment ago.
"""

import dataclasses
import math
import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from thfm_ros.config import TrackConfig
from thfm_ros.contract import Body, PixelMap, TrackState
from thfm_ros.geometry import (
    intersection_over_min_area,
    iou,
    longer_side,
    normalized_center_distance,
    to_network,
    to_source,
)
from thfm_ros.perception.decoding import DENSE_CELL_PX, Detection

_BODY_LENGTH_M = 1.7  # speeds are measured in body lengths per second, in space as in the image
_MAX_SPEED_M_PER_S = 1.0  # of a lost person: growth of the position's standard deviation
_MIN_BOX_IOU = 0.6  # two detections are one person if their boxes overlap more,
_MIN_SHARED_PIXELS = 0.5  # or, with dense maps, if they share more than this of the smaller mask
_MAX_PREDICTION_S = 0.5
_DERIVATIVE_HZ = 1.0


class TrackOutput(NamedTuple):
    """One track in one frame.

    ``detection`` is None for a lost track. ``new_index`` is the index of a detection that came
    from ``new_detections``, else None.
    """

    body: Body
    detection: Detection | None
    new_index: int | None = None


class Tracker:
    """The tracks of one stream."""

    def __init__(self, config: TrackConfig) -> None:
        self._config = config
        self._random = random.Random(None if config.seed < 0 else config.seed)
        self._used_ids: set[str] = set()
        self._tracks: dict[str, _Track] = {}

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

    def restarted(self, config: TrackConfig) -> "Tracker":
        """A tracker without tracks that never uses an id that this one has used."""
        tracker = Tracker(config)
        tracker._used_ids = self._used_ids
        return tracker

    def update(
        self, stamp_ns: int, tracked: Mapping[str, Detection], new_detections: Sequence[Detection]
    ) -> list[TrackOutput]:
        """Process one frame.

        Args:
            stamp_ns: of the frame.
            tracked: detections in the crops of active tracks, by track id.
            new_detections: all others. Of two detections of the same person the first is used.

        Returns:
            All tracks: first those that are detected, then the lost ones; within both in the
            order in which tracks began.
        """
        outputs: dict[str, TrackOutput] = {}
        for track_id, track in self._tracks.items():
            if track_id in tracked and not _is_duplicate(tracked[track_id], outputs):
                body = track.update(tracked[track_id], stamp_ns)
                outputs[track_id] = TrackOutput(body, tracked[track_id])
        for index, detection in enumerate(new_detections):
            if _is_duplicate(detection, outputs):
                continue
            lost_id = self._matching_lost_track(detection, stamp_ns, outputs)
            track_id = lost_id or self._begin_track()
            body = self._tracks[track_id].update(detection, stamp_ns)
            outputs[track_id] = TrackOutput(body, detection, index)
        lost: list[TrackOutput] = []
        for track_id in [each for each in self._tracks if each not in outputs]:
            if self._tracks[track_id].mark_lost(stamp_ns):
                lost.append(TrackOutput(self._tracks[track_id].body, None))
            else:
                del self._tracks[track_id]
        return [outputs[track_id] for track_id in self._tracks if track_id in outputs] + lost

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


def same_person(a: Detection, b: Detection) -> bool:
    """Whether the detections of two crops show one person: their masks share most pixels.

    Without dense maps: whether their boxes are nearly equal.
    """
    if a.target is None or b.target is None:
        return iou(a.body.box, b.body.box) > _MIN_BOX_IOU
    if intersection_over_min_area(a.body.box, b.body.box) == 0:
        return False
    if a.target.sum() * a.region.scale**2 > b.target.sum() * b.region.scale**2:
        shared = _share_within(b.target, b.region, a.target, a.region)
    else:
        shared = _share_within(a.target, a.region, b.target, b.region)
    return shared > _MIN_SHARED_PIXELS


def _share_within(
    small: Bool[np.ndarray, "h w"],
    small_region: PixelMap,
    large: Bool[np.ndarray, "h2 w2"],
    large_region: PixelMap,
) -> float:
    """The share of the cells of one mask that lie inside another crop's mask."""
    rows, columns = np.nonzero(small)
    centres = (np.stack([columns, rows], 1) + 0.5) * DENSE_CELL_PX
    in_large = to_network(to_source(centres, small_region), large_region) / DENSE_CELL_PX
    x, y = np.floor(in_large).astype(int).T
    height, width = large.shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return float(large[y[inside], x[inside]].sum() / max(len(rows), 1))


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
        self._filters = [_OneEuroFilter(self.config) for _ in range(3)]

    def update(self, detection: Detection, stamp_ns: int) -> Body:
        """Continue the track with a detection; returns the body to report."""
        body, dt = detection.body, (stamp_ns - self.detected_ns) * 1e-9
        if self.hits:
            motion = (body.box[:2] + body.box[2:] - self._raw_box[:2] - self._raw_box[2:]) / 2
            self._box_velocity = 0.5 * self._box_velocity + 0.5 * motion / max(dt, 1e-3)
        self.hits, self.detected_ns, self._raw_box = self.hits + 1, stamp_ns, body.box
        if self.config.smoothing == "one_euro":
            body = self._smoothed(body, dt)
        confirmed = self.hits >= self.config.hits_to_confirm
        state = TrackState.TRACKED if confirmed else TrackState.TENTATIVE
        self.body = self._detected = dataclasses.replace(body, id=self.track_id, state=state)
        return self.body

    def mark_lost(self, stamp_ns: int) -> bool:
        """Predict the body of a frame without a detection; False if the track has ended."""
        lost_s = (stamp_ns - self.detected_ns) * 1e-9
        if self.body.state is TrackState.TENTATIVE or lost_s > self.config.lost_for_s:
            return False
        last = self._detected
        shift = (self.predicted_box(stamp_ns) - last.box).astype(np.float32)
        growth = np.array([1, 0, 0, 1, 0, 1], np.float32) * (_MAX_SPEED_M_PER_S * lost_s) ** 2
        remaining = 1 - lost_s / max(self.config.lost_for_s, 1e-9)
        self.body = dataclasses.replace(
            last,
            state=TrackState.LOST,
            score=last.score * max(remaining, 0.0),
            box=last.box + shift,
            keypoints=last.keypoints + np.array([*shift[:2], 0], np.float32),
            covariances_m2=last.covariances_m2 + growth,
            root_covariance_m2=last.root_covariance_m2 + growth,
        )
        return True

    def predicted_box(self, stamp_ns: int) -> Float[np.ndarray, "4"]:
        """The last box, moved with constant velocity for at most _MAX_PREDICTION_S."""
        ahead_s = min((stamp_ns - self.detected_ns) * 1e-9, _MAX_PREDICTION_S)
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


class _OneEuroFilter:
    """The 1 euro filter: a low-pass whose cut-off rises with speed (Casiez et al., CHI 2012).

    It reduces jitter at rest and adds little lag in motion. Rows are points; the speed of a point
    is the norm of its velocity.
    """

    def __init__(self, config: TrackConfig) -> None:
        self._config = config
        self._value: Float[np.ndarray, "n d"] | None = None
        self._velocity: Float[np.ndarray, "n d"] | None = None

    def smooth(
        self, value: Float[np.ndarray, "n d"], dt: float, length: float
    ) -> Float[np.ndarray, "n d"]:
        """The filtered value, ``dt`` seconds after the previous one.

        Speeds are measured in ``length`` per second. A point that is unknown (NaN) stays unknown;
        its next known value is returned unfiltered.
        """
        if self._value is None or self._velocity is None or dt <= 0:
            self._value, self._velocity = value.copy(), np.zeros_like(value)
            return value
        previous = np.where(np.isfinite(self._value), self._value, value)
        gain = _gain(_DERIVATIVE_HZ, dt)
        velocity = self._velocity + gain * ((value - previous) / dt - self._velocity)
        self._velocity = np.where(np.isfinite(velocity), velocity, 0).astype(value.dtype)
        speed = np.linalg.norm(self._velocity, axis=1, keepdims=True) / length
        cutoff = self._config.min_cutoff_hz + self._config.speed_coefficient * speed
        filtered: Float[np.ndarray, "n d"] = np.asarray(
            previous + _gain(cutoff, dt) * (value - previous), value.dtype
        )
        self._value = filtered
        return np.array(filtered)


def _gain(cutoff_hz: Float[np.ndarray, "*n"] | float, dt: float) -> Float[np.ndarray, "*n"]:
    """Weight of the new value in a first-order low-pass filter."""
    return np.asarray(1 / (1 + 1 / (2 * math.pi * cutoff_hz * dt)))
