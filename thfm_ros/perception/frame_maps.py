# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The maps of the frames of one stream, with the people who are not measured in each of them."""

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from thfm_ros.config import Config
from thfm_ros.contract import Body, Frame, Task, TrackState
from thfm_ros.perception.array_pool import ArrayPool
from thfm_ros.perception.dense_maps import Canvas
from thfm_ros.perception.person_maps import PersonMaps
from thfm_ros.perception.tracking import TrackOutput


class _Measured(NamedTuple):
    """What the last measurement of a person painted."""

    box: Float32[np.ndarray, "4"]  # of the body then, source pixels
    maps: PersonMaps


class FrameMaps:
    """Paints the maps of one frame after the other. `paint` and `reset` may be called in different
    threads.

    A person who is not measured in a frame, because of a time budget, has the pixels of their last
    measurement, moved with their bounding box: without them the person would be missing.

    Args:
        config: of the pipeline.
        live: whether there can be a time budget, and maps smaller than the image.
    """

    def __init__(self, config: Config, *, live: bool) -> None:
        self._threshold = config.decode.mask_threshold
        self._scale = config.node.output_scale if live else 1.0
        self._keep = live and config.regions.budget_ms != 0
        self._arrays = ArrayPool()
        self._measured: dict[str, _Measured] = {}  # by track id
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Begin a new stream."""
        with self._lock:
            self._arrays.clear()
            self._measured.clear()

    def paint(
        self, frame: Frame, tracks: Sequence[TrackOutput], tasks: frozenset[Task]
    ) -> dict[str, Any]:
        """The requested maps of ``frame``, by their names in contract.Perception.

        Args:
            frame: the image that they belong to.
            tracks: in the order of Perception.bodies.
            tasks: what is requested; tasks without a map are ignored.
        """
        with self._lock:
            return self._painted(frame, tracks, tasks)

    def _painted(
        self, frame: Frame, tracks: Sequence[TrackOutput], tasks: frozenset[Task]
    ) -> dict[str, Any]:
        height, width = frame.rgb.shape[:2]
        canvas = Canvas(
            width,
            height,
            tasks,
            metric=frame.intrinsics is not None,
            threshold=self._threshold,
            arrays=self._arrays,
            scale=self._scale,
            keep=self._keep,
        )
        detected = [(i, track.detection) for i, track in enumerate(tracks) if track.detection]
        unmeasured = [
            (index, self._moved_to(track.body))
            for index, track in enumerate(tracks)
            if track.detection is None and track.body.state is not TrackState.LOST
            if track.body.id in self._measured
        ]
        maps = canvas.paint(detected, unmeasured)
        now = {
            tracks[index].body.id: _Measured(tracks[index].body.box, painted)
            for index, painted in canvas.kept.items()
        }
        before = {tracks[index].body.id for index, _ in unmeasured}
        kept = {key: each for key, each in self._measured.items() if key in before}
        self._measured = {**kept, **now}
        return maps

    def _moved_to(self, body: Body) -> PersonMaps:
        """The maps of the person's last measurement, where the person is now."""
        box, maps = self._measured[body.id]
        shift = (body.box[:2] + body.box[2:] - box[:2] - box[2:]) / 2 * self._scale
        x, y = np.rint(shift)
        return maps.moved(int(x), int(y))
