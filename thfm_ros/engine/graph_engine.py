# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The engine made of compiled step graphs, independent of their compiler."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32, UInt8

from thfm_ros.engine.base import check_image
from thfm_ros.engine.stream import (
    HALF,
    StepTables,
    Stream,
    cue_of,
    detection_outputs,
    raw_outputs,
    stream_from,
)
from thfm_ros.model.card import ModelCard
from thfm_ros.model.outputs import DetectionOutputs, RawOutputs

STEP_PARTS = ("dense", "body")
PARTS = (*STEP_PARTS, "detect")
"""The graphs of an engine: crops with and without dense outputs, and whole images."""


def shaped_cards(card: ModelCard) -> list[ModelCard]:
    """The card once for each of its crop sizes, which has only that one; the square one first."""
    return [dataclasses.replace(card, crop_size=size) for size in card.crop_sizes]


def all_graphs(card: ModelCard) -> list[tuple[ModelCard, str]]:
    """Every graph of an engine: the card with the size of its crops, and which of PARTS it is."""
    steps = [(shaped, part) for shaped in shaped_cards(card) for part in STEP_PARTS]
    return [*steps, (card, "detect")]


def image_size(card: ModelCard, part: str) -> tuple[int, int]:
    """Width and height of the images of a graph, which is one of PARTS."""
    return card.frame_size if part == "detect" else card.crop_size


def profile(card: ModelCard, part: str) -> str:
    """Name of a graph in the cache: the size of its image, and which of PARTS it is."""
    width, height = image_size(card, part)
    return f"{width}x{height}-{part}"


class Graph(Protocol):
    """One compiled step graph; see step_graph.StepGraph for its inputs and outputs."""

    def __call__(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        cue: Float32[np.ndarray, "5"],
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


DetectionRunner = Callable[[UInt8[np.ndarray, "h w 3"]], Float32[np.ndarray, "5 h8 w8"]]
"""The compiled detection graph; see step_graph.DetectionGraph."""


class GraphEngine:
    """Runs compiled graphs: one for crops with dense outputs, one without, one for detection."""

    def __init__(
        self,
        card: ModelCard,
        description: str,
        graphs: Mapping[bool, Graph],
        detection: DetectionRunner | None,
        *,
        first_graphs: Mapping[bool, Graph] | None = None,
        concurrent: bool = False,
    ) -> None:
        """Each graph runs once here, since its first run is slow.

        Args:
            card: of the checkpoint.
            description: for diagnostics.
            graphs: by whether they have dense outputs.
            detection: None: the engine has no `detect` (verification).
            first_graphs: for the first step of a stream whose person is not known yet; by default
                ``graphs``.
            concurrent: see base.Engine.
        """
        self.card = card
        self.description = description
        self.fallback_reason: str | None = None
        self.concurrent = concurrent
        self._graphs, self._detection = dict(graphs), detection
        self._first_graphs = self._graphs if first_graphs is None else dict(first_graphs)
        self._tables = StepTables(token_count(card.crop_size, card), card.window)
        if self._graphs:
            self._empty = _empty_stream(card, next(iter(self._graphs.values())))
        for dense in self._graphs:
            _, state = self.step(_black(card.crop_size), None, dense=dense)
            if first_graphs is not None:
                self.step(_black(card.crop_size), state, dense=dense)
        if detection is not None:
            self.detect(_black(card.frame_size))

    def detect(self, image: UInt8[np.ndarray, "h w 3"]) -> DetectionOutputs:
        """See base.Engine."""
        check_image(image, self.card.frame_size)
        assert self._detection is not None
        return detection_outputs(self._detection(np.ascontiguousarray(image)))

    def step(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        state: object | None,
        *,
        dense: bool,
        target_box: Float32[np.ndarray, "4"] | None = None,
    ) -> tuple[RawOutputs, object]:
        """See base.Engine."""
        check_image(image, self.card.crop_size)
        stream = stream_from(state, self._empty)
        graphs = self._first_graphs if state is None else self._graphs
        outputs, present = graphs[dense](
            np.ascontiguousarray(image),
            cue_of(target_box),
            self._tables.time_rotation(stream.frames),
            self._tables.attention_mask(stream.frames),
            [array for frame in stream.past for array in frame],
        )
        return raw_outputs(outputs), stream.advanced(present)


def _black(size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    return np.zeros((size[1], size[0], 3), np.uint8)


def token_count(size: tuple[int, int], card: ModelCard) -> int:
    """Tokens per frame: patches of 16 x 16 pixels, the joints, and one for the whole image."""
    return (size[0] // 16) * (size[1] // 16) + len(card.joint_names) + 1


def _empty_stream(card: ModelCard, graph: Graph) -> Stream:
    tokens = token_count(card.crop_size, card)
    zeros = graph.zeros((card.network["width"] // (2 * HALF), tokens, 2 * HALF))
    frame = (zeros,) * (2 * card.network["depth"])
    return Stream(0, (frame,) * (card.window - 1))
