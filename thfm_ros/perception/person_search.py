# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Detection passes: finding people in the whole image that have no track yet.

A detection pass takes longer than a person's crop, and only new detections depend on it. So for a
live camera it runs in a second thread while the crops go on, and its result arrives a frame or two
later. For a recording, and while there is no track, it runs synchronously.

Small people are lost when the whole image is downscaled for the network. So some passes cover one
tile of it at a higher resolution. The first pass over a recording covers the whole image and all
tiles, smaller ones, since nothing waits for it: a photograph has no other pass. Later four large
tiles take turns, since nine would each be visited too rarely.
"""

from dataclasses import dataclass

import numpy as np

from thfm_ros.config import Config
from thfm_ros.contract import Frame, PixelMap
from thfm_ros.engine.base import Engine
from thfm_ros.engine.finite_outputs import require_finite
from thfm_ros.geometry import longer_side
from thfm_ros.perception.background_task import BackgroundTask
from thfm_ros.perception.crop_region import (
    SMALL_TILES,
    contains_box,
    crop_image,
    frame_tiles,
    whole_frame,
)
from thfm_ros.perception.decoding import Proposal
from thfm_ros.perception.detection_decoding import DETECTION_CELL_PX, find_proposals
from thfm_ros.perception.stage_timer import StageTimer

_CAPACITY_PERIOD_S = 2.0
"""Minimum time between two passes while no further track may begin. They only count the people who
are left out, and all crops run meanwhile."""

_TILE_PERIOD = 3
"""One pass in this many covers a tile: people who approach are more urgent than distant ones."""

_MIN_HEIGHT, _MAX_HEIGHT = 0.18, 0.5
"""Longer side of a proposal in a tile, of the tile's height. Larger people are detected well, and
whole, in the whole image; most smaller proposals are false positives."""

_TILE_SCORE = 0.25
"""Score of a proposal in a small tile; with less, most are false positives."""

_EDGE_MARGIN_CELLS = 0.4
"""Between a proposal and an edge of its tile inside the image, so that the edge does not cut it."""


@dataclass(frozen=True, slots=True)
class _SearchRegion:
    """The whole image or a tile of it."""

    region: PixelMap
    is_whole: bool
    min_score: float = 0.0


class PersonDetector:
    """Schedules and runs detection passes over the images of one camera.

    Args:
        engine: runs the network.
        config: of the pipeline.
        live: a live camera does not wait: passes run in a second thread if the configuration and
            ``engine`` allow it, and their rate is limited in time.
    """

    def __init__(self, engine: Engine, config: Config, *, live: bool) -> None:
        self._engine, self._config = engine, config
        self._live = live
        self._run_async = live and config.regions.run_async and engine.concurrent
        self._period_s = config.regions.frame_pass_period_s if live else 0.0
        self.reset()

    def reset(self) -> None:
        """Begin a new stream, and drop the result of a pass that is still running."""
        self._regions: list[_SearchRegion] = []  # the whole image, then the tiles
        self._passes = 0
        self._task: BackgroundTask[list[Proposal]] | None = None
        self._frames = 0  # since the last pass began
        self._last_ns: int | None = None  # stamp of the frame of the last pass

    def request_detection(self) -> None:
        """Make a pass over the whole image due with the next frame: a track was lost."""
        self._last_ns = None
        if self._is_tile_pass(self._passes):
            self._passes += 1

    def detect(
        self, frame: Frame, timer: StageTimer, *, no_tracks: bool, at_capacity: bool
    ) -> list[Proposal] | None:
        """Run a pass if one is due, and return the proposals of a pass that is finished.

        Args:
            frame: the newest.
            timer: of the stages "crop", "network" and "decode".
            no_tracks: there is no track, hence nothing else to do: run synchronously.
            at_capacity: no further track may begin: passes are rare, and cover the whole image.

        Returns:
            Proposals, those of the whole image before those of tiles; None: no pass is finished.
        """
        self._frames += 1
        if self._task is not None:
            if self._task.running and not no_tracks:
                return None
            task, self._task = self._task, None
            return task.result()
        period_s = max(self._period_s, _CAPACITY_PERIOD_S) if at_capacity else self._period_s
        if not no_tracks and not self._is_due(frame, period_s):
            return None
        self._frames, self._last_ns = 0, frame.stamp_ns
        regions = self._next_regions(frame, at_capacity=at_capacity)
        if no_tracks or not self._run_async:
            return self._proposals(frame, regions, timer)
        self._task = BackgroundTask(lambda: self._proposals(frame, regions, timer), "search")
        return None

    def _is_due(self, frame: Frame, period_s: float) -> bool:
        if self._last_ns is None:
            return True
        elapsed_s = (frame.stamp_ns - self._last_ns) * 1e-9
        enough_frames = self._frames >= self._config.regions.frame_pass_every
        return enough_frames and elapsed_s >= period_s

    def _next_regions(self, frame: Frame, *, at_capacity: bool) -> list[_SearchRegion]:
        if not self._regions:
            self._regions = self._regions_of(frame)
        if at_capacity:  # without the state: seconds pass between two of these passes
            return [_SearchRegion(self._regions[0].region, is_whole=True)]
        number, self._passes = self._passes, self._passes + 1
        if number == 0 and not self._live:
            return [self._regions[0], *self._small_tiles(frame)]
        whole, *tiles = self._regions
        if tiles and self._is_tile_pass(number):
            return [tiles[number // _TILE_PERIOD % len(tiles)]]
        return [whole]

    @staticmethod
    def _is_tile_pass(number: int) -> bool:
        return number % _TILE_PERIOD == _TILE_PERIOD - 1

    def _regions_of(self, frame: Frame) -> list[_SearchRegion]:
        """The whole image, then its tiles."""
        height, width = frame.rgb.shape[:2]
        size = self._engine.card.frame_size
        regions = [_SearchRegion(whole_frame(width, height, size), is_whole=True)]
        if self._config.regions.tiles:
            tiles = frame_tiles(width, height, size)
            regions += [_SearchRegion(tile, is_whole=False) for tile in tiles]
        return regions

    def _small_tiles(self, frame: Frame) -> list[_SearchRegion]:
        if not self._config.regions.tiles:
            return []
        height, width = frame.rgb.shape[:2]
        tiles = frame_tiles(width, height, self._engine.card.frame_size, SMALL_TILES)
        return [_SearchRegion(tile, is_whole=False, min_score=_TILE_SCORE) for tile in tiles]

    def _proposals(
        self, frame: Frame, regions: list[_SearchRegion], timer: StageTimer
    ) -> list[Proposal]:
        return [each for region in regions for each in self._proposals_in(frame, region, timer)]

    def _proposals_in(
        self, frame: Frame, search: _SearchRegion, timer: StageTimer
    ) -> list[Proposal]:
        height, width = frame.rgb.shape[:2]
        with timer("crop"):
            image = crop_image(frame, search.region)
        with timer("network"):
            outputs = self._engine.detect(image)
            require_finite(outputs)
        with timer("decode"):
            proposals = find_proposals(
                outputs, search.region, (width, height), self._config.decode.candidate_threshold
            )
        if search.is_whole:
            return proposals
        certain = [each for each in proposals if each.score >= search.min_score]
        return [each for each in certain if _is_valid_in_tile(each, search.region, frame)]


def _is_valid_in_tile(proposal: Proposal, tile: PixelMap, frame: Frame) -> bool:
    """Whether a proposal is small, and not cut by an edge of the tile inside the image."""
    height, width = frame.rgb.shape[:2]
    margin = _EDGE_MARGIN_CELLS * DETECTION_CELL_PX * tile.scale
    with_margin = proposal.box + np.array([-margin, -margin, margin, margin])
    inside = np.clip(with_margin, 0, [width, height, width, height])
    tile_height = tile.scale * tile.height
    has_size = _MIN_HEIGHT <= longer_side(proposal.box) / tile_height <= _MAX_HEIGHT
    return has_size and contains_box(tile, inside)
