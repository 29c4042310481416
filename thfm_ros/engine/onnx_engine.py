# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The engine for CPUs: ONNX Runtime, from graphs that are exported once and kept in the cache.

A graph enters the cache only after its outputs agreed with those of PyTorch. Loading it from the
cache needs neither PyTorch nor the checkpoint file beyond its checksum.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from jaxtyping import Float32, UInt8

from thfm_ros.engine.base import VerificationError
from thfm_ros.engine.cache import EngineCache
from thfm_ros.engine.checkpoint import Checkpoint
from thfm_ros.engine.graph_engine import (
    STEP_PARTS,
    GraphEngine,
    all_graphs,
    profile,
    shaped_cards,
)
from thfm_ros.engine.manifest import EngineKey
from thfm_ros.engine.shaped_engine import ShapedEngine
from thfm_ros.engine.stream import OUTPUTS
from thfm_ros.engine.versions import processor, versions
from thfm_ros.model.card import ModelCard

if TYPE_CHECKING:
    from thfm_ros.engine.torch_engine import TorchEngine

log = logging.getLogger(__name__)


def session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """An exported graph, ready to run. Threads do not spin: a spinning thread would take a core
    from other nodes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class OnnxDetection:
    """The detection graph in ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int) -> None:
        self._session = session(path, threads)

    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "5 h8 w8"]:
        """See graph_engine.DetectionRunner."""
        found: Float32[np.ndarray, "5 h8 w8"] = self._session.run(None, {"image": image})[0]
        return found


class OnnxGraph:
    """One step graph in ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int) -> None:
        self._session = session(path, threads)
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._outputs = [value.name for value in self._session.get_outputs()]
        self._output_count = sum(name in OUTPUTS for name in self._outputs)

    def __call__(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        cue: Float32[np.ndarray, "5"],
        time_rotation: Float32[np.ndarray, "2 1 c"],
        attention_mask: Float32[np.ndarray, " m"],
        past: Sequence[Any],
    ) -> tuple[list[Float32[np.ndarray, "..."]], list[Any]]:
        """See graph_engine.Graph."""
        values = (image, cue, time_rotation, attention_mask, *past)
        inputs = dict(zip(self._inputs, values, strict=True))
        outputs = self._session.run(self._outputs, inputs)
        return outputs[: self._output_count], outputs[self._output_count :]

    def zeros(self, shape: tuple[int, ...]) -> Float32[np.ndarray, "..."]:
        """See graph_engine.Graph."""
        return np.zeros(shape, np.float32)


def step_graphs(paths: Mapping[str, Path], threads: int) -> dict[bool, OnnxGraph]:
    """The graphs of crops of one size, by whether they have dense outputs; ``paths`` by part."""
    return {part == "dense": OnnxGraph(path, threads) for part, path in paths.items()}


def load_onnx_engine(
    checkpoint: Checkpoint,
    cache: EngineCache,
    threads: int,
    load_reference: "Callable[[], TorchEngine]",
) -> ShapedEngine:
    """Load the graphs of a nano checkpoint, exporting those that the cache does not have.

    Args:
        checkpoint: of the nano family.
        cache: of the exported graphs.
        threads: number of CPU threads.
        load_reference: makes the PyTorch engine; called only if a graph must be exported.

    Raises:
        VerificationError: the outputs of an exported graph differ from those of PyTorch.
        CacheError: the cache cannot be used.
        Exception: any error of the exporter or of ONNX Runtime.
    """
    card, sha256 = checkpoint.card, checkpoint.sha256()
    paths = {
        (shaped.crop_size, part): OnnxExport(shaped, sha256, part, threads, load_reference).path(
            cache
        )
        for shaped, part in all_graphs(card)
    }
    detection = OnnxDetection(paths[card.crop_size, "detect"], threads)
    engines = [
        GraphEngine(
            shaped,
            runtime_description(threads),
            step_graphs({part: paths[shaped.crop_size, part] for part in STEP_PARTS}, threads),
            detection if shaped.crop_size == card.crop_size else None,
            concurrent=True,
        )
        for shaped in shaped_cards(card)
    ]
    return ShapedEngine(card, engines)


def runtime_description(threads: int) -> str:
    """Such as "ONNX Runtime 1.31.1, CPU, 1 thread"."""
    return f"ONNX Runtime {onnxruntime.__version__}, CPU, {threads} thread{'s' * (threads > 1)}"


@dataclass(frozen=True)
class OnnxExport:
    """The export of one graph to the cache."""

    card: ModelCard
    weights_sha256: str
    part: str  # one of graph_engine.PARTS
    threads: int
    load_reference: "Callable[[], TorchEngine]"

    def path(self, cache: EngineCache) -> Path:
        """Path of the graph in the cache; it is exported first if needed.

        A graph that was exported and verified on another processor is the same file: an image
        that carries the cache starts as fast on each robot.
        """
        key = self.key()
        if cache.problem(key) is not None and (other := cache.of_other_device(key)):
            log.info(
                "%s was verified on %s, not on this processor: `thfm engine verify` does it",
                other.key.stem,
                other.key.device,
            )
            return cache.path(other.key)
        return cache.get(key, self.build, needs_bytes=64 << 20)

    def key(self) -> EngineKey:
        """Everything that the graph depends on."""
        return EngineKey(
            engine="onnx",
            checkpoint=self.card.name,
            weights_sha256=self.weights_sha256,
            profile=profile(self.card, self.part),
            precision="float32",
            device=processor(),
            versions=versions("nano", "torch", "onnxruntime"),
        )

    def build(self, path: Path) -> dict[str, str]:
        """Write the graph to ``path`` and verify it against PyTorch; returns notes."""
        from thfm_ros.engine.export import export_detection, export_step
        from thfm_ros.engine.verify import TOLERANCES, part_difference

        reference = self.load_reference()
        log.info("Exporting %s (%s) to ONNX, once.", self.card.name, profile(self.card, self.part))
        if self.part == "detect":
            export_detection(reference.network, self.card, path)
            engine = GraphEngine(self.card, "", {}, OnnxDetection(path, self.threads))
        else:
            dense = self.part == "dense"
            export_step(reference.network, self.card, dense, path)
            engine = GraphEngine(self.card, "", {dense: OnnxGraph(path, self.threads)}, None)
        found = part_difference(engine, reference, self.part)
        largest = TOLERANCES["float32"].largest
        if not found <= largest:
            raise VerificationError(
                f"The exported graph differs from PyTorch by {found:.1e}, more than {largest:.0e}."
            )
        return {"difference": f"{found:.1e}", "tolerance": f"{largest:.0e}"}
