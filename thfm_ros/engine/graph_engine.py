# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The engine made of compiled step graphs, independent of their compiler."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, UInt8

from thfm_ros.engine.base import check_image
from thfm_ros.engine.stream import HALF, StepTables, Stream, raw_outputs, stream_from
from thfm_ros.model.card import ModelCard
from thfm_ros.model.outputs import RawOutputs

GraphKey = tuple[tuple[int, int], bool]
"""(width, height) of the image, and whether the graph has dense outputs."""


class Graph(Protocol):
    """One compiled step graph; see step_graph.StepGraph for its inputs and outputs."""

    def __call__(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        time_rotation: Float32[np.ndarray, "2 1 c"],
        attention_mask: Float32[np.ndarray, " m"],
        past: Sequence[Any],
    ) -> tuple[list[Float32[np.ndarray, "..."]], list[Any]]:
        """Return the network outputs, and this frame's keys and values.

        ``past`` are the keys and values of earlier frames. The returned arrays are never
        overwritten by later calls.
        """

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """An array of zeros on the device of the graph's keys and values."""


class GraphEngine:
    """Runs the graph for the size of the image and the requested outputs."""

    def __init__(
        self,
        card: ModelCard,
        description: str,
        graphs: Mapping[GraphKey, Graph],
        *,
        concurrent: bool = False,
    ) -> None:
        """Each graph runs once here, since its first run is slow."""
        self.card = card
        self.description = description
        self.fallback_reason: str | None = None
        self.concurrent = concurrent
        self._graphs = dict(graphs)
        self._tables: dict[tuple[int, int], StepTables] = {}
        self._empty: dict[tuple[int, int], Stream] = {}
        for size, dense in self._graphs:
            tokens = token_count(size, card)
            self._tables[size] = StepTables(tokens, card.window)
            self._empty[size] = _empty_stream(size, card, self._graphs[size, dense])
            self.step(np.zeros((size[1], size[0], 3), np.uint8), None, dense=dense)

    def step(
        self, image: UInt8[np.ndarray, "h w 3"], state: object | None, *, dense: bool
    ) -> tuple[RawOutputs, object]:
        """See base.Engine."""
        size = check_image(image, self.card)
        stream = stream_from(state, size, self._empty[size])
        tables = self._tables[size]
        outputs, present = self._graphs[size, dense](
            np.ascontiguousarray(image),
            tables.time_rotation(stream.frames),
            tables.attention_mask(stream.frames),
            [array for frame in stream.past for array in frame],
        )
        return raw_outputs(outputs), stream.advanced(present)


def token_count(size: tuple[int, int], card: ModelCard) -> int:
    """Tokens per frame: patches of 16 x 16 pixels, the joints, and one for the whole image."""
    return (size[0] // 16) * (size[1] // 16) + len(card.joint_names) + 1


def _empty_stream(size: tuple[int, int], card: ModelCard, graph: Graph) -> Stream:
    zeros = graph.zeros((card.network["width"] // (2 * HALF), token_count(size, card), 2 * HALF))
    frame = (zeros,) * (2 * card.network["depth"])
    return Stream(size, 0, (frame,) * (card.window - 1))
