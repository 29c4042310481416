# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Inputs and outputs of a step graph on the host: tables, cached keys and values, output names.

Only numpy is needed. The cached arrays belong to the runtime (numpy on a CPU, tensors on a GPU)
and are passed through; they are never modified, so streams may share and fork them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from thfm_ros.contract import Task
from thfm_ros.engine.base import EngineError, begins_stream
from thfm_ros.model.outputs import BodyOutputs, DenseOutputs, DetectionOutputs, RawOutputs
from thfm_ros.model.prompts import TARGET_MASK_CHANNEL, readout_slices

OUTPUTS = ("heatmaps", "positions", "visibility", "log_width", "presence", "dense")
"""Network outputs of a step graph, in order; keys and values for the cache follow them."""

# As in model.backbone, which would import PyTorch: an engine from the cache does not need it. A
# test compares the values.
TIME_HALF, HALF, TIME_BASE = 4, 16, 100.0

HALVES: tuple[int, ...] = (
    *range(TIME_HALF),
    *range(2 * TIME_HALF, HALF + TIME_HALF),
    *range(TIME_HALF, 2 * TIME_HALF),
    *range(HALF + TIME_HALF, 2 * HALF),
)
"""Order of a head's channels in a step graph. The network has [time first, time second, space
first, space second], where first and second are the rotated pairs; here all first halves come
first."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The state between two steps."""

    frames: int  # since the stream began
    past: tuple[tuple[Any, ...], ...]  # per cached frame, oldest first: k, v of each block

    def advanced(self, present: Sequence[Any]) -> "Stream":
        """The stream with the keys and values of one more frame, and without the oldest ones."""
        return Stream(self.frames + 1, (*self.past[1:], tuple(present)))


class StepTables:
    """The inputs of a step graph that depend only on the number of frames of the stream."""

    def __init__(self, tokens: int, window: int) -> None:
        """``tokens``: per frame. ``window``: cached frames and the present one."""
        past = window - 1
        self._masks = []
        for filled in range(window):
            mask = np.zeros(window * tokens, np.float32)
            mask[: (past - filled) * tokens] = -1e9
            self._masks.append(mask)
        self._frequencies = TIME_BASE ** -(np.arange(TIME_HALF) / TIME_HALF)

    def attention_mask(self, frames: int) -> Float32[np.ndarray, " m"]:
        """0 for tokens of cached frames, a large negative number for empty slots."""
        return self._masks[min(frames, len(self._masks) - 1)]

    def time_rotation(self, frames: int) -> Float32[np.ndarray, "2 1 c"]:
        """Cosines, and signed sines, of this frame's rotary embedding in time; 0 in other channels.

        Computed in double precision: only differences of a few frames matter, even after a year.
        """
        angle = frames * self._frequencies
        table = np.zeros((2, 1, 2 * HALF), np.float32)
        table[0, 0, :TIME_HALF] = table[0, 0, HALF : HALF + TIME_HALF] = np.cos(angle)
        table[1, 0, HALF : HALF + TIME_HALF] = np.sin(angle)
        table[1, 0, :TIME_HALF] = -table[1, 0, HALF : HALF + TIME_HALF]
        return table


def stream_from(state: object | None, empty: Stream) -> Stream:
    """The stream of a state, ``empty`` for one that begins a stream.

    Raises:
        EngineError: the state is of another engine.
    """
    if begins_stream(state):
        return empty
    if not isinstance(state, Stream):
        raise EngineError(
            f"This state comes from another engine ({type(state).__name__}). Begin a new stream "
            "(state=None) when the engine changes."
        )
    if state.past and state.past[-1][0].shape != empty.past[-1][0].shape:
        raise another_size()
    return state


def another_size() -> EngineError:
    """What a step raises for the state of a stream of other crops."""
    return EngineError(
        "This state is of crops of another size. Begin a new stream (state=None, or KNOWN_PERSON) "
        "when the shape of the crops changes."
    )


def cue_of(target_box: Float32[np.ndarray, "4"] | None) -> Float32[np.ndarray, "5"]:
    """The cue that a step graph takes; see `model.target_cue.TargetCue`."""
    if target_box is None:
        return np.zeros(5, np.float32)
    return np.array([*target_box, 1], np.float32)


def detection_outputs(maps: Float32[np.ndarray, "5 h w"]) -> DetectionOutputs:
    """Name the channels of the detection read-out; views, no copies."""
    return DetectionOutputs(maps[0], maps[1:])


def raw_outputs(outputs: Sequence[Float32[np.ndarray, "..."]]) -> RawOutputs:
    """Name the outputs of a step graph; views, no copies."""
    heatmaps, positions, visibility, log_width, presence, *dense = outputs
    body = BodyOutputs(heatmaps, positions, visibility, float(log_width[0]), float(presence[0]))
    return RawOutputs(body, _dense_outputs(dense[0]) if dense else None)


def _dense_outputs(maps: Float32[np.ndarray, "c h w"]) -> DenseOutputs:
    """Split the channels of the dense read-out by task."""
    channels = {task: maps[part] for task, part in readout_slices().items()}
    return DenseOutputs(
        mask=channels[Task.SEGMENTATION][0],
        parts=channels[Task.PARTS],
        relative_depth_m=channels[Task.DEPTH][0],
        normals=channels[Task.NORMALS],
        dense_pose_uv=channels[Task.DENSE_POSE],
        votes=channels[Task.INSTANCES],
        target=maps[TARGET_MASK_CHANNEL],
    )
