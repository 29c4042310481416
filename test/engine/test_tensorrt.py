"""The TensorRT engine's logic, with a compiler that needs no GPU: it keeps the graph as it is.

What a real TensorRT does with the graph has not been tested by this project: no GPU was at hand.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_compiler import FakeCompiler, PretendedTorchTensorRt
from torch import Tensor, nn

from thfm_ros.engine import tensorrt_engine
from thfm_ros.engine.base import EngineError
from thfm_ros.engine.cache import CacheError, EngineCache
from thfm_ros.engine.checkpoint import Checkpoint, find_checkpoint
from thfm_ros.engine.export import example_inputs
from thfm_ros.engine.graph_engine import GraphEngine
from thfm_ros.engine.step_graph import StepGraph
from thfm_ros.engine.tensorrt_compiler import TorchTensorRt, accepted, build_options
from thfm_ros.engine.tensorrt_engine import TensorRtGraph, load_tensorrt_engine
from thfm_ros.engine.torch_engine import TorchEngine
from thfm_ros.engine.verify import TOLERANCES, Tolerance, difference

GRAPHS = 4  # two sizes, with and without maps


@pytest.fixture
def source(checkpoint: Path) -> Checkpoint:
    return find_checkpoint(str(checkpoint))


Load = Callable[[FakeCompiler], GraphEngine]


@pytest.fixture
def load(source: Checkpoint, tmp_path: Path, judge: TorchEngine) -> Load:
    """Load from one cache as often as wanted."""

    def load(compiler: FakeCompiler) -> GraphEngine:
        return load_tensorrt_engine(source, EngineCache(tmp_path), compiler, lambda: judge)

    return load


def in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that are about something else: half precision is slow on a CPU."""
    monkeypatch.setattr(tensorrt_engine, "PRECISIONS", ("float32",))


def test_half_precision_is_tried_first(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOLERANCES, "float16", Tolerance(1.0, 0.9))
    compiler = FakeCompiler()
    assert load(compiler).description == "TensorRT 11.0, Fake GPU, SM 0.0, float16"
    assert compiler.builds == GRAPHS


def test_half_precision_is_close_to_pytorch(source: Checkpoint, judge: TorchEngine) -> None:
    graph = StepGraph(judge.network, (64, 64), dense=True).half()
    half = TensorRtGraph(graph, torch.device("cpu"), torch.float16, dense=True)
    engine = GraphEngine(source.card, "", {((64, 64), True): half})
    off = difference(engine, judge, (64, 64), dense=True, quantile=0.99)
    assert 1e-5 < off < TOLERANCES["float16"].largest, "not half precision, or not close"


def test_an_engine_too_far_from_pytorch_is_built_in_single_precision(
    load: Load, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(TOLERANCES, "float16", Tolerance(1e-6, 1.0))
    engine = load(FakeCompiler())
    assert engine.description.endswith("float32")
    assert "float16 differs from PyTorch by" in caplog.text


def test_an_engine_that_is_wrong_in_every_precision_is_refused_and_not_kept(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_single_precision(monkeypatch)
    with pytest.raises(EngineError, match="float32 differs from PyTorch"):
        load(FakeCompiler(error=0.01))
    assert not EngineCache(tmp_path).entries()


def test_the_second_start_builds_nothing(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    in_single_precision(monkeypatch)
    first, second = FakeCompiler(), FakeCompiler()
    load(first)
    load(second)
    assert (first.builds, second.builds) == (GRAPHS, 0)


def test_another_gpu_or_release_builds_anew(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    in_single_precision(monkeypatch)
    load(FakeCompiler())
    other, newer = FakeCompiler(gpu="Fake GPU, SM 1.0"), FakeCompiler()
    newer.release = "11.1"
    load(other)
    load(newer)
    assert (other.builds, newer.builds) == (GRAPHS, GRAPHS)


def test_a_damaged_engine_is_built_anew(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_single_precision(monkeypatch)
    load(FakeCompiler())
    damaged = next(tmp_path.glob("*.pt2"))
    damaged.write_bytes(damaged.read_bytes()[:1000])
    compiler = FakeCompiler()
    load(compiler)
    assert compiler.builds == 1


def test_an_engine_that_the_library_no_longer_loads_is_built_anew(
    load: Load, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    in_single_precision(monkeypatch)
    load(FakeCompiler())

    class Picky(FakeCompiler):
        def load(self, path: Path) -> Callable[..., Sequence[Tensor]]:
            if not self.builds:
                raise RuntimeError("serialized with another driver")
            return super().load(path)

    compiler = Picky()
    load(compiler)
    assert compiler.builds == 1, "only the one that did not load"
    assert "serialized with another driver" in caplog.text


def test_two_streams_in_turn_do_not_overwrite_each_other(
    load: Load, judge: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_single_precision(monkeypatch)
    engine = load(FakeCompiler())

    class WithACompanion:
        """The engine, while another stream runs through it between any two images."""

        card, description, concurrent = engine.card, "", False

        def __init__(self) -> None:
            self.other: object | None = None

        def step(self, image: Any, state: object | None, *, dense: bool) -> Any:
            said = engine.step(image, state, dense=dense)
            _, self.other = engine.step(255 - image, self.other, dense=dense)
            return said

    assert difference(WithACompanion(), judge, (64, 64), dense=True) < 1e-4


def test_a_disk_that_is_too_small_is_told_before_minutes_of_building(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EngineCache, "_free", lambda _: 100 << 20)
    compiler = FakeCompiler()
    with pytest.raises(CacheError, match=r"needs about 512 MB .* 100 MB are free"):
        load(compiler)
    assert compiler.builds == 0


def test_an_operator_without_converter_is_an_error_and_leaves_nothing(
    load: Load, tmp_path: Path
) -> None:
    class Unable(FakeCompiler):
        def build(self, graph: nn.Module, example: tuple[Tensor, ...], path: Path) -> None:
            path.write_bytes(b"half an engine")
            raise RuntimeError("no converter for aten.argmax")

    with pytest.raises(RuntimeError, match=r"aten\.argmax"):
        load(Unable())
    assert {path.suffix for path in tmp_path.iterdir()} == {".lock"}


def test_the_exported_graph_says_what_pytorch_says_after_saving_and_loading(
    source: Checkpoint, judge: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setitem(sys.modules, "torch_tensorrt", PretendedTorchTensorRt(asked))
    compiler, path = TorchTensorRt(tmp_path), tmp_path / "engine.pt2"
    graph = StepGraph(judge.network, (64, 64), dense=True)
    compiler.build(graph, example_inputs(source.card, (64, 64)), path)
    run = TensorRtGraph(compiler.load(path), torch.device("cpu"), torch.float32, dense=True)
    engine = GraphEngine(source.card, "", {((64, 64), True): run})
    assert difference(engine, judge, (64, 64), dense=True) <= TOLERANCES["float32"].largest
    assert asked == {
        "require_full_compilation": True,
        "output_format": "exported_program",
        "cudagraphs": True,
    }


# Of the options of torch_tensorrt.dynamo.compile those that matter here, as two releases have them.
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


def test_only_options_that_a_release_knows_are_passed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = build_options(tmp_path)
    with caplog.at_level(logging.DEBUG):
        old, new = accepted(compile_2_8, wanted), accepted(compile_2_13, wanted)
    assert old["use_explicit_typing"] is True and "use_explicit_typing" not in new
    assert "compile_2_13 does not know use_explicit_typing" in caplog.text
    assert set(old) - set(new) == {"use_explicit_typing"}
    assert new == {"require_full_compilation": True, "use_fp32_acc": True}
