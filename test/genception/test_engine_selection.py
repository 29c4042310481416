# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Engine selection of the full-size network and `thfm engine`, with a pretended GPU."""

import functools
import logging
from collections.abc import Callable
from pathlib import Path

import genception_fixtures as reference
import pytest
import torch
from formula_weights import fill
from genception_compiler import ENGINE_NAMES, PROFILE, Compiler
from safetensors.torch import save_file

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.config import EngineConfig
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.genception import engine_selection, tensorrt_engine
from thfm_ros.genception.checkpoint import GenceptionCheckpoint, load_checkpoint
from thfm_ros.genception.tiny_vae import TinyVae
from thfm_ros.genception.verify import TOLERANCE, differences


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reference.write_checkpoint(tmp_path_factory.mktemp("release"), PROFILE)


def pretend_gpu(monkeypatch: pytest.MonkeyPatch, compiler: Compiler) -> None:
    """Pretend a GPU and torch_tensorrt; the weights are loaded on the CPU nevertheless."""
    monkeypatch.setattr(engine_selection, "has_gpu", lambda: True)
    monkeypatch.setattr("thfm_ros.engine.select.has_gpu", lambda: True)
    monkeypatch.setattr("thfm_ros.engine.select.find_spec", lambda _: object())
    monkeypatch.setattr("thfm_ros.engine.tensorrt_compiler.TorchTensorRt", lambda folder: compiler)

    @functools.wraps(load_checkpoint)
    def on_the_cpu(
        path: Path, *, dtype: torch.dtype, device: str, tiny_vae: Path | None
    ) -> GenceptionCheckpoint:
        assert (dtype, device) == (torch.bfloat16, "cuda")
        return load_checkpoint(path, dtype=dtype, tiny_vae=tiny_vae)

    monkeypatch.setattr(engine_selection, "load_checkpoint", on_the_cpu)


Thfm = Callable[..., tuple[int, str]]


@pytest.fixture
def thfm(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Thfm:
    from thfm_ros.commands.main import main

    def run(*words: str) -> tuple[int, str]:
        options = ["--checkpoint", str(path), "--cache-dir", str(tmp_path)]
        code = main(["engine", *words, *options])
        return code, capsys.readouterr().out

    return run


def test_engine_command_builds_lists_verifies_and_clears(
    thfm: Thfm, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = Compiler()
    pretend_gpu(monkeypatch, compiler)
    code, output = thfm("build")
    assert (code, set(compiler.built)) == (0, ENGINE_NAMES), output
    assert "genception_tiny: TensorRT 11.0" in output
    code, output = thfm("list")
    assert code == 0 and output.count(" intact") == len(ENGINE_NAMES) + 1  # and the prompts
    code, output = thfm("verify", "--time", "--repeats", "1")
    assert code == 0, output
    rows = [line.split()[0] for line in output.splitlines()[3:6]]
    assert rows == list(tensorrt_engine.ENGINES_OF_SUBGRAPH)
    code, output = thfm("clear")
    assert code == 0 and thfm("list")[1].count(" intact") == 0


def test_build_command_fails_if_pytorch_replaces_a_subgraph(
    thfm: Thfm, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_gpu(monkeypatch, Compiler(["decoder_later"], fails=True))
    code, output = thfm("build")
    assert code == 1 and "instead of tensorrt for the decoder: no converter" in output


def test_pytorch_runs_everything_if_nothing_compiles(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pretend_gpu(monkeypatch, Compiler(sorted(ENGINE_NAMES), fails=True))
    config = EngineConfig(checkpoint=str(path), cache_dir=str(tmp_path))
    with caplog.at_level(logging.WARNING):
        network = engine_selection.load_genception(find_checkpoint(config.checkpoint), config)
    assert isinstance(network, GenceptionCheckpoint) and network.dtype == torch.bfloat16
    assert network.fallback_reason == "no converter for aten.conv3d"
    assert "(instead of tensorrt: no converter for aten.conv3d)" in network.description
    assert "PyTorch runs the network instead" in caplog.text


def test_tiny_vae_is_compiled_whole_and_its_weights_are_part_of_the_key(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, compiler = tmp_path / "taew2_1.safetensors", Compiler()
    save_file(fill(TinyVae()), file)
    pretend_gpu(monkeypatch, compiler)
    config = EngineConfig(checkpoint=str(path), tiny_codec=str(file), cache_dir=str(tmp_path))
    network = engine_selection.load_genception(find_checkpoint(config.checkpoint), config)
    assert network.description.endswith("bfloat16, 48x32x9, tiny VAE")
    assert network.fallback_reason is None
    assert sorted(compiler.built) == ["decoder_first", "encoder_first", "transformer"], (
        "encoder and decoder once each, without a feature cache"
    )
    reference_network = load_checkpoint(path, dtype=torch.bfloat16, tiny_vae=file)
    assert max(differences(network, reference_network, PROFILE).values()) < TOLERANCE
    engine_selection.load_genception(find_checkpoint(config.checkpoint), config)
    assert len(compiler.built) == 3, "from the cache"
    save_file({name: 2 * value for name, value in fill(TinyVae()).items()}, file)
    engine_selection.load_genception(find_checkpoint(config.checkpoint), config)
    assert len(compiler.built) == 6, "other weights of the tiny VAE"
