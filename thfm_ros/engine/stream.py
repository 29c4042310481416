"""What goes in and out of a step graph, on the host's side: tables, memory, answers. Numpy only.

The memory's arrays belong to whoever runs the graph (numpy on a CPU, tensors on a GPU) and are
only handed through here; they are never written into, so streams may share and fork them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from thfm_ros.engine.base import EngineError
from thfm_ros.model.outputs import BodyOutputs, DenseOutputs, RawOutputs

OUTPUTS = ("heatmaps", "positions", "visibility", "log_width", "presence", "dense")
"""Answers of a step graph, in order; what it wants to be remembered comes after them."""

# As in model.backbone, which cannot be imported here: it brings PyTorch, and a robot that finds
# its graphs in the cache does without. A test compares.
TIME_HALF, HALF, TIME_BASE = 4, 16, 100.0

HALVES: tuple[int, ...] = (
    *range(TIME_HALF),
    *range(2 * TIME_HALF, HALF + TIME_HALF),
    *range(TIME_HALF, 2 * TIME_HALF),
    *range(HALF + TIME_HALF, 2 * HALF),
)
"""Order of a head's channels in a step graph. The network has [time first, time second, space
first, space second], halves that turn against each other; here all first halves come first."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The state between two steps."""

    size: tuple[int, int]  # width, height of its images
    seen: int  # frames since the stream began
    memory: tuple[tuple[Any, ...], ...]  # per remembered frame, oldest first: k, v of each block

    def after(self, remembered: Sequence[Any]) -> "Stream":
        """The stream with one more frame in its memory, and the oldest one out."""
        return Stream(self.size, self.seen + 1, (*self.memory[1:], tuple(remembered)))


class Tables:
    """The inputs of a step graph that depend only on how many frames a stream has seen."""

    def __init__(self, tokens: int, window: int) -> None:
        """``tokens``: per frame."""
        past = window - 1
        self._allowed = []
        for filled in range(window):
            mask = np.zeros(window * tokens, np.float32)
            mask[: (past - filled) * tokens] = -1e9
            self._allowed.append(mask)
        self._frequencies = TIME_BASE ** -(np.arange(TIME_HALF) / TIME_HALF)

    def allowed(self, seen: int) -> Float32[np.ndarray, " m"]:
        """0 for tokens of frames that are remembered, a large negative number for empty slots."""
        return self._allowed[min(seen, len(self._allowed) - 1)]

    def time(self, seen: int) -> Float32[np.ndarray, "2 1 c"]:
        """Cosines, and signed sines, of this frame's turn in time; zero for other channels.

        In double precision: only differences of a few frames matter, also after a year.
        """
        angle = seen * self._frequencies
        table = np.zeros((2, 1, 2 * HALF), np.float32)
        table[0, 0, :TIME_HALF] = table[0, 0, HALF : HALF + TIME_HALF] = np.cos(angle)
        table[1, 0, HALF : HALF + TIME_HALF] = np.sin(angle)
        table[1, 0, :TIME_HALF] = -table[1, 0, HALF : HALF + TIME_HALF]
        return table


def stream_of(state: object | None, size: tuple[int, int], empty: Stream) -> Stream:
    """The stream to go on with: ``empty`` for None; EngineError for what does not fit."""
    if state is None:
        return empty
    if not isinstance(state, Stream):
        raise EngineError(
            f"This state comes from another engine ({type(state).__name__}). Begin a new stream "
            "(state=None) when the engine changes."
        )
    if state.size != size:
        raise EngineError(
            f"This stream has images of {state.size}, this one has {size} (width, height). "
            "Begin a new stream (state=None) when the size changes."
        )
    return state


def raw_outputs(answers: Sequence[Float32[np.ndarray, "..."]]) -> RawOutputs:
    """Name what a step graph answered; views, no copies."""
    heatmaps, positions, visibility, log_width, presence, *rest = answers
    body = BodyOutputs(heatmaps, positions, visibility, float(log_width[0]), float(presence[0]))
    if not rest:
        return RawOutputs(body, None)
    maps = rest[0]
    dense = DenseOutputs(
        mask=maps[0],
        parts=maps[1:18],
        relief=maps[18],
        normals=maps[19:22],
        surface=maps[22:25],
        votes=maps[25:27],
    )
    return RawOutputs(body, dense)
