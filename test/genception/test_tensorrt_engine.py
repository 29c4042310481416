"""Engines of the full-size network, with a compiler that keeps the graphs as they are.

What a real TensorRT does with them has not been tested by this project: no GPU was at hand.
"""

import sys
from pathlib import Path

import genception_fixtures as reference
import numpy as np
import pytest
import torch
from fake_compiler import PretendedTorchTensorRt
from genception_compiler import GRAPHS, PROFILE, Compiler

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.contract import Frame, Task
from thfm_ros.engine.base import EngineError
from thfm_ros.engine.cache import CacheError, EngineCache
from thfm_ros.engine.checkpoint import Checkpoint, find_checkpoint
from thfm_ros.engine.tensorrt_compiler import TorchTensorRt
from thfm_ros.genception import tensorrt_engine as genception_engine
from thfm_ros.genception.checkpoint import GenceptionCheckpoint, load_checkpoint
from thfm_ros.genception.runner import GenceptionRunner
from thfm_ros.genception.tensorrt_engine import CompiledNetwork, load_compiled
from thfm_ros.genception.torch_reference import PRECISION, Reference
from thfm_ros.genception.verify import TOLERANCE, differences, distance


class Loader:
    """Loads the weights, and counts how often."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0

    def __call__(self) -> GenceptionCheckpoint:
        self.count += 1
        return load_checkpoint(self.path, dtype=PRECISION)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reference.write_checkpoint(tmp_path_factory.mktemp("release"), PROFILE)


@pytest.fixture(scope="module")
def source(path: Path) -> Checkpoint:
    return find_checkpoint(str(path))


@pytest.fixture(scope="module")
def plain(path: Path) -> GenceptionCheckpoint:
    return load_checkpoint(path, dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, source: Checkpoint) -> EngineCache:
    """A cache that one load has filled; who changes it copies it."""
    cache = EngineCache(tmp_path_factory.mktemp("filled"))
    load_compiled(source, cache, Compiler(), Loader(source.path))
    return cache


def load(
    source: Checkpoint, folder: Path, compiler: Compiler, *, dense: bool = True
) -> tuple[CompiledNetwork, Loader]:
    loader = Loader(source.path)
    return load_compiled(source, EngineCache(folder), compiler, loader, dense=dense), loader


def test_compiled_graphs_say_what_pytorch_says(
    source: Checkpoint, tmp_path: Path, plain: GenceptionCheckpoint
) -> None:
    compiler = Compiler()
    network, _ = load(source, tmp_path, compiler)
    assert set(compiler.built) == GRAPHS and len(compiler.built) == len(GRAPHS)
    assert network.description == "TensorRT 11.0, Fake GPU, SM 0.0, bfloat16, 48x32x9"
    off = differences(network, plain, PROFILE)
    assert max(off.values()) < TOLERANCE / 3, off


def test_each_task_is_asked_with_its_own_prompt_by_one_graph(
    source: Checkpoint, filled: EngineCache, plain: GenceptionCheckpoint
) -> None:
    network, _ = load(source, filled.folder, Compiler())
    torch.manual_seed(0)
    latents = torch.randn(PROFILE.latent_shape(), dtype=torch.bfloat16)
    with torch.inference_mode():
        answers = {task: network.answer(latents, task) for task in network.card.tasks}
        for task, answer in answers.items():  # kept over the next task's call
            assert distance(answer, plain.answer(latents, task)) < TOLERANCE
    depth, normals = (answers[task].video_latents for task in (Task.DEPTH, Task.NORMALS))
    assert distance([depth], [normals]) > 0.05, "or else the prompt makes no difference"


def test_a_stream_runs_through_compiled_graphs(
    source: Checkpoint, filled: EngineCache, plain: GenceptionCheckpoint
) -> None:
    network, _ = load(source, filled.folder, Compiler())
    rng = np.random.default_rng(0)
    tasks = frozenset({Task.SEGMENTATION})
    runners = [GenceptionRunner(each, PROFILE, stride=9) for each in (network, plain)]
    for i in range(9):
        frame = Frame(rng.integers(0, 256, (30, 40, 3), np.uint8), i + 1, "camera")
        seen, wanted = (runner.push(frame, tasks) for runner in runners)
    assert len(seen) == len(wanted) == 9
    for one, other in zip(seen, wanted, strict=True):
        assert one.mask is not None and other.mask is not None
        assert np.abs(one.mask - other.mask).mean() < TOLERANCE


def test_a_second_start_builds_nothing_and_reads_no_weights(
    source: Checkpoint, filled: EngineCache
) -> None:
    compiler = Compiler()
    _, loader = load(source, filled.folder, compiler)
    assert (compiler.built, loader.count) == ([], 0)


def test_another_gpu_release_or_checkpoint_builds_anew(
    source: Checkpoint, filled: EngineCache, tmp_path: Path
) -> None:
    keys = set()
    newer = Compiler()
    newer.release = "11.1"
    for compiler in (Compiler(), Compiler(gpu="Fake GPU, SM 1.0"), newer):
        recipe = genception_engine.Recipe(
            source.card, source.sha256(), 0, PROFILE, compiler, Reference(Loader(tmp_path), PROFILE)
        )
        keys.add(recipe.key("transformer"))
        keys.add(recipe.key("encoder_first"))
    assert len(keys) == 6
    assert sum(filled.problem(key) is None for key in keys) == 2
    assert {"diffusers", "torch", "tensorrt", "cuda", "thfm_ros sources"} <= {
        name for name, _ in next(iter(keys)).versions
    }


@pytest.mark.parametrize("fails", [True, False], ids=["does not compile", "says something else"])
@pytest.mark.parametrize("part", ["transformer", "decoder"])
def test_a_part_that_fails_is_run_by_pytorch_and_everybody_is_told(
    source: Checkpoint,
    tmp_path: Path,
    plain: GenceptionCheckpoint,
    caplog: pytest.LogCaptureFixture,
    part: str,
    fails: bool,
) -> None:
    spoilt = genception_engine.PARTS[part][-1]
    network, _ = load(source, tmp_path, Compiler([spoilt], fails=fails))
    why = "no converter for aten.conv3d" if fails else f"{spoilt!r} differs from PyTorch by"
    assert f"(PyTorch instead of tensorrt for the {part}: " in network.description
    assert why in network.description and "details" not in network.description
    assert f"PyTorch runs the {part}" in caplog.text
    assert max(differences(network, plain, PROFILE).values()) < TOLERANCE
    kept = {entry.key.profile for entry in EngineCache(tmp_path).entries()}
    assert f"{PROFILE.name}-{spoilt}" not in kept


def test_when_nothing_compiles_it_is_an_error(source: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"aten\.conv3d"):
        load(source, tmp_path, Compiler(sorted(GRAPHS), fails=True))


def test_who_only_wants_tokens_pays_for_no_decoder(source: Checkpoint, tmp_path: Path) -> None:
    compiler = Compiler()
    network, _ = load(source, tmp_path, compiler, dense=False)
    assert set(compiler.built) == {"encoder_first", "encoder_later", "transformer"}
    with torch.inference_mode():
        latents = network.encode(torch.zeros(PROFILE.video_shape, dtype=torch.bfloat16))
        answer = network.answer(latents, Task.DEPTH)
        assert answer.tokens2.shape == (1, PROFILE.frames, 33, 3)
        with pytest.raises(EngineError, match="no decoder: load it with dense=True"):
            network.decode(latents)


def test_a_disk_that_is_too_small_is_told_before_the_weights_are_read(
    source: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EngineCache, "_free", lambda _: 1000)
    loader = Loader(source.path)
    with pytest.raises(CacheError, match=r"needs about 64 MB .* 0 MB are free"):
        load_compiled(source, EngineCache(tmp_path), Compiler(), loader)
    assert loader.count == 0


def test_nothing_counts_as_close_that_is_not_a_number_or_of_another_shape() -> None:
    one, zero = torch.ones(4), torch.zeros(4)
    assert distance([one], [one]) == 0 == distance([zero], [zero])
    assert distance([one], [zero]) == 2
    for wrong in (one * torch.nan, torch.ones(3)):
        assert distance([one, wrong], [one, one]) == float("inf")


def test_the_exported_graphs_say_what_pytorch_says_after_saving_and_loading(
    source: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch_tensorrt", PretendedTorchTensorRt({}))
    reference_ = Reference(Loader(source.path), PROFILE)
    compiler = TorchTensorRt(tmp_path)
    for graph in ("transformer", "decoder_later"):  # all of them: test_genception_parts.py
        inputs, path = reference_.inputs[graph], tmp_path / f"{graph}.pt2"
        compiler.build(reference_.module(graph), inputs, path)
        with torch.inference_mode():
            got = compiler.load(path)(*inputs)
            assert distance(list(got), list(reference_.module(graph)(*inputs))) < TOLERANCE / 3
