"""The engine for CPUs: ONNX Runtime, from graphs that are exported once and kept in the cache.

A graph enters the cache only after it said what PyTorch says. Loading it from there needs
neither PyTorch nor the weights' file beyond its checksum.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from jaxtyping import Float32, UInt8

from thfm_ros.engine.base import EngineError
from thfm_ros.engine.cache import EngineCache
from thfm_ros.engine.checkpoint import Checkpoint
from thfm_ros.engine.graph_engine import GraphEngine
from thfm_ros.engine.manifest import EngineKey
from thfm_ros.engine.stream import OUTPUTS
from thfm_ros.engine.versions import processor, versions
from thfm_ros.model.card import ModelCard

if TYPE_CHECKING:
    from thfm_ros.engine.torch_engine import TorchEngine

log = logging.getLogger(__name__)

Size = tuple[int, int]


class OnnxGraph:
    """One step graph in ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int) -> None:
        """Does not spin: a waiting thread of the network would take a core from other nodes."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._outputs = [value.name for value in self._session.get_outputs()]
        self._answers = sum(name in OUTPUTS for name in self._outputs)

    def __call__(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        time: Float32[np.ndarray, "2 1 c"],
        allowed: Float32[np.ndarray, " m"],
        memory: Sequence[Any],
    ) -> tuple[list[Float32[np.ndarray, "..."]], list[Any]]:
        """See graph_engine.Graph."""
        given = dict(zip(self._inputs, (image, time, allowed, *memory), strict=True))
        said = self._session.run(self._outputs, given)
        return said[: self._answers], said[self._answers :]

    def zeros(self, shape: tuple[int, ...]) -> Float32[np.ndarray, "..."]:
        """See graph_engine.Graph."""
        return np.zeros(shape, np.float32)


def load_onnx_engine(
    checkpoint: Checkpoint, cache: EngineCache, threads: int, judge: "Callable[[], TorchEngine]"
) -> GraphEngine:
    """Load the graphs of a nano checkpoint, exporting those that the cache does not have.

    Args:
        checkpoint: what is to run.
        cache: where the graphs are kept.
        threads: of the network.
        judge: makes the PyTorch engine; called only if something must be exported.

    Raises:
        EngineError: the exported graph does not say what PyTorch says, or the cache is unusable.
        Exception: whatever the exporter or ONNX Runtime stumbles over.
    """
    card, sha256 = checkpoint.card, checkpoint.sha256()
    graphs = {}
    for size in sorted({card.crop_size, card.frame_size}):
        for dense in (True, False):
            export = OnnxExport(card, sha256, size, dense, threads, judge)
            graphs[size, dense] = OnnxGraph(export.path(cache), threads)
    return GraphEngine(card, describe(threads), graphs, concurrent=True)


def describe(threads: int) -> str:
    """ "ONNX Runtime 1.31.1, CPU, 1 thread"."""
    return f"ONNX Runtime {onnxruntime.__version__}, CPU, {threads} thread{'s' * (threads > 1)}"


@dataclass(frozen=True)
class OnnxExport:
    """How one graph gets into the cache."""

    card: ModelCard
    weights_sha256: str
    size: Size
    dense: bool
    threads: int
    judge: "Callable[[], TorchEngine]"

    def path(self, cache: EngineCache) -> Path:
        """Of the graph in the cache."""
        return cache.get(self.key(), self.build, needs_bytes=64 << 20)

    def key(self) -> EngineKey:
        """All that the graph depends on."""
        return EngineKey(
            engine="onnx",
            checkpoint=self.card.name,
            weights_sha256=self.weights_sha256,
            profile=f"{self.size[0]}x{self.size[1]}-{'dense' if self.dense else 'body'}",
            precision="float32",
            device=processor(),
            versions=versions("nano", "torch", "onnxruntime"),
        )

    def build(self, path: Path) -> dict[str, str]:
        """Write the graph to ``path`` and compare it with PyTorch."""
        from thfm_ros.engine.export import export_onnx
        from thfm_ros.engine.verify import TOLERANCES, difference

        judge = self.judge()
        log.info("Exporting %s for images of %s to ONNX, once.", self.card.name, self.size)
        export_onnx(judge.network, self.card, self.size, self.dense, path)
        graph = OnnxGraph(path, self.threads)
        engine = GraphEngine(self.card, "", {(self.size, self.dense): graph})
        off = difference(engine, judge, self.size, dense=self.dense)
        largest = TOLERANCES["float32"].largest
        if not off <= largest:
            raise EngineError(
                f"The exported graph differs from PyTorch by {off:.1e}, more than {largest:.0e}."
            )
        return {"difference": f"{off:.1e}", "tolerance": f"{largest:.0e}"}
