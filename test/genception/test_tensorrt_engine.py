# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Engines of the full-size network, with a fake compiler that keeps the graphs unchanged.

Compilation by a real TensorRT has not been tested by this project: no GPU was available.
"""

import sys
from pathlib import Path

import genception_fixtures as reference
import numpy as np
import pytest
import torch
from fake_compiler import FakeTorchTensorRt
from genception_compiler import ENGINE_NAMES, PROFILE, Compiler

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.contract import Frame, Task
from thfm_ros.engine.base import EngineError
from thfm_ros.engine.cache import CacheError, EngineCache
from thfm_ros.engine.checkpoint import Checkpoint, find_checkpoint
from thfm_ros.engine.tensorrt_compiler import TorchTensorRt
from thfm_ros.genception import tensorrt_engine
from thfm_ros.genception.checkpoint import GenceptionCheckpoint, load_checkpoint
from thfm_ros.genception.runner import GenceptionRunner
from thfm_ros.genception.tensorrt_engine import CompiledNetwork, load_compiled
from thfm_ros.genception.torch_reference import PRECISION, TorchReference
from thfm_ros.genception.verify import TOLERANCE, differences, relative_l2_error


class Loader:
    """Loads the weights and counts the calls."""

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
def pytorch_network(path: Path) -> GenceptionCheckpoint:
    return load_checkpoint(path, dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, source: Checkpoint) -> EngineCache:
    """A cache with all engines. Tests must not change it."""
    cache = EngineCache(tmp_path_factory.mktemp("filled"))
    load_compiled(source, cache, Compiler(), Loader(source.path))
    return cache


def load(
    source: Checkpoint, folder: Path, compiler: Compiler, *, dense: bool = True
) -> tuple[CompiledNetwork, Loader]:
    loader = Loader(source.path)
    return load_compiled(source, EngineCache(folder), compiler, loader, dense=dense), loader


def test_compiled_network_equals_pytorch(
    source: Checkpoint, tmp_path: Path, pytorch_network: GenceptionCheckpoint
) -> None:
    compiler = Compiler()
    network, _ = load(source, tmp_path, compiler)
    assert set(compiler.built) == ENGINE_NAMES and len(compiler.built) == len(ENGINE_NAMES)
    assert network.description == "TensorRT 11.0, Fake GPU, SM 0.0, bfloat16, 48x32x9"
    errors = differences(network, pytorch_network, PROFILE)
    assert max(errors.values()) < TOLERANCE / 3, errors


def test_one_engine_serves_the_prompts_of_all_tasks(
    source: Checkpoint, filled: EngineCache, pytorch_network: GenceptionCheckpoint
) -> None:
    network, _ = load(source, filled.folder, Compiler())
    torch.manual_seed(0)
    latents = torch.randn(PROFILE.latent_shape(), dtype=torch.bfloat16)
    with torch.inference_mode():
        outputs = {task: network.predict(latents, task) for task in network.card.tasks}
        for task, output in outputs.items():  # not overwritten by the next task's call
            assert relative_l2_error(output, pytorch_network.predict(latents, task)) < TOLERANCE
    depth, normals = (outputs[task].video_latents for task in (Task.DEPTH, Task.NORMALS))
    assert relative_l2_error([depth], [normals]) > 0.05, "the prompt has no effect"


def test_stream_with_the_compiled_network(
    source: Checkpoint, filled: EngineCache, pytorch_network: GenceptionCheckpoint
) -> None:
    network, _ = load(source, filled.folder, Compiler())
    rng = np.random.default_rng(0)
    tasks = frozenset({Task.SEGMENTATION})
    runners = [GenceptionRunner(each, PROFILE, stride=9) for each in (network, pytorch_network)]
    for i in range(9):
        frame = Frame(rng.integers(0, 256, (30, 40, 3), np.uint8), i + 1, "camera")
        perceptions, expected = (runner.push(frame, tasks) for runner in runners)
    assert len(perceptions) == len(expected) == 9
    for perception, reference_ in zip(perceptions, expected, strict=True):
        assert perception.mask is not None and reference_.mask is not None
        assert np.abs(perception.mask - reference_.mask).mean() < TOLERANCE


def test_second_load_builds_nothing_and_reads_no_weights(
    source: Checkpoint, filled: EngineCache
) -> None:
    compiler = Compiler()
    _, loader = load(source, filled.folder, compiler)
    assert (compiler.built, loader.count) == ([], 0)


def test_another_gpu_or_tensorrt_version_has_another_key(
    source: Checkpoint, filled: EngineCache, tmp_path: Path
) -> None:
    keys = set()
    newer = Compiler()
    newer.release = "11.1"
    for compiler in (Compiler(), Compiler(gpu="Fake GPU, SM 1.0"), newer):
        builder = tensorrt_engine.EngineBuilder(
            source.card,
            source.sha256(),
            0,
            PROFILE,
            compiler,
            TorchReference(Loader(tmp_path), PROFILE),
        )
        keys.add(builder.key("transformer"))
        keys.add(builder.key("encoder_first"))
    assert len(keys) == 6
    assert sum(filled.problem(key) is None for key in keys) == 2
    assert {"diffusers", "torch", "tensorrt", "cuda", "thfm_ros sources"} <= {
        name for name, _ in next(iter(keys)).versions
    }


@pytest.mark.parametrize("fails", [True, False], ids=["does not compile", "computes wrong values"])
@pytest.mark.parametrize("subgraph", ["transformer", "decoder"])
def test_pytorch_runs_a_failed_subgraph_with_a_reported_reason(
    source: Checkpoint,
    tmp_path: Path,
    pytorch_network: GenceptionCheckpoint,
    caplog: pytest.LogCaptureFixture,
    subgraph: str,
    fails: bool,
) -> None:
    wrong_engine = tensorrt_engine.ENGINES_OF_SUBGRAPH[subgraph][-1]
    network, _ = load(source, tmp_path, Compiler([wrong_engine], fails=fails))
    reason = (
        "no converter for aten.conv3d" if fails else f"{wrong_engine!r} differs from PyTorch by"
    )
    assert f"(PyTorch instead of tensorrt for the {subgraph}: " in network.description
    assert reason in network.description and "details" not in network.description
    assert network.fallback_reason is not None
    assert network.fallback_reason.startswith(f"{subgraph}: ") and reason in network.fallback_reason
    assert f"PyTorch runs the {subgraph}" in caplog.text
    assert max(differences(network, pytorch_network, PROFILE).values()) < TOLERANCE
    cached = {entry.key.profile for entry in EngineCache(tmp_path).entries()}
    assert f"{PROFILE.name}-{wrong_engine}" not in cached


def test_error_if_nothing_compiles(source: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"aten\.conv3d"):
        load(source, tmp_path, Compiler(sorted(ENGINE_NAMES), fails=True))


def test_decoder_is_not_built_if_only_tokens_are_needed(source: Checkpoint, tmp_path: Path) -> None:
    compiler = Compiler()
    network, _ = load(source, tmp_path, compiler, dense=False)
    assert set(compiler.built) == {"encoder_first", "encoder_later", "transformer"}
    with torch.inference_mode():
        latents = network.encode(torch.zeros(PROFILE.video_shape, dtype=torch.bfloat16))
        outputs = network.predict(latents, Task.DEPTH)
        assert outputs.tokens2.shape == (1, PROFILE.frames, 33, 3)
        with pytest.raises(EngineError, match="no decoder: load it with dense=True"):
            network.decode(latents)


def test_full_disk_is_reported_before_the_weights_are_read(
    source: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EngineCache, "_free", lambda _: 1000)
    loader = Loader(source.path)
    with pytest.raises(CacheError, match=r"needs about 64 MB .* 0 MB are free"):
        load_compiled(source, EngineCache(tmp_path), Compiler(), loader)
    assert loader.count == 0


def test_nan_and_wrong_shape_have_infinite_error() -> None:
    ones, zeros = torch.ones(4), torch.zeros(4)
    assert relative_l2_error([ones], [ones]) == 0 == relative_l2_error([zeros], [zeros])
    assert relative_l2_error([ones], [zeros]) == 2
    for wrong in (ones * torch.nan, torch.ones(3)):
        assert relative_l2_error([ones, wrong], [ones, ones]) == float("inf")


def test_exported_graphs_equal_pytorch_after_saving_and_loading(
    source: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch_tensorrt", FakeTorchTensorRt({}))
    torch_reference = TorchReference(Loader(source.path), PROFILE)
    compiler = TorchTensorRt(tmp_path)
    for name in ("transformer", "decoder_later"):  # the others are in test_subgraphs.py
        module, inputs = torch_reference.module(name), torch_reference.inputs[name]
        path = tmp_path / f"{name}.pt2"
        compiler.build(module, inputs, path)
        with torch.inference_mode():
            outputs = compiler.load(path)(*inputs)
            assert relative_l2_error(list(outputs), list(module(*inputs))) < TOLERANCE / 3
