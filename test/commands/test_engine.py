# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm engine` as a user types it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from small_checkpoint import write_small_checkpoint

from thfm_ros.commands.main import main

Thfm = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_checkpoint(tmp_path_factory.mktemp("checkpoint"))


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
    assert sorted(graphs) == ["64x64-body", "64x64-dense", "96x80-detect"]

    code, output = thfm("verify", "--time", "--repeats", "2")
    assert code == 0 and "The outputs agree with those of PyTorch." in output
    rows = re.findall(r"(\d+x\d+) +(\w+) +\d\.\de-\d\d +\d+\.\d", output)
    assert rows == [("64x64", "all"), ("64x64", "bodies"), ("96x80", "detections")]

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
