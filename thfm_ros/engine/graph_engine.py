"""An engine made of compiled step graphs, whoever compiled them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, UInt8

from thfm_ros.engine.base import check_image
from thfm_ros.engine.stream import HALF, Stream, Tables, raw_outputs, stream_of
from thfm_ros.model.card import ModelCard
from thfm_ros.model.outputs import RawOutputs

Profile = tuple[tuple[int, int], bool]
"""(width, height) of the image, and whether the maps are asked for."""


class Graph(Protocol):
    """One compiled step graph; see step_graph.StepGraph for its inputs and outputs."""

    def __call__(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        time: Float32[np.ndarray, "2 1 c"],
        allowed: Float32[np.ndarray, " m"],
        memory: Sequence[Any],
    ) -> tuple[list[Float32[np.ndarray, "..."]], list[Any]]:
        """Return the answers, and what is to be remembered: arrays that nobody will overwrite."""

    def zeros(self, shape: tuple[int, ...]) -> Any:
        """An array of zeros where this graph keeps its memory."""


class GraphEngine:
    """Runs the graph that fits the image's size and what is asked for."""

    def __init__(
        self,
        card: ModelCard,
        description: str,
        graphs: Mapping[tuple[tuple[int, int], bool], Graph],
        *,
        concurrent: bool = False,
    ) -> None:
        """``graphs`` by ((width, height), dense). Each runs once here, as its first run is slow."""
        self.card = card
        self.concurrent = concurrent
        self.description = description
        self._graphs = dict(graphs)
        self._tables: dict[tuple[int, int], Tables] = {}
        self._empty: dict[tuple[int, int], Stream] = {}
        for size, dense in self._graphs:
            tokens = tokens_of(size, card)
            self._tables[size] = Tables(tokens, card.window)
            self._empty[size] = _empty_stream(size, card, self._graphs[size, dense])
            self.step(np.zeros((size[1], size[0], 3), np.uint8), None, dense=dense)

    def step(
        self, image: UInt8[np.ndarray, "h w 3"], state: object | None, *, dense: bool
    ) -> tuple[RawOutputs, object]:
        """See base.Engine."""
        size = check_image(image, self.card)
        stream = stream_of(state, size, self._empty[size])
        tables = self._tables[size]
        answers, remembered = self._graphs[size, dense](
            np.ascontiguousarray(image),
            tables.time(stream.seen),
            tables.allowed(stream.seen),
            [array for frame in stream.memory for array in frame],
        )
        return raw_outputs(answers), stream.after(remembered)


def tokens_of(size: tuple[int, int], card: ModelCard) -> int:
    """Tokens per frame: patches of 16 x 16 pixels, the joints, and one for the whole image."""
    return (size[0] // 16) * (size[1] // 16) + len(card.joint_names) + 1


def _empty_stream(size: tuple[int, int], card: ModelCard, graph: Graph) -> Stream:
    nothing = graph.zeros((card.network["width"] // (2 * HALF), tokens_of(size, card), 2 * HALF))
    frame = (nothing,) * (2 * card.network["depth"])
    return Stream(size, 0, (frame,) * (card.window - 1))
