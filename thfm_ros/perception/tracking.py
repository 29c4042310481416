"""Who is who from frame to frame: ids, states, and light smoothing.

A person whose own crop shows them again needs no matching. Matching is for newcomers: somebody
who was lost a moment ago comes back under the same id.
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
from thfm_ros.geometry import apart, covered, iou, longer_side, to_network, to_source
from thfm_ros.perception.decoding import DENSE_CELL, Detection

_BODY_LENGTH_M = 1.7  # speeds in space are counted in body lengths, as those in the image are
_WANDER_M_PER_S = 1.0  # how fast somebody who is not seen may have moved
_SAME_BOX = 0.6  # two crops whose boxes overlap so much look at the same person,
_SAME_PIXELS = 0.5  # or, where there are maps, whose pixels are so much the same
_DERIVATIVE_HZ = 1.0


class Tracked(NamedTuple):
    """One person of this frame; ``sighting`` is None for somebody who is only remembered."""

    body: Body
    detection: Detection | None


class Tracker:
    """Keeps the people of one stream."""

    def __init__(self, config: TrackConfig) -> None:
        self._config = config
        self._random = random.Random(None if config.seed < 0 else config.seed)
        self._used: set[str] = set()
        self._tracks: dict[str, _Track] = {}

    @property
    def present(self) -> dict[str, Body]:
        """The people who were seen in the newest frame, by id, longest known first."""
        seen = ((name, track.body) for name, track in self._tracks.items())
        return {name: body for name, body in seen if body.state is not TrackState.LOST}

    def expected(self, name: str, stamp_ns: int) -> Float[np.ndarray, "4"]:
        """Where somebody's box should be in a frame of this stamp."""
        return self._tracks[name].predicted_box(stamp_ns)

    def reset(self) -> None:
        """Forget everybody; ids that were given stay given."""
        self._tracks.clear()

    def anew(self, config: TrackConfig) -> "Tracker":
        """A tracker that knows nobody, and never gives an id that this one has given."""
        tracker = Tracker(config)
        tracker._used = self._used
        return tracker

    def update(
        self, stamp_ns: int, seen: Mapping[str, Detection], new_detections: Sequence[Detection]
    ) -> list[Tracked]:
        """Take in one frame.

        Args:
            stamp_ns: of the frame.
            seen: what their own crops showed of people who were present, by id.
            newcomers: people found elsewhere, surest first.

        Returns:
            Everybody: first those who are seen, then those who are remembered.
        """
        found: dict[str, Detection] = {}
        for name, track in self._tracks.items():
            if name in seen and not _known(seen[name], found):
                found[name] = seen[name]
                track.see(seen[name], stamp_ns)
        for new_detection in new_detections:
            if _known(new_detection, found):
                continue
            name = self._returned(new_detection, stamp_ns, found) or self._new_track()
            found[name] = new_detection
            self._tracks[name].see(new_detection, stamp_ns)
        for name in self._tracks.keys() - found.keys():
            if not self._tracks[name].miss(stamp_ns):
                del self._tracks[name]
        tracked = [Tracked(track.body, found.get(name)) for name, track in self._tracks.items()]
        return sorted(tracked, key=lambda each: each.detection is None)

    def _returned(
        self, new_detection: Detection, stamp_ns: int, found: Mapping[str, Detection]
    ) -> str | None:
        """Who of the lost this is: the one whose predicted box fits best, if any does."""
        fits = {}
        for name, track in self._tracks.items():
            if name in found or track.body.state is not TrackState.LOST:
                continue
            box = track.predicted_box(stamp_ns)
            overlap, distance = iou(box, new_detection.body.box), apart(box, new_detection.body.box)
            if overlap >= self._config.min_iou or distance <= self._config.max_centre_distance:
                fits[name] = overlap - distance
        return max(fits, key=lambda name: fits[name], default=None)

    def _new_track(self) -> str:
        while True:
            name = "".join(self._random.choices(string.ascii_lowercase, k=5))
            if name not in self._used:
                break
        self._used.add(name)
        self._tracks[name] = _Track(name, self._config)
        return name


def _known(detection: Detection, found: Mapping[str, Detection]) -> bool:
    """Whether somebody already found is the same person, seen through another crop."""
    return any(same_person(detection, other) for other in found.values())


def same_person(a: Detection, b: Detection) -> bool:
    """Whether two crops show one person: a pixel belongs to one person only.

    Without maps, whether their boxes are about the same.
    """
    if a.target is None or b.target is None:
        return iou(a.body.box, b.body.box) > _SAME_BOX
    if covered(a.body.box, b.body.box) == 0:
        return False
    if a.target.sum() * a.map.scale**2 > b.target.sum() * b.map.scale**2:
        return _share_within(b.target, b.map, a.target, a.map) > _SAME_PIXELS
    return _share_within(a.target, a.map, b.target, b.map) > _SAME_PIXELS


def _share_within(
    small: Bool[np.ndarray, "h w"],
    small_map: PixelMap,
    large: Bool[np.ndarray, "h2 w2"],
    large_map: PixelMap,
) -> float:
    """How much of what is true in one crop is true in another one at the same place."""
    rows, columns = np.nonzero(small)
    centres = (np.stack([columns, rows], 1) + 0.5) * DENSE_CELL
    elsewhere = to_network(to_source(centres, small_map), large_map) / DENSE_CELL
    x, y = np.floor(elsewhere).astype(int).T
    height, width = large.shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return float(large[y[inside], x[inside]].sum() / max(len(rows), 1))


@dataclass
class _Track:
    """The memory of one person."""

    name: str
    config: TrackConfig
    hits: int = 0
    seen_ns: int = 0

    def __post_init__(self) -> None:
        self.body: Body  # as it is reported
        self._seen: Body  # as it was last seen
        self._raw_box = np.zeros(4)
        self._box_speed = np.zeros(2)  # pixels per second of the centre
        self._filters = [_OneEuro(self.config) for _ in range(3)]

    def see(self, detection: Detection, stamp_ns: int) -> None:
        body, dt = detection.body, (stamp_ns - self.seen_ns) * 1e-9
        if self.hits:
            moved = (body.box[:2] + body.box[2:] - self._raw_box[:2] - self._raw_box[2:]) / 2
            self._box_speed = 0.5 * self._box_speed + 0.5 * moved / max(dt, 1e-3)
        self.hits, self.seen_ns, self._raw_box = self.hits + 1, stamp_ns, body.box
        if self.config.smoothing == "one_euro":
            body = self._smoothed(body, dt)
        known = self.hits >= self.config.hits_to_confirm
        state = TrackState.TRACKED if known else TrackState.TENTATIVE
        self.body = self._seen = dataclasses.replace(body, id=self.name, state=state)

    def miss(self, stamp_ns: int) -> bool:
        """Carry on without seeing; False when this person is to be forgotten."""
        unseen_s = (stamp_ns - self.seen_ns) * 1e-9
        if self.body.state is TrackState.TENTATIVE or unseen_s > self.config.lost_for_s:
            return False
        last = self._seen
        shift = (self.predicted_box(stamp_ns) - last.box).astype(np.float32)
        blur = np.array([1, 0, 0, 1, 0, 1], np.float32) * (_WANDER_M_PER_S * unseen_s) ** 2
        fresh = 1 - unseen_s / max(self.config.lost_for_s, 1e-9)
        self.body = dataclasses.replace(
            last,
            state=TrackState.LOST,
            score=last.score * max(fresh, 0.0),
            box=last.box + shift,
            keypoints=last.keypoints + np.array([*shift[:2], 0], np.float32),
            covariances_m2=last.covariances_m2 + blur,
            root_covariance_m2=last.root_covariance_m2 + blur,
        )
        return True

    def predicted_box(self, stamp_ns: int) -> Float[np.ndarray, "4"]:
        """Where the box is if its centre kept its speed, for half a second at most."""
        ahead_s = min((stamp_ns - self.seen_ns) * 1e-9, 0.5)
        return np.asarray(self._raw_box + np.tile(self._box_speed * ahead_s, 2))

    def _smoothed(self, body: Body, dt: float) -> Body:
        longer = max(longer_side(body.box), 1.0)
        pixels, space, root = self._filters
        keypoints = body.keypoints.copy()
        keypoints[:, :2] = pixels.smooth(keypoints[:, :2], dt, longer)
        return dataclasses.replace(
            body,
            keypoints=keypoints,
            positions_m=space.smooth(body.positions_m, dt, _BODY_LENGTH_M),
            root_m=root.smooth(body.root_m[None], dt, _BODY_LENGTH_M)[0],
        )


class _OneEuro:
    """A low-pass whose cut-off rises with speed: still joints stay still, quick ones are not late.

    Casiez et al., CHI 2012; rows are points, and the speed of a point is a length.
    """

    def __init__(self, config: TrackConfig) -> None:
        self._config = config
        self._value: Float[np.ndarray, "n d"] | None = None
        self._speed: Float[np.ndarray, "n d"] | None = None

    def smooth(
        self, value: Float[np.ndarray, "n d"], dt: float, length: float
    ) -> Float[np.ndarray, "n d"]:
        """Next value, ``dt`` seconds after the one before; speeds count in ``length`` per s.

        A point that was unknown starts afresh, one that is unknown stays so.
        """
        if self._value is None or self._speed is None or dt <= 0:
            self._value, self._speed = value.copy(), np.zeros_like(value)
            return value
        before = np.where(np.isfinite(self._value), self._value, value)
        keep = _share(_DERIVATIVE_HZ, dt)
        speed = self._speed + keep * ((value - before) / dt - self._speed)
        self._speed = np.where(np.isfinite(speed), speed, 0).astype(value.dtype)
        pace = np.linalg.norm(self._speed, axis=1, keepdims=True) / length
        cutoff = self._config.min_cutoff_hz + self._config.speed_coefficient * pace
        smooth: Float[np.ndarray, "n d"] = np.asarray(
            before + _share(cutoff, dt) * (value - before), value.dtype
        )
        self._value = smooth
        return np.array(smooth)


def _share(cutoff_hz: Float[np.ndarray, "*n"] | float, dt: float) -> Float[np.ndarray, "*n"]:
    """How much of a new value a first-order low-pass takes."""
    return np.asarray(1 / (1 + 1 / (2 * math.pi * cutoff_hz * dt)))
