# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The TensorRT engine with a fake compiler that keeps the graph unchanged and needs no GPU."""

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_compiler import FakeCompiler, FakeTorchTensorRt
from torch import Tensor, nn

from thfm_ros.engine import tensorrt_engine
from thfm_ros.engine.base import EngineError
from thfm_ros.engine.cache import CacheError, EngineCache
from thfm_ros.engine.checkpoint import Checkpoint, find_checkpoint
from thfm_ros.engine.export import example_frame, example_inputs
from thfm_ros.engine.graph_engine import PARTS, GraphEngine, all_graphs
from thfm_ros.engine.shaped_engine import ShapedEngine
from thfm_ros.engine.step_graph import DetectionGraph, StepGraph
from thfm_ros.engine.tensorrt_compiler import TorchTensorRt, build_options, supported_options
from thfm_ros.engine.tensorrt_engine import TensorRtDetection, TensorRtGraph, load_tensorrt_engine
from thfm_ros.engine.torch_engine import TorchEngine
from thfm_ros.engine.verify import TOLERANCES, Tolerance, part_difference

GRAPHS = 5  # square and tall crops with and without dense outputs, and whole images
CPU = torch.device("cpu")


@pytest.fixture
def source(checkpoint: Path) -> Checkpoint:
    return find_checkpoint(str(checkpoint))


Load = Callable[[FakeCompiler], ShapedEngine]


@pytest.fixture
def load(source: Checkpoint, tmp_path: Path, reference: TorchEngine) -> Load:
    """Load from the same cache at every call."""

    def load(compiler: FakeCompiler) -> ShapedEngine:
        return load_tensorrt_engine(source, EngineCache(tmp_path), compiler, lambda: reference)

    return load


def use_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that do not depend on the precision: half precision is slow on a CPU."""
    monkeypatch.setattr(tensorrt_engine, "PRECISIONS", ("float32",))


def test_half_precision_is_tried_first(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOLERANCES, "float16", Tolerance(1.0, 0.9))
    compiler = FakeCompiler()
    assert load(compiler).description == "TensorRT 11.0, Fake GPU, SM 0.0, float16"
    assert compiler.builds == GRAPHS


def test_all_graphs_are_built_once(
    load: Load, tmp_path: Path, reference: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_single_precision(monkeypatch)
    compiler = FakeCompiler()
    engine = load(compiler)
    assert compiler.builds == GRAPHS == len(all_graphs(engine.card))
    profiles = sorted(manifest.key.profile for manifest in EngineCache(tmp_path).entries())
    assert profiles == ["48x80-body", "48x80-dense", "64x64-body", "64x64-dense", "96x80-detect"]
    for card, part in all_graphs(engine.card):
        found = part_difference(engine, reference, part, size=card.crop_size)
        assert found <= TOLERANCES["float32"].largest


@pytest.mark.parametrize("part", ["dense", "detect"])
def test_half_precision_agrees_with_pytorch(
    source: Checkpoint, reference: TorchEngine, part: str
) -> None:
    graph = StepGraph(reference.network, (64, 64), dense=True).half()
    half = TensorRtGraph(graph, CPU, torch.float16, dense=True)
    detection = TensorRtDetection(DetectionGraph(reference.network, (96, 80)).half(), CPU)
    engine = GraphEngine(source.card, "", {True: half}, detection)
    # Heatmaps of random weights have peaks that are nearly equal, and rounding moves some joints.
    largest = part_difference(engine, reference, part, quantile=0.9)
    assert 1e-5 < largest < TOLERANCES["float16"].largest


def test_if_half_precision_differs_too_much_single_precision_is_built(
    load: Load, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(TOLERANCES, "float16", Tolerance(1e-6, 1.0))
    engine = load(FakeCompiler())
    assert engine.description.endswith("float32")
    assert "float16 differs from PyTorch by" in caplog.text


@pytest.mark.fault("engine", "TensorRT gives other values than PyTorch")
def test_an_engine_that_fails_verification_in_every_precision_is_not_cached(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_single_precision(monkeypatch)
    with pytest.raises(EngineError, match="float32 differs from PyTorch"):
        load(FakeCompiler(error=0.01))
    assert not EngineCache(tmp_path).entries()


def test_the_second_load_builds_nothing(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    use_single_precision(monkeypatch)
    first, second = FakeCompiler(), FakeCompiler()
    load(first)
    load(second)
    assert (first.builds, second.builds) == (GRAPHS, 0)


def test_another_gpu_or_release_is_another_engine(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_single_precision(monkeypatch)
    load(FakeCompiler())
    other, newer = FakeCompiler(gpu="Fake GPU, SM 1.0"), FakeCompiler()
    newer.release = "11.1"
    load(other)
    load(newer)
    assert (other.builds, newer.builds) == (GRAPHS, GRAPHS)


def test_a_corrupted_engine_is_rebuilt(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_single_precision(monkeypatch)
    load(FakeCompiler())
    corrupted = next(tmp_path.glob("*.pt2"))
    corrupted.write_bytes(corrupted.read_bytes()[:1000])
    compiler = FakeCompiler()
    load(compiler)
    assert compiler.builds == 1


@pytest.mark.fault("engine", "TensorRT does not load an engine")
def test_an_engine_that_does_not_load_is_rebuilt(
    load: Load, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    use_single_precision(monkeypatch)
    load(FakeCompiler())

    class RejectingCompiler(FakeCompiler):
        def load(self, path: Path) -> Callable[..., Sequence[Tensor]]:
            if not self.builds:
                raise RuntimeError("serialized with another driver")
            return super().load(path)

    compiler = RejectingCompiler()
    load(compiler)
    assert compiler.builds == 1, "only the engine that did not load"
    assert "serialized with another driver" in caplog.text


def test_two_interleaved_streams_do_not_overwrite_each_other(
    load: Load, reference: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_single_precision(monkeypatch)
    engine = load(FakeCompiler())

    class InterleavedEngine:
        """Runs a second stream through the engine between any two images of the first one."""

        card, description, concurrent = engine.card, "", False
        fallback_reason: str | None = None

        def __init__(self) -> None:
            self.other: object | None = None

        def detect(self, image: Any) -> Any:
            result = engine.detect(image)
            engine.detect(255 - image)
            return result

        def step(
            self, image: Any, state: object | None, *, dense: bool, target_box: Any = None
        ) -> Any:
            result = engine.step(image, state, dense=dense, target_box=target_box)
            _, self.other = engine.step(255 - image, self.other, dense=dense)
            return result

    for part in PARTS:
        assert part_difference(InterleavedEngine(), reference, part) < 1e-4


def test_insufficient_disk_space_is_reported_before_the_build(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EngineCache, "_free", lambda _: 100 << 20)
    compiler = FakeCompiler()
    with pytest.raises(CacheError, match=r"needs about 512 MB .* 100 MB are free"):
        load(compiler)
    assert compiler.builds == 0


def test_an_unsupported_operator_is_an_error_and_leaves_no_entry(
    load: Load, tmp_path: Path
) -> None:
    class FailingCompiler(FakeCompiler):
        def build(self, graph: nn.Module, example: tuple[Tensor, ...], path: Path) -> None:
            path.write_bytes(b"half an engine")
            raise RuntimeError("no converter for aten.argmax")

    with pytest.raises(RuntimeError, match=r"aten\.argmax"):
        load(FailingCompiler())
    assert {path.suffix for path in tmp_path.iterdir()} == {".lock"}


def test_the_exported_graph_agrees_with_pytorch_after_saving_and_loading(
    source: Checkpoint, reference: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {}
    monkeypatch.setitem(sys.modules, "torch_tensorrt", FakeTorchTensorRt(options))
    compiler, path = TorchTensorRt(tmp_path), tmp_path / "step.pt2"
    graph = StepGraph(reference.network, (64, 64), dense=True)
    compiler.build(graph, example_inputs(source.card), path)
    run = TensorRtGraph(compiler.load(path), CPU, torch.float32, dense=True)
    path = tmp_path / "detection.pt2"
    detection_graph = DetectionGraph(reference.network, (96, 80))
    compiler.build(detection_graph, example_frame(source.card), path)
    detection = TensorRtDetection(compiler.load(path), CPU)
    engine = GraphEngine(source.card, "", {True: run}, detection)
    for part in ("dense", "detect"):
        assert part_difference(engine, reference, part) <= TOLERANCES["float32"].largest
    assert options == {
        "require_full_compilation": True,
        "output_format": "exported_program",
        "cudagraphs": True,
    }


# The parameters of torch_tensorrt.dynamo.compile in two releases, as far as they matter here.
def compile_2_8(
    exported_program: Any,
    inputs: Any = None,
    *,
    arg_inputs: Any = None,
    enabled_precisions: Any = None,
    use_explicit_typing: bool = False,
    require_full_compilation: bool = False,
    use_fp32_acc: bool = False,
    **kwargs: Any,
) -> None: ...


def compile_2_13(
    exported_program: Any,
    inputs: Any = None,
    *,
    arg_inputs: Any = None,
    require_full_compilation: bool = False,
    use_fp32_acc: bool = False,
    **kwargs: Any,
) -> None: ...


def test_only_options_that_a_release_supports_are_passed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = build_options(tmp_path)
    with caplog.at_level(logging.DEBUG):
        old = supported_options(compile_2_8, options)
        new = supported_options(compile_2_13, options)
    assert old["use_explicit_typing"] is True and "use_explicit_typing" not in new
    assert "compile_2_13 does not support use_explicit_typing" in caplog.text
    assert set(old) - set(new) == {"use_explicit_typing"}
    assert new == {"require_full_compilation": True, "use_fp32_acc": True}
