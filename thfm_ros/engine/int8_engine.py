# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The engine for CPUs with int8 steps, made from the float32 graphs that ONNX Runtime runs.

The first step of a proposal's stream stays in float32: it decides whether the proposal is a person,
with a limit, and near a limit the small differences of int8 change decisions. Later steps, and new
streams of people whose crop moved, follow a person who is known. So single images have exactly the
results of float32.
An int8 graph enters the cache only after its outputs agreed with those of the float32 graph on the
calibration crops, and after it was faster. Detection passes stay in float32.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from thfm_ros.engine.base import EngineError, VerificationError
from thfm_ros.engine.cache import EngineCache
from thfm_ros.engine.checkpoint import Checkpoint
from thfm_ros.engine.graph_engine import (
    STEP_PARTS,
    GraphEngine,
    profile,
    shaped_cards,
    token_count,
)
from thfm_ros.engine.int8 import calibration_crops, int8_precision, quantise, without_outputs
from thfm_ros.engine.manifest import EngineKey
from thfm_ros.engine.onnx_engine import (
    OnnxDetection,
    OnnxExport,
    OnnxGraph,
    runtime_description,
    session,
    step_graphs,
)
from thfm_ros.engine.shaped_engine import ShapedEngine
from thfm_ros.engine.stream import StepTables, cue_of
from thfm_ros.engine.verify import TOLERANCES, largest_error, named_arrays, relative_errors
from thfm_ros.engine.versions import versions
from thfm_ros.model.card import ModelCard

if TYPE_CHECKING:
    from thfm_ros.engine.torch_engine import TorchEngine

log = logging.getLogger(__name__)

MAX_TIME_RATIO = 0.95
"""An int8 step that takes more than this share of the float32 step's time is not worth its
errors."""

_TIMED_STEPS = 30


def load_int8_engine(
    checkpoint: Checkpoint,
    cache: EngineCache,
    threads: int,
    load_reference: "Callable[[], TorchEngine]",
) -> ShapedEngine:
    """Load the graphs of a nano checkpoint with int8 steps; see `load_onnx_engine`.

    Raises:
        VerificationError: the outputs of an int8 graph differ from those in float32.
        EngineError: it is not faster here.
    """
    card, sha256 = checkpoint.card, checkpoint.sha256()
    description = f"{runtime_description(threads)}, {int8_precision()}"

    def load(shaped: ModelCard) -> GraphEngine:
        exports = {
            part: OnnxExport(shaped, sha256, part, threads, load_reference) for part in STEP_PARTS
        }
        paths = {part: Int8Export(export).path(cache) for part, export in exports.items()}
        graphs = step_graphs(paths, threads)
        if shaped.crop_size != card.crop_size:  # only people who are known get other crops
            return GraphEngine(shaped, description, graphs, None, concurrent=True)
        in_float32 = {part: export.path(cache) for part, export in exports.items()}
        detect = OnnxExport(card, sha256, "detect", threads, load_reference).path(cache)
        return GraphEngine(
            shaped,
            description,
            graphs,
            OnnxDetection(detect, threads),
            first_graphs=step_graphs(in_float32, threads),
            concurrent=True,
        )

    return ShapedEngine(card, [load(shaped) for shaped in shaped_cards(card)])


@dataclass(frozen=True)
class Int8Export:
    """The int8 form of one step graph."""

    float32: OnnxExport

    def key(self) -> EngineKey:
        """Everything that the graph depends on; the processor, too, which decides what is fast."""
        key = self.float32.key()
        return dataclasses.replace(
            key,
            profile=f"{key.profile}-int8",
            precision=int8_precision(),
            versions=versions("int8", "torch", "onnxruntime"),
        )

    def path(self, cache: EngineCache) -> Path:
        """Path of the graph in the cache; it is made first if needed."""
        key = self.key()
        if cache.problem(key) is None:
            return cache.path(key)
        source = self.float32.path(cache)
        quantised = None
        if self.float32.part == "body":  # a part of the other graph, whose ranges are known then
            quantised = Int8Export(dataclasses.replace(self.float32, part="dense")).path(cache)
        build = partial(self.build, source, quantised)
        return cache.get(key, build, needs_bytes=64 << 20)

    def build(self, source: Path, quantised: Path | None, path: Path) -> dict[str, str]:
        """Write the int8 form of ``source`` to ``path``, and verify it; returns notes.

        ``quantised``: the int8 graph with dense outputs, if ``source`` is the one without.
        """
        card, part, threads = self.float32.card, self.float32.part, self.float32.threads
        size = profile(card, part)
        log.info("Quantising %s (%s) to int8, once.", card.name, size)
        crops = calibration_crops(card.crop_size)
        if quantised is None:
            count = quantise(source, path, self._first_steps(source, crops), int8_precision())
        else:
            count = without_outputs(quantised, path, {"dense"})
        dense = part == "dense"
        own, reference = (
            GraphEngine(card, "", {dense: OnnxGraph(each, threads)}, None)
            for each in (path, source)
        )
        found, allowed = int8_difference(own, reference, crops, dense=dense), TOLERANCES["int8"]
        if not found <= allowed.largest:
            raise VerificationError(
                f"int8 differs from fp32 by {found:.2f}, more than {allowed.largest:.2f}"
            )
        ratio = time_ratio(own, reference, crops[0], dense=dense)
        if ratio > MAX_TIME_RATIO:
            raise EngineError(f"int8 is not faster here: {ratio:.2f} of the time of fp32")
        return {
            "difference": f"{found:.2f}",
            "tolerance": f"{allowed.largest:.2f}",
            "layers in int8": str(count),
            "time ratio": f"{ratio:.2f}",
        }

    def _first_steps(
        self, source: Path, crops: Sequence[UInt8[np.ndarray, "h w 3"]]
    ) -> list[Mapping[str, np.ndarray]]:
        """The inputs of the graph for the first crop of a stream, for each of these crops."""
        card = self.float32.card
        tables = StepTables(token_count(card.crop_size, card), card.window)
        first = (cue_of(None), tables.time_rotation(0), tables.attention_mask(0))
        inputs = session(source, 1).get_inputs()
        past = [np.zeros(each.shape, np.float32) for each in inputs[1 + len(first) :]]
        names = [each.name for each in inputs]
        return [dict(zip(names, (crop, *first, *past), strict=True)) for crop in crops]


def int8_difference(
    own: GraphEngine,
    reference: GraphEngine,
    crops: Sequence[UInt8[np.ndarray, "h w 3"]],
    *,
    dense: bool,
) -> float:
    """The largest relative error of an output over all crops, without the largest errors of each.

    How large a share of the errors counts is in TOLERANCES, as for half precision.
    """
    errors: dict[str, list[np.ndarray]] = {}
    for crop in crops:
        pairs = zip(
            named_arrays(own.step(crop, None, dense=dense)[0]),
            named_arrays(reference.step(crop, None, dense=dense)[0]),
            strict=True,
        )
        for (name, found), (_, expected) in pairs:
            errors.setdefault(name, []).append(relative_errors(name, found, expected).ravel())
    quantile = TOLERANCES["int8"].quantile
    return max(largest_error(np.concatenate(each), quantile) for each in errors.values())


def time_ratio(
    own: GraphEngine, reference: GraphEngine, crop: UInt8[np.ndarray, "h w 3"], *, dense: bool
) -> float:
    """The shortest processor time of a step divided by the reference's; both run in turns.

    The time of the clock would depend on what else the machine does.
    """
    shortest = [float("inf"), float("inf")]
    for _ in range(_TIMED_STEPS):
        for index, engine in enumerate((own, reference)):
            begun_s = time.process_time()
            engine.step(crop, None, dense=dense)
            shortest[index] = min(shortest[index], time.process_time() - begun_s)
    return shortest[0] / shortest[1]
