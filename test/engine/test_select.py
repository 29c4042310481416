"""Which engine is chosen, what happens when it does not work, and what a user is told."""

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
from thfm_ros.engine.select import choose_kind, load_engine
from thfm_ros.model.card import CardError, ModelCard
from thfm_ros.model.weights import CheckpointError


@pytest.fixture
def config(checkpoint: Path, cache: EngineCache, exported: object) -> EngineConfig:
    """The small checkpoint, and the cache where its graphs already are."""
    return EngineConfig(checkpoint=str(checkpoint), cache_dir=str(cache.folder.parent))


def works(engine: Engine) -> bool:
    raw, _ = engine.step(np.zeros((64, 64, 3), np.uint8), None, dense=True)
    return raw.dense is not None


def test_without_a_gpu_auto_is_onnx(config: EngineConfig) -> None:
    engine = load_engine(config)
    assert engine.description.startswith("ONNX Runtime")
    assert engine.description.endswith("CPU, 1 thread")
    assert works(engine)


@pytest.mark.parametrize(("installed", "kind"), [(True, "tensorrt"), (False, "torch")])
def test_with_a_gpu_auto_is_tensorrt_or_else_pytorch(
    monkeypatch: pytest.MonkeyPatch, installed: bool, kind: str
) -> None:
    monkeypatch.setattr(select, "has_gpu", lambda: True)
    monkeypatch.setattr(
        "thfm_ros.engine.select.find_spec", lambda _: object() if installed else None
    )
    assert choose_kind("auto") == kind
    assert choose_kind("onnx") == "onnx", "what was asked for is not second-guessed"


def test_pytorch_is_there_for_who_asks_for_it(config: EngineConfig) -> None:
    threads = torch.get_num_threads()
    engine = load_engine(dataclasses.replace(config, kind="torch", threads=threads))
    assert engine.description.startswith(f"PyTorch {torch.__version__.partition('+')[0]}, ")
    assert works(engine)


def test_tensorrt_without_a_gpu_is_pytorch_with_the_reason(
    config: EngineConfig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(select, "has_gpu", lambda: False)
    engine = load_engine(dataclasses.replace(config, kind="tensorrt"))
    assert "instead of tensorrt: TensorRT needs an NVIDIA GPU" in engine.description
    assert "Set engine.kind to auto." in caplog.text
    assert works(engine)


def breaks(*_: object, **__: object) -> None:
    raise RuntimeError("Unsupported operator\nand a page of details")


def differs(*_: object, **__: object) -> float:
    return 0.5


@pytest.mark.parametrize(
    ("module", "name", "instead", "reason"),
    [
        (export, "_export", breaks, "instead of onnx: Unsupported operator)"),
        (verify, "difference", differs, "differs from PyTorch by 5.0e-01, more than 1e-04.)"),
    ],
    ids=["does not export", "says something else"],
)
def test_a_graph_that_fails_is_replaced_by_pytorch_and_everybody_is_told(
    config: EngineConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    module: object,
    name: str,
    instead: Callable[..., object],
    reason: str,
) -> None:
    monkeypatch.setattr(module, name, instead)
    engine = load_engine(dataclasses.replace(config, cache_dir=str(tmp_path)))
    assert engine.description.startswith("PyTorch")
    assert engine.description.endswith(reason)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert not list(tmp_path.rglob("*.onnx"))
    assert works(engine)


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(
    config: EngineConfig, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    engine = load_engine(dataclasses.replace(config, cache_dir=str(tmp_path / "file")))
    assert "cannot be written" in engine.description
    assert "engine.cache_dir" in engine.description
    assert works(engine)


SECOND_START = """
import sys
from thfm_ros.config import EngineConfig
from thfm_ros.engine.select import load_engine
engine = load_engine(EngineConfig(checkpoint=sys.argv[1], cache_dir=sys.argv[2], kind="onnx"))
print("torch" in sys.modules, engine.description)
"""


def test_an_engine_from_the_cache_does_without_pytorch(config: EngineConfig) -> None:
    arguments = [sys.executable, "-c", SECOND_START, config.checkpoint, config.cache_dir]
    said = subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=60)
    assert said.stdout.startswith("False ONNX Runtime")


def test_the_shipped_checkpoint_is_found_by_its_name(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_module, "SHIPPED", checkpoint.parent)
    assert find_checkpoint("small").path == checkpoint


def test_a_name_that_does_not_exist_is_answered_with_those_that_do(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_module, "SHIPPED", checkpoint.parent)
    with pytest.raises(EngineError, match=r"'smal' is neither .* \(small\) nor a file .* engine\."):
        load_engine(EngineConfig(checkpoint="smal"))


def cut(path: Path, card: ModelCard) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path, card: ModelCard) -> None:
    path.write_bytes(b"")


def text(path: Path, card: ModelCard) -> None:
    path.write_text("<html>404 Not Found</html>" * 20)


def without_card(path: Path, card: ModelCard) -> None:
    save_file(load_file(path), path)


def with_card(path: Path, card: ModelCard) -> None:
    save_file(load_file(path), path, metadata={"thfm_card": card.to_json()})


def of_the_future(path: Path, card: ModelCard) -> None:
    with_card(path, dataclasses.replace(card, version=99))


def of_another_family(path: Path, card: ModelCard) -> None:
    with_card(path, dataclasses.replace(card, family="genception"))


def of_another_size(path: Path, card: ModelCard) -> None:
    with_card(path, dataclasses.replace(card, network={**card.network, "depth": 3}))


def a_folder(path: Path, card: ModelCard) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "kind", "says"),
    [
        (cut, CheckpointError, r"truncated: copy or download it again"),
        (empty, CheckpointError, r"not a whole safetensors file"),
        (text, CheckpointError, r"not a whole safetensors file"),
        (without_card, CardError, r"holds no readable model card.*thfm import"),
        (of_the_future, CardError, r"has format version 99; this release reads 1"),
        (of_another_family, EngineError, r"of the genception family"),
        (of_another_size, CheckpointError, r"do not fit its own model card"),
        (a_folder, EngineError, r"neither a checkpoint that ships .* nor a file"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_checkpoint_that_cannot_be_used_is_explained(
    checkpoint: Path,
    tmp_path: Path,
    damage: Callable[[Path, ModelCard], None],
    kind: type[PerceptionError],
    says: str,
) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(checkpoint.read_bytes())
    damage(path, find_checkpoint(str(checkpoint)).card)
    with pytest.raises(kind, match=says) as error:
        load_engine(EngineConfig(checkpoint=str(path), cache_dir=str(tmp_path)))
    assert str(path) in str(error.value), "which file?"
