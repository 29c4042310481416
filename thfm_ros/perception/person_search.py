"""Looking at the image now and then: is anybody there who is not followed yet?

Such a look takes longer than a person's crop, and only newcomers wait for its answer. So beside a
camera it happens in a thread of its own while the crops go on, and nobody's result is late because
of it; what it found comes a frame or two later. Of a recording, and while nobody is known, it
happens in its place.

In the whole image, which is shrunk for the network, small people are lost. So some looks are at
a part of it, larger; all parts are looked at in the first image of a recording, where nothing
waits.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from thfm_ros.config import Config
from thfm_ros.contract import Frame
from thfm_ros.engine.base import Engine
from thfm_ros.geometry import longer_side
from thfm_ros.perception.background_task import BackgroundTask
from thfm_ros.perception.crop_region import Region, cut, parts_of_frame, shows_all_of, whole_frame
from thfm_ros.perception.decoding import DENSE_CELL, Candidate, find_candidates

Stage = Callable[[str], AbstractContextManager[None]]
"""Takes the time of "cut", "network" and "decode"."""

_TURNS = 3
"""One look in so many is at a part: who comes near is more urgent than who is far."""

_SMALL, _LARGE = 0.18, 0.5
"""Of a part's height. Larger people are seen well enough, and whole, in the whole image; most of
what seems to be a smaller one is nobody."""

_CELLS_BESIDE = 1.5
"""Between somebody and an edge inside the image, lest the edge cuts them."""


@dataclass(slots=True)
class _View:
    """The whole image or a part of it, and the engine's memory of it."""

    region: Region
    whole: bool
    state: object | None = None


class PersonDetector:
    """Looks at images of one camera, one at a time, not more often than the schedule says.

    Args:
        engine: sees them.
        config: of the pipeline.
        live: of a camera that does not wait: looks happen in a thread of their own, if ``engine``
            can be used by two at once, and are not more frequent than newcomers need.
    """

    def __init__(self, engine: Engine, config: Config, *, live: bool) -> None:
        self._engine, self._config = engine, config
        self._live = live
        self._beside = live and config.regions.beside and engine.concurrent
        self._period_s = config.regions.frame_pass_period_s if live else 0.0
        self.reset()

    def reset(self) -> None:
        """Forget the stream, and what is still on its way."""
        self._views: list[_View] = []
        self._looks = 0
        self._errand: BackgroundTask[list[Candidate]] | None = None
        self._frames = 0
        self._last_ns: int | None = None

    def hurry(self) -> None:
        """Somebody got lost: a look at the whole image is due at once."""
        self._last_ns = None
        self._looks += self._is_parts_turn(self._looks)

    def search(
        self, frame: Frame, stage: Stage, *, waits: bool, full: bool
    ) -> list[Candidate] | None:
        """What a look at the image found, the whole of it first; None: there is no news.

        Args:
            frame: the newest.
            stage: takes the time of a look that happens here and now.
            waits: nobody is followed, so that there is nothing else to do.
            full: as many are followed as may be.
        """
        self._frames += 1
        if self._errand is not None:
            if self._errand.runs and not waits:
                return None
            errand, self._errand = self._errand, None
            return errand.result()
        if not waits and (full or not self._is_due(frame)):
            return None
        self._frames, self._last_ns = 0, frame.stamp_ns
        views = self._next_views(frame)
        if waits or not self._beside:
            return self._look_at(frame, views, stage)
        self._errand = BackgroundTask(lambda: self._look_at(frame, views, stage), "search")
        return None

    def _is_due(self, frame: Frame) -> bool:
        if self._last_ns is None:
            return True
        since_s = (frame.stamp_ns - self._last_ns) * 1e-9
        enough = self._frames >= self._config.regions.frame_pass_every
        return enough and since_s >= self._period_s

    def _next_views(self, frame: Frame) -> list[_View]:
        if not self._views:
            self._views = self._views_of(frame)
        look, self._looks = self._looks, self._looks + 1
        if look == 0 and not self._live:
            return self._views
        whole, *parts = self._views
        if parts and self._is_parts_turn(look):
            return [parts[look // _TURNS % len(parts)]]
        return [whole]

    @staticmethod
    def _is_parts_turn(look: int) -> bool:
        return look % _TURNS == _TURNS - 1

    def _views_of(self, frame: Frame) -> list[_View]:
        """The whole image, then its parts."""
        height, width = frame.rgb.shape[:2]
        size = self._engine.card.frame_size
        views = [_View(whole_frame(width, height, size), whole=True)]
        if self._config.regions.parts:
            parts = parts_of_frame(width, height, size)
            views += [_View(region, whole=False) for region in parts]
        return views

    def _look_at(self, frame: Frame, views: list[_View], stage: Stage) -> list[Candidate]:
        return [found for view in views for found in self._look(frame, view, stage)]

    def _look(self, frame: Frame, view: _View, stage: Stage) -> list[Candidate]:
        height, width = frame.rgb.shape[:2]
        with stage("cut"):
            image = cut(frame, view.region)
        with stage("network"):
            # Seconds pass between two looks at a part: what it showed then helps nobody.
            raw, state = self._engine.step(image, view.state, dense=True)
            view.state = state if view.whole else None
        with stage("decode"):
            found = find_candidates(
                raw, view.region.map, (width, height), self._config.decode, self._config.regions
            )
        return found if view.whole else [each for each in found if _fits(each, view, frame)]


def _fits(candidate: Candidate, view: _View, frame: Frame) -> bool:
    """Whether somebody small is seen whole: not cut by an edge inside the image."""
    height, width = frame.rgb.shape[:2]
    margin = _CELLS_BESIDE * DENSE_CELL * view.region.map.scale
    beyond = candidate.box + np.array([-margin, -margin, margin, margin])
    inside = np.clip(beyond, 0, [width, height, width, height])
    high = view.region.map.scale * view.region.map.height
    fitting = _SMALL <= longer_side(candidate.box) / high <= _LARGE
    return fitting and shows_all_of(view.region, inside)
