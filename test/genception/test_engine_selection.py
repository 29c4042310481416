"""How the full-size network is chosen and its engines are commanded, with a pretended GPU."""

import functools
import logging
from collections.abc import Callable
from pathlib import Path

import genception_fixtures as reference
import pytest
import torch
from formula_weights import fill
from genception_compiler import GRAPHS, PROFILE, Compiler
from safetensors.torch import save_file

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.config import EngineConfig
from thfm_ros.genception import engine_selection as genception_select
from thfm_ros.genception import tensorrt_engine as genception_engine
from thfm_ros.genception.checkpoint import GenceptionCheckpoint, load_checkpoint
from thfm_ros.genception.tiny_vae import TinyCodec
from thfm_ros.genception.verify import TOLERANCE, differences


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reference.write_checkpoint(tmp_path_factory.mktemp("release"), PROFILE)


def of_pretended_gpu(monkeypatch: pytest.MonkeyPatch, compiler: Compiler) -> None:
    """The machine has a GPU and torch_tensorrt; weights are loaded on the CPU all the same."""
    monkeypatch.setattr(genception_select, "has_gpu", lambda: True)
    monkeypatch.setattr("thfm_ros.engine.select.has_gpu", lambda: True)
    monkeypatch.setattr("thfm_ros.engine.select.find_spec", lambda _: object())
    monkeypatch.setattr("thfm_ros.engine.tensorrt_compiler.TorchTensorRt", lambda folder: compiler)

    @functools.wraps(load_checkpoint)
    def on_the_cpu(
        path: Path, *, dtype: torch.dtype, device: str, tiny_codec: Path | None
    ) -> GenceptionCheckpoint:
        assert (dtype, device) == (torch.bfloat16, "cuda")
        return load_checkpoint(path, dtype=dtype, tiny_codec=tiny_codec)

    monkeypatch.setattr(genception_select, "load_checkpoint", on_the_cpu)


Thfm = Callable[..., tuple[int, str]]


@pytest.fixture
def thfm(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Thfm:
    from thfm_ros.commands.main import main

    def run(*words: str) -> tuple[int, str]:
        options = ["--checkpoint", str(path), "--cache-dir", str(tmp_path)]
        code = main(["engine", *words, *options])
        return code, capsys.readouterr().out

    return run


def test_the_command_builds_lists_verifies_and_clears(
    thfm: Thfm, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = Compiler()
    of_pretended_gpu(monkeypatch, compiler)
    code, said = thfm("build")
    assert (code, set(compiler.built)) == (0, GRAPHS), said
    assert "genception_tiny: TensorRT 11.0" in said
    code, said = thfm("list")
    assert code == 0 and said.count(" sound") == len(GRAPHS) + 1  # and the prompts
    code, said = thfm("verify", "--time", "--repeats", "1")
    assert code == 0 and "It says what PyTorch says." in said
    assert [line.split()[0] for line in said.splitlines()[3:6]] == list(genception_engine.PARTS)
    code, said = thfm("clear")
    assert code == 0 and thfm("list")[1].count(" sound") == 0


def test_the_command_is_no_success_when_pytorch_had_to_step_in(
    thfm: Thfm, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_pretended_gpu(monkeypatch, Compiler(["decoder_later"], fails=True))
    code, said = thfm("build")
    assert code == 1 and "instead of tensorrt for the decoder: no converter" in said


def test_when_nothing_compiles_pytorch_on_the_gpu_runs_it_with_the_reason(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    of_pretended_gpu(monkeypatch, Compiler(sorted(GRAPHS), fails=True))
    config = EngineConfig(checkpoint=str(path), cache_dir=str(tmp_path))
    with caplog.at_level(logging.WARNING):
        network = genception_select.load_genception(config)
    assert isinstance(network, GenceptionCheckpoint) and network.dtype == torch.bfloat16
    assert "(instead of tensorrt: no converter for aten.conv3d)" in network.description
    assert "PyTorch runs the network instead" in caplog.text


def test_the_small_codec_is_compiled_whole_and_its_file_counts(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, compiler = tmp_path / "taew2_1.safetensors", Compiler()
    save_file(fill(TinyCodec()), file)
    of_pretended_gpu(monkeypatch, compiler)
    config = EngineConfig(checkpoint=str(path), tiny_codec=str(file), cache_dir=str(tmp_path))
    network = genception_select.load_genception(config)
    assert network.description.endswith("bfloat16, 48x32x9, tiny codec")
    assert sorted(compiler.built) == ["decoder_first", "encoder_first", "transformer"], (
        "each half once, without memory"
    )
    plain = load_checkpoint(path, dtype=torch.bfloat16, tiny_codec=file)
    assert max(differences(network, plain, PROFILE).values()) < TOLERANCE
    genception_select.load_genception(config)
    assert len(compiler.built) == 3, "from the cache"
    save_file({name: 2 * value for name, value in fill(TinyCodec()).items()}, file)
    genception_select.load_genception(config)
    assert len(compiler.built) == 6, "another codec"
