# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Selection of the engine, the fallback to PyTorch, and errors of checkpoints."""

import dataclasses
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from thfm_ros.config import EngineConfig
from thfm_ros.contract import PerceptionError
from thfm_ros.engine import checkpoint as checkpoint_module
from thfm_ros.engine import export, select, verify
from thfm_ros.engine.base import Engine, EngineError
from thfm_ros.engine.cache import EngineCache
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.engine.int8 import INT8_7_BITS
from thfm_ros.engine.select import choose_kind, load_engine
from thfm_ros.model.card import CardError, ModelCard
from thfm_ros.model.weights import CheckpointError


@pytest.fixture
def config(checkpoint: Path, cache: EngineCache, exported: object) -> EngineConfig:
    """The small checkpoint, and the cache that contains its graphs."""
    return EngineConfig(checkpoint=str(checkpoint), cache_dir=str(cache.folder.parent))


def load(config: EngineConfig) -> Engine:
    return load_engine(find_checkpoint(config.checkpoint), config)


def works(engine: Engine) -> bool:
    raw, _ = engine.step(np.zeros((64, 64, 3), np.uint8), None, dense=True)
    found = engine.detect(np.zeros((80, 96, 3), np.uint8))
    return raw.dense is not None and found.centres.shape == (10, 12)


@pytest.fixture(autouse=True)
def no_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether int8 is faster, and so used by default, depends on how busy the machine is."""
    monkeypatch.setattr("thfm_ros.engine.int8.int8_precision", lambda: INT8_7_BITS)


def test_without_a_gpu_auto_selects_onnx(config: EngineConfig) -> None:
    engine = load(config)
    assert engine.description.startswith("ONNX Runtime")
    assert engine.description.endswith("CPU, 1 thread")
    assert engine.fallback_reason is None
    assert works(engine)


@pytest.mark.parametrize(("installed", "kind"), [(True, "tensorrt"), (False, "torch")])
def test_with_a_gpu_auto_selects_tensorrt_or_else_pytorch(
    monkeypatch: pytest.MonkeyPatch, installed: bool, kind: str
) -> None:
    monkeypatch.setattr(select, "has_gpu", lambda: True)
    monkeypatch.setattr(
        "thfm_ros.engine.select.find_spec", lambda _: object() if installed else None
    )
    assert choose_kind("auto") == kind
    assert choose_kind("onnx") == "onnx", "an explicit kind is not changed"


def test_pytorch_can_be_requested(config: EngineConfig) -> None:
    threads = torch.get_num_threads()
    engine = load(dataclasses.replace(config, kind="torch", threads=threads))
    assert engine.description.startswith(f"PyTorch {torch.__version__.partition('+')[0]}, ")
    assert works(engine)


def test_tensorrt_without_a_gpu_falls_back_to_pytorch(
    config: EngineConfig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(select, "has_gpu", lambda: False)
    engine = load(dataclasses.replace(config, kind="tensorrt"))
    assert "instead of tensorrt: TensorRT needs an NVIDIA GPU" in engine.description
    assert (engine.fallback_reason or "").startswith("TensorRT needs an NVIDIA GPU")
    assert "Set engine.kind to auto." in caplog.text
    assert works(engine)


def fail(*_: object, **__: object) -> None:
    raise RuntimeError("Unsupported operator\nand a page of details")


def differ(*_: object, **__: object) -> float:
    return 0.5


@pytest.mark.parametrize(
    ("module", "name", "replacement", "reason"),
    [
        (export, "_export", fail, "Unsupported operator"),
        (verify, "part_difference", differ, "differs from PyTorch by 5.0e-01, more than 1e-04."),
    ],
    ids=["export fails", "outputs differ"],
)
@pytest.mark.fault("engine", "a graph cannot be built, or gives other values")
def test_if_a_graph_fails_pytorch_replaces_it_with_a_warning(
    config: EngineConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    module: object,
    name: str,
    replacement: Callable[..., object],
    reason: str,
) -> None:
    monkeypatch.setattr(module, name, replacement)
    engine = load(dataclasses.replace(config, cache_dir=str(tmp_path)))
    assert engine.description.startswith("PyTorch")
    assert (engine.fallback_reason or "").endswith(reason)
    assert engine.description.endswith(f" (instead of onnx: {engine.fallback_reason})")
    # Before it, that int8 is not used for the same reason.
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert sum("PyTorch runs the network instead" in each for each in caplog.messages) == 1
    assert not list(tmp_path.rglob("*.onnx"))
    assert works(engine)


@pytest.mark.fault("cache", "the cache cannot be written")
def test_if_the_cache_cannot_be_written_pytorch_runs_the_network(
    config: EngineConfig, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    engine = load(dataclasses.replace(config, cache_dir=str(tmp_path / "file")))
    assert engine.fallback_reason is not None
    assert "cannot be written" in engine.fallback_reason
    assert "engine.cache_dir" in engine.fallback_reason
    assert works(engine)


SECOND_START = """
import sys
from thfm_ros.config import EngineConfig
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.engine.select import load_engine
config = EngineConfig(checkpoint=sys.argv[1], cache_dir=sys.argv[2], kind="onnx")
engine = load_engine(find_checkpoint(config.checkpoint), config)
print("torch" in sys.modules, engine.description)
"""


def test_an_engine_from_the_cache_does_not_import_pytorch(config: EngineConfig) -> None:
    arguments = [sys.executable, "-c", SECOND_START, config.checkpoint, config.cache_dir]
    result = subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=300)
    assert result.stdout.startswith("False ONNX Runtime")


def test_the_shipped_checkpoint_is_found_by_its_name(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_module, "SHIPPED", checkpoint.parent)
    assert find_checkpoint("small").path == checkpoint


def test_for_an_unknown_name_the_error_lists_the_shipped_checkpoints(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_module, "SHIPPED", checkpoint.parent)
    with pytest.raises(EngineError, match=r"'smal' is neither .* \(small\) nor a file .* engine\."):
        load(EngineConfig(checkpoint="smal"))


def truncate(path: Path, card: ModelCard) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def make_empty(path: Path, card: ModelCard) -> None:
    path.write_bytes(b"")


def make_text(path: Path, card: ModelCard) -> None:
    path.write_text("<html>404 Not Found</html>" * 20)


def remove_card(path: Path, card: ModelCard) -> None:
    save_file(load_file(path), path)


def replace_card(path: Path, card: ModelCard) -> None:
    save_file(load_file(path), path, metadata={"thfm_card": card.to_json()})


def make_newer(path: Path, card: ModelCard) -> None:
    replace_card(path, dataclasses.replace(card, version=99))


def change_family(path: Path, card: ModelCard) -> None:
    replace_card(path, dataclasses.replace(card, family="genception"))


def change_size(path: Path, card: ModelCard) -> None:
    replace_card(path, dataclasses.replace(card, network={**card.network, "depth": 3}))


def make_folder(path: Path, card: ModelCard) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "error_type", "message"),
    [
        (truncate, CheckpointError, r"truncated: copy or download it again"),
        (make_empty, CheckpointError, r"not a whole safetensors file"),
        (make_text, CheckpointError, r"not a whole safetensors file"),
        (remove_card, CardError, r"holds no readable model card.*thfm import"),
        (make_newer, CardError, r"has format version 99; this release reads 2"),
        (change_family, EngineError, r"of the genception family"),
        (change_size, CheckpointError, r"do not fit its own model card"),
        (make_folder, EngineError, r"neither a checkpoint that ships .* nor a file"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_error_for_an_unusable_checkpoint_names_the_cause_and_the_file(
    checkpoint: Path,
    tmp_path: Path,
    damage: Callable[[Path, ModelCard], None],
    error_type: type[PerceptionError],
    message: str,
) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(checkpoint.read_bytes())
    damage(path, find_checkpoint(str(checkpoint)).card)
    with pytest.raises(error_type, match=message) as error:
        load(EngineConfig(checkpoint=str(path), cache_dir=str(tmp_path)))
    assert str(path) in str(error.value)
