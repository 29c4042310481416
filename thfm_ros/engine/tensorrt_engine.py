# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The engine for NVIDIA GPUs: TensorRT, built on the machine that runs it, and cached.

Everything that needs a GPU is behind `Compiler`; the rest is tested without one.
"""

import logging
from collections.abc import Callable, Sequence
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
from thfm_ros.engine.export import example_inputs
from thfm_ros.engine.graph_engine import GraphEngine
from thfm_ros.engine.manifest import EngineKey
from thfm_ros.engine.step_graph import StepGraph
from thfm_ros.engine.stream import OUTPUTS
from thfm_ros.engine.tensorrt_compiler import Compiler, Run
from thfm_ros.engine.torch_engine import TorchEngine
from thfm_ros.engine.verify import TOLERANCES, difference
from thfm_ros.engine.versions import versions
from thfm_ros.model.card import ModelCard

log = logging.getLogger(__name__)

PRECISIONS = ("float16", "float32")
"""Tried in this order, until the outputs agree with those of PyTorch."""


class TensorRtGraph:
    """One compiled step graph on the GPU."""

    def __init__(self, run: Run, device: torch.device, dtype: torch.dtype, dense: bool) -> None:
        self._run, self._device, self._dtype = run, device, dtype
        self._output_count = len(OUTPUTS) if dense else len(OUTPUTS) - 1

    @torch.inference_mode()
    def __call__(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        time_rotation: Float32[np.ndarray, "2 1 c"],
        attention_mask: Float32[np.ndarray, " m"],
        past: Sequence[Any],
    ) -> tuple[list[Float32[np.ndarray, "..."]], list[Any]]:
        """See graph_engine.Graph."""
        inputs = [torch.from_numpy(image).to(self._device)]
        tables = (time_rotation, attention_mask)
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
    size: tuple[int, int]
    dense: bool
    precision: str
    compiler: Compiler
    load_reference: Callable[[], TorchEngine]

    def load(self, cache: EngineCache) -> TensorRtGraph:
        """Load the graph from the cache, building it if it is missing or does not load."""
        return cache.load(self.key(), self.build, self._graph, needs_bytes=512 << 20)

    def key(self) -> EngineKey:
        """Everything that the engine depends on."""
        return EngineKey(
            engine="tensorrt",
            checkpoint=self.card.name,
            weights_sha256=self.weights_sha256,
            profile=f"{self.size[0]}x{self.size[1]}-{'dense' if self.dense else 'body'}",
            precision=self.precision,
            device=self.compiler.gpu(),
            versions=build_versions(self.compiler, "nano"),
        )

    def build(self, path: Path) -> dict[str, str]:
        """Compile the graph to ``path`` and verify it against PyTorch; returns notes."""
        log.info(
            "Building the TensorRT engine of %s for images of %s in %s, once; this takes minutes.",
            self.card.name,
            self.size,
            self.precision,
        )
        reference = self.load_reference()
        dtype, device = getattr(torch, self.precision), self.compiler.device
        graph = StepGraph(reference.network, self.size, self.dense).to(device, dtype)
        example = example_inputs(self.card, self.size)
        self.compiler.build(
            graph,
            tuple(x.to(device, dtype if x.is_floating_point() else x.dtype) for x in example),
            path,
        )
        engine = GraphEngine(self.card, "", {(self.size, self.dense): self._graph(path)})
        tolerance = TOLERANCES[self.precision]
        found = difference(
            engine, reference, self.size, dense=self.dense, quantile=tolerance.quantile
        )
        if not found <= tolerance.largest:
            raise VerificationError(
                f"The TensorRT engine in {self.precision} differs from PyTorch by {found:.1e}, "
                f"more than {tolerance.largest:.0e}."
            )
        return {"difference": f"{found:.1e}", "tolerance": f"{tolerance.largest:.0e}"}

    def _graph(self, path: Path) -> TensorRtGraph:
        run, dtype = self.compiler.load(path), getattr(torch, self.precision)
        return TensorRtGraph(run, self.compiler.device, dtype, self.dense)


def build_versions(compiler: Compiler, family: str, *packages: str) -> tuple[tuple[str, str], ...]:
    """Versions of everything that an engine of a family is built with."""
    python_side = versions(family, "torch", "torch_tensorrt", *packages)
    return tuple(sorted((*compiler.libraries(), *python_side)))


def load_tensorrt_engine(
    checkpoint: Checkpoint,
    cache: EngineCache,
    compiler: Compiler,
    load_reference: Callable[[], TorchEngine],
) -> GraphEngine:
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
            graphs = {
                (size, dense): TensorRtBuild(
                    card, sha256, size, dense, precision, compiler, load_reference
                ).load(cache)
                for size in sorted({card.crop_size, card.frame_size})
                for dense in (True, False)
            }
        except VerificationError as error:
            log.warning("%s", error)
            reason = error
        else:
            version = dict(compiler.libraries())["tensorrt"]
            description = f"TensorRT {version}, {compiler.gpu()}, {precision}"
            return GraphEngine(card, description, graphs)
    raise reason
