"""The engine for NVIDIA GPUs: TensorRT, built on the machine that runs it, kept in the cache.

All that needs a GPU is behind `Compiler`; the rest, which is most of what can go wrong, is tested
without one. No time on a GPU has been measured by this project.
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

from thfm_ros.engine.base import EngineError
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
"""Tried in this order: the second if the first does not say what PyTorch says."""


class TensorRtGraph:
    """One compiled step graph on the GPU."""

    def __init__(self, run: Run, device: torch.device, dtype: torch.dtype, dense: bool) -> None:
        self._run, self._device, self._dtype = run, device, dtype
        self._answers = len(OUTPUTS) - (not dense)

    @torch.inference_mode()
    def __call__(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        time: Float32[np.ndarray, "2 1 c"],
        allowed: Float32[np.ndarray, " m"],
        memory: Sequence[Any],
    ) -> tuple[list[Float32[np.ndarray, "..."]], list[Any]]:
        """See graph_engine.Graph."""
        inputs = [torch.from_numpy(image).to(self._device)]
        inputs += [torch.from_numpy(x).to(self._device, self._dtype) for x in (time, allowed)]
        said = list(self._run(*inputs, *memory))
        # CUDA graphs write every call's outputs to the same place: what is to outlive the next
        # call, of this stream or of another, is copied out.
        answers = [answer.cpu().numpy().copy() for answer in said[: self._answers]]
        return answers, [array.clone() for array in said[self._answers :]]

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        """See graph_engine.Graph."""
        return torch.zeros(shape, dtype=self._dtype, device=self._device)


@dataclass(frozen=True)
class TensorRtBuild:
    """How one graph gets into the cache, and out of it."""

    card: ModelCard
    weights_sha256: str
    size: tuple[int, int]
    dense: bool
    precision: str
    compiler: Compiler
    judge: Callable[[], TorchEngine]

    def load(self, cache: EngineCache) -> TensorRtGraph:
        """From the cache, building it if needed; once more if what is there does not load."""
        return cache.load(self.key(), self.build, self._graph, needs_bytes=512 << 20)

    def key(self) -> EngineKey:
        """All that the engine depends on."""
        return EngineKey(
            engine="tensorrt",
            checkpoint=self.card.name,
            weights_sha256=self.weights_sha256,
            profile=f"{self.size[0]}x{self.size[1]}-{'dense' if self.dense else 'body'}",
            precision=self.precision,
            device=self.compiler.gpu(),
            versions=built_with(self.compiler, "nano"),
        )

    def build(self, path: Path) -> dict[str, str]:
        """Compile to ``path`` and compare with PyTorch."""
        log.info(
            "Building the TensorRT engine of %s for images of %s in %s, once; this takes minutes.",
            self.card.name,
            self.size,
            self.precision,
        )
        judge = self.judge()
        dtype, device = getattr(torch, self.precision), self.compiler.device
        graph = StepGraph(judge.network, self.size, self.dense).to(device, dtype)
        example = example_inputs(self.card, self.size)
        self.compiler.build(
            graph,
            tuple(x.to(device, dtype if x.is_floating_point() else x.dtype) for x in example),
            path,
        )
        engine = GraphEngine(self.card, "", {(self.size, self.dense): self._graph(path)})
        tolerance = TOLERANCES[self.precision]
        off = difference(engine, judge, self.size, dense=self.dense, quantile=tolerance.quantile)
        if not off <= tolerance.largest:
            raise DiffersError(
                f"The TensorRT engine in {self.precision} differs from PyTorch by {off:.1e}, "
                f"more than {tolerance.largest:.0e}."
            )
        return {"difference": f"{off:.1e}", "tolerance": f"{tolerance.largest:.0e}"}

    def _graph(self, path: Path) -> TensorRtGraph:
        run, dtype = self.compiler.load(path), getattr(torch, self.precision)
        return TensorRtGraph(run, self.compiler.device, dtype, self.dense)


def built_with(compiler: Compiler, family: str, *packages: str) -> tuple[tuple[str, str], ...]:
    """Versions of all that has a say in an engine of a family."""
    ours = versions(family, "torch", "torch_tensorrt", *packages)
    return tuple(sorted((*compiler.libraries(), *ours)))


class DiffersError(EngineError):
    """A built engine does not say what PyTorch says."""


def load_tensorrt_engine(
    checkpoint: Checkpoint,
    cache: EngineCache,
    compiler: Compiler,
    judge: Callable[[], TorchEngine],
) -> GraphEngine:
    """Load the engines of a nano checkpoint, building those that the cache does not have.

    Raises:
        EngineError: they do not say what PyTorch says in any precision, or the cache is unusable.
        Exception: whatever the compiler stumbles over.
    """
    card, sha256 = checkpoint.card, checkpoint.sha256()
    for precision in PRECISIONS:
        try:
            graphs = {
                (size, dense): TensorRtBuild(
                    card, sha256, size, dense, precision, compiler, judge
                ).load(cache)
                for size in sorted({card.crop_size, card.frame_size})
                for dense in (True, False)
            }
        except DiffersError as error:
            log.warning("%s", error)
            reason = error
        else:
            what = (
                f"TensorRT {dict(compiler.libraries())['tensorrt']}, {compiler.gpu()}, {precision}"
            )
            return GraphEngine(card, what, graphs)
    raise reason
