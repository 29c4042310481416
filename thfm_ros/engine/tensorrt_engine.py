# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The engine for NVIDIA GPUs: TensorRT, built on the machine that runs it, and cached.

Everything that needs a GPU is behind `Compiler`; the rest is tested without one.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from thfm_ros.engine.base import VerificationError
from thfm_ros.engine.cache import EngineCache
from thfm_ros.engine.checkpoint import Checkpoint
from thfm_ros.engine.export import example_frame, example_inputs
from thfm_ros.engine.graph_engine import (
    STEP_PARTS,
    GraphEngine,
    all_graphs,
    profile,
    shaped_cards,
)
from thfm_ros.engine.manifest import EngineKey
from thfm_ros.engine.shaped_engine import ShapedEngine
from thfm_ros.engine.step_graph import DetectionGraph, StepGraph
from thfm_ros.engine.stream import OUTPUTS
from thfm_ros.engine.tensorrt_compiler import Compiler, Run
from thfm_ros.engine.torch_engine import TorchEngine
from thfm_ros.engine.verify import TOLERANCES, part_difference
from thfm_ros.engine.versions import versions
from thfm_ros.model.card import ModelCard
from thfm_ros.model.network import NanoNetwork

log = logging.getLogger(__name__)

PRECISIONS = ("float16", "float32")
"""Tried in this order, until the outputs agree with those of PyTorch."""


class TensorRtDetection:
    """The compiled detection graph on the GPU."""

    def __init__(self, run: Run, device: torch.device) -> None:
        self._run, self._device = run, device

    @torch.inference_mode()
    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "5 h8 w8"]:
        """See graph_engine.DetectionRunner."""
        results = self._run(torch.from_numpy(image).to(self._device))
        # Copied: a CUDA graph writes the output of every call to the same memory.
        found: Float32[np.ndarray, "5 h8 w8"] = results[0].cpu().numpy().copy()
        return found


class TensorRtGraph:
    """One compiled step graph on the GPU."""

    def __init__(self, run: Run, device: torch.device, dtype: torch.dtype, dense: bool) -> None:
        self._run, self._device, self._dtype = run, device, dtype
        self._output_count = len(OUTPUTS) if dense else len(OUTPUTS) - 1

    @torch.inference_mode()
    def __call__(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        cue: Float32[np.ndarray, "5"],
        time_rotation: Float32[np.ndarray, "2 1 c"],
        attention_mask: Float32[np.ndarray, " m"],
        past: Sequence[Any],
    ) -> tuple[list[Float32[np.ndarray, "..."]], list[Any]]:
        """See graph_engine.Graph."""
        inputs = [torch.from_numpy(image).to(self._device)]
        tables = (cue, time_rotation, attention_mask)
        inputs += [torch.from_numpy(x).to(self._device, self._dtype) for x in tables]
        results = list(self._run(*inputs, *past))
        # A CUDA graph writes the outputs of every call to the same memory: they are copied, so
        # that the next call, of this stream or of another, does not overwrite them.
        outputs = [each.cpu().numpy().copy() for each in results[: self._output_count]]
        return outputs, [each.clone() for each in results[self._output_count :]]

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        """See graph_engine.Graph."""
        return torch.zeros(shape, dtype=self._dtype, device=self._device)


@dataclass(frozen=True)
class TensorRtBuild:
    """Building one graph and loading it from the cache."""

    card: ModelCard
    weights_sha256: str
    part: str  # one of graph_engine.PARTS
    precision: str
    compiler: Compiler
    load_reference: Callable[[], TorchEngine]

    def load(self, cache: EngineCache) -> Run:
        """Load the graph from the cache, building it if it is missing or does not load."""
        return cache.load(self.key(), self.build, self.compiler.load, needs_bytes=512 << 20)

    def key(self) -> EngineKey:
        """Everything that the engine depends on."""
        return EngineKey(
            engine="tensorrt",
            checkpoint=self.card.name,
            weights_sha256=self.weights_sha256,
            profile=profile(self.card, self.part),
            precision=self.precision,
            device=self.compiler.gpu(),
            versions=build_versions(self.compiler, "nano"),
        )

    def build(self, path: Path) -> dict[str, str]:
        """Compile the graph to ``path`` and verify it against PyTorch; returns notes."""
        log.info(
            "Building the TensorRT engine of %s (%s) in %s, once; this takes minutes.",
            self.card.name,
            profile(self.card, self.part),
            self.precision,
        )
        reference = self.load_reference()
        dtype, device = getattr(torch, self.precision), self.compiler.device
        graph, example = self._source(reference.network)
        self.compiler.build(
            graph.to(device, dtype),
            tuple(x.to(device, dtype if x.is_floating_point() else x.dtype) for x in example),
            path,
        )
        tolerance = TOLERANCES[self.precision]
        engine = tensorrt_engine(self.card, "", {self.part: self.compiler.load(path)}, self)
        found = part_difference(engine, reference, self.part, quantile=tolerance.quantile)
        if not found <= tolerance.largest:
            raise VerificationError(
                f"The TensorRT engine in {self.precision} differs from PyTorch by {found:.1e}, "
                f"more than {tolerance.largest:.0e}."
            )
        return {"difference": f"{found:.1e}", "tolerance": f"{tolerance.largest:.0e}"}

    def _source(self, network: NanoNetwork) -> tuple[torch.nn.Module, tuple[Tensor, ...]]:
        if self.part == "detect":
            return DetectionGraph(network, self.card.frame_size), example_frame(self.card)
        dense = self.part == "dense"
        return StepGraph(network, self.card.crop_size, dense), example_inputs(self.card)


def tensorrt_engine(
    card: ModelCard, description: str, runs: Mapping[str, Run], build: TensorRtBuild
) -> GraphEngine:
    """An engine of compiled graphs, by their PARTS, on the device and in the precision of
    ``build``."""
    device, dtype = build.compiler.device, getattr(torch, build.precision)
    graphs = {
        part == "dense": TensorRtGraph(runs[part], device, dtype, part == "dense")
        for part in STEP_PARTS
        if part in runs
    }
    detection = TensorRtDetection(runs["detect"], device) if "detect" in runs else None
    return GraphEngine(card, description, graphs, detection)


def build_versions(compiler: Compiler, family: str, *packages: str) -> tuple[tuple[str, str], ...]:
    """Versions of everything that an engine of a family is built with."""
    python_side = versions(family, "torch", "torch_tensorrt", *packages)
    return tuple(sorted((*compiler.libraries(), *python_side)))


def load_tensorrt_engine(
    checkpoint: Checkpoint,
    cache: EngineCache,
    compiler: Compiler,
    load_reference: Callable[[], TorchEngine],
) -> ShapedEngine:
    """Load the engines of a nano checkpoint, building those that the cache does not have.

    Args:
        checkpoint: of the nano family.
        cache: of the built engines.
        compiler: builds and loads them.
        load_reference: makes the PyTorch engine; called only if an engine must be built.

    Raises:
        VerificationError: the outputs differ from those of PyTorch in every precision.
        CacheError: the cache cannot be used.
        Exception: any error of the compiler.
    """
    card, sha256 = checkpoint.card, checkpoint.sha256()
    for precision in PRECISIONS:
        try:
            builds = [
                TensorRtBuild(shaped, sha256, part, precision, compiler, load_reference)
                for shaped, part in all_graphs(card)
            ]
            runs = {(build.card.crop_size, build.part): build.load(cache) for build in builds}
        except VerificationError as error:
            log.warning("%s", error)
            reason = error
        else:
            version = dict(compiler.libraries())["tensorrt"]
            description = f"TensorRT {version}, {compiler.gpu()}, {precision}"
            engines = [
                tensorrt_engine(
                    shaped,
                    description,
                    {part: run for (size, part), run in runs.items() if size == shaped.crop_size},
                    builds[0],
                )
                for shaped in shaped_cards(card)
            ]
            return ShapedEngine(card, engines)
    raise reason
