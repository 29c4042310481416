# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm engine` as a user types it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from small_checkpoint import write_small_checkpoint

from thfm_ros.commands.main import main
from thfm_ros.engine.int8 import INT8_7_BITS

Thfm = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(autouse=True)
def no_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether int8 is faster, and so used by default, depends on how busy the machine is."""
    monkeypatch.setattr("thfm_ros.engine.int8.int8_precision", lambda: INT8_7_BITS)


@pytest.fixture
def thfm(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Thfm:
    """Run `thfm engine ...` with the small checkpoint; its exit code and output."""

    def thfm(*arguments: str) -> tuple[int, str]:
        options = ["--checkpoint", str(checkpoint), "--cache-dir", str(tmp_path)]
        code = main(["engine", *arguments, *options])
        return code, capsys.readouterr().out

    return thfm


def test_build_list_verify_and_clear(thfm: Thfm, tmp_path: Path) -> None:
    code, output = thfm("build")
    assert code == 0 and "small: ONNX Runtime" in output

    code, output = thfm("list")
    assert code == 0
    graphs = re.findall(r"onnx-small-(\d+x\d+-\w+) +float32 .* intact", output)
    tall = ["48x80-body", "48x80-dense"]
    assert sorted(graphs) == [*tall, "64x64-body", "64x64-dense", "96x80-detect"]

    code, output = thfm("verify", "--time", "--repeats", "2")
    assert code == 0 and "The outputs agree with those of PyTorch." in output
    rows = re.findall(r"(\d+x\d+) +(\w+) +\d\.\de-\d\d +\d+\.\d", output)
    steps = [(size, what) for size in ("64x64", "48x80") for what in ("all", "bodies")]
    assert rows == [*steps, ("96x80", "detections")]

    damaged = next(tmp_path.rglob("*.onnx"))
    damaged.write_bytes(b"")
    code, output = thfm("list")
    assert code == 1 and "0 bytes instead of" in output

    code, output = thfm("clear")
    assert code == 0 and "MB removed" in output
    assert not list(tmp_path.rglob("*.onnx"))


def test_a_replaced_engine_is_not_a_success(thfm: Thfm) -> None:
    code, output = thfm("build", "--kind", "tensorrt")
    assert code == 1
    assert "instead of tensorrt" in output


def test_a_missing_checkpoint_is_one_line_and_code_2(caplog: pytest.LogCaptureFixture) -> None:
    assert main(["engine", "build", "--checkpoint", "nonsense"]) == 2
    assert "'nonsense' is neither a checkpoint that ships" in caplog.text


def test_all_engines_of_all_shipped_checkpoints_are_built(
    thfm: Thfm, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thfm_ros.engine.checkpoint.SHIPPED", checkpoint.parent)
    code, output = thfm("build", "--all")
    assert code == 0 and f"cache: {tmp_path / 'engines'}" in output
    assert len(list(tmp_path.rglob("*.onnx"))) == 5


def test_a_cache_that_an_image_carries_serves_another_processor_read_only(
    thfm: Thfm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert thfm("build")[0] == 0
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr("thfm_ros.engine.onnx_engine.processor", lambda: "another one")
    with caplog.at_level("INFO"):
        code, output = thfm("build")
    assert code == 0 and "small: ONNX Runtime" in output
    assert "not on this processor: `thfm engine verify`" in caplog.text
    assert sorted(tmp_path.rglob("*")) == before
    damaged = next(tmp_path.rglob("*-detect-*.onnx"))
    damaged.write_bytes(b"")
    assert thfm("build")[0] == 0  # that graph is exported for this processor
    assert len(list(tmp_path.rglob("*.onnx"))) == 6


def test_the_time_to_the_first_result_is_measured_without_and_with_a_cache(
    thfm: Thfm, tmp_path: Path
) -> None:
    code, output = thfm("start", "--repeats", "1", "--kind", "torch")
    assert code == 0 and not list(tmp_path.rglob("*.onnx"))
    rows = re.findall(r"(empty|filled) cache +(\d+\.\d+) s +(\d+\.\d+) CPU s +(\d+) MB", output)
    assert [name for name, *_ in rows] == ["empty", "filled"]
    assert all(float(number) > 0 for _, *numbers in rows for number in numbers)


def test_a_start_that_fails_is_one_line_and_code_2(caplog: pytest.LogCaptureFixture) -> None:
    arguments = ["engine", "start", "--repeats", "1", "--kind", "tensorrt"]
    assert main(arguments) == 2
    assert "TensorRT needs an NVIDIA GPU" in caplog.text
