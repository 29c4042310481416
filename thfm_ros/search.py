"""Looking at the whole picture now and then: is anybody there who is not followed yet?

Such a look takes longer than a person's crop, and only newcomers wait for its answer. So beside a
camera it happens in a thread of its own while the crops go on, and nobody's result is late because
of it; what it found comes a frame or two later. Of a recording, and while nobody is known, it
happens in its place.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from thfm_ros.config import Config
from thfm_ros.contract import Frame
from thfm_ros.decode import Candidate, find_candidates
from thfm_ros.engine.base import Engine
from thfm_ros.errand import Errand
from thfm_ros.region import Region, cut, whole_frame

Stage = Callable[[str], AbstractContextManager[None]]
"""Takes the time of "cut", "network" and "decode"."""


@dataclass(slots=True)
class _Stream:
    """The whole picture, and the engine's memory of it."""

    region: Region
    state: object | None = None


class Searcher:
    """Looks at whole pictures of one camera, one at a time, not more often than the schedule says.

    Args:
        engine: sees them.
        config: of the pipeline.
        live: of a camera that does not wait: looks happen in a thread of their own, if ``engine``
            can be used by two at once, and are not more frequent than newcomers need.
    """

    def __init__(self, engine: Engine, config: Config, *, live: bool) -> None:
        self._engine, self._config = engine, config
        self._beside = live and config.regions.beside and engine.concurrent
        self._period_s = config.regions.frame_pass_period_s if live else 0.0
        self.reset()

    def reset(self) -> None:
        """Forget the stream, and what is still on its way."""
        self._stream: _Stream | None = None
        self._errand: Errand[list[Candidate]] | None = None
        self._frames = 0
        self._last_ns: int | None = None

    def hurry(self) -> None:
        """Somebody got lost: the next look is due at once."""
        self._last_ns = None

    def search(
        self, frame: Frame, stage: Stage, *, waits: bool, full: bool
    ) -> list[Candidate] | None:
        """What a look at the whole picture found, largest first; None: there is no news.

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
        stream = self._stream_of(frame)
        if waits or not self._beside:
            return self._look(frame, stream, stage)
        self._errand = Errand(lambda: self._look(frame, stream, stage), "search")
        return None

    def _is_due(self, frame: Frame) -> bool:
        if self._last_ns is None:
            return True
        since_s = (frame.stamp_ns - self._last_ns) * 1e-9
        enough = self._frames >= self._config.regions.frame_pass_every
        return enough and since_s >= self._period_s

    def _stream_of(self, frame: Frame) -> _Stream:
        if self._stream is None:
            height, width = frame.rgb.shape[:2]
            self._stream = _Stream(whole_frame(width, height, self._engine.card.frame_size))
        return self._stream

    def _look(self, frame: Frame, stream: _Stream, stage: Stage) -> list[Candidate]:
        height, width = frame.rgb.shape[:2]
        with stage("cut"):
            picture = cut(frame, stream.region)
        with stage("network"):
            raw, stream.state = self._engine.step(picture, stream.state, dense=True)
        with stage("decode"):
            return find_candidates(
                raw, stream.region.map, (width, height), self._config.decode, self._config.regions
            )
