# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Every step of a GPU report, with tiny networks on the CPU in place of the GPU."""

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_compiler import FakeCompiler
from torch import Tensor, nn

from thfm_ros.gpu_report import (
    device,
    machine,
    nano_engine,
    nano_onnx,
    nano_runtimes,
    nano_step,
    numerics,
    training_speed,
)
from thfm_ros.gpu_report.markdown import markdown
from thfm_ros.gpu_report.nano_runtimes import NanoBench, Variant
from thfm_ros.gpu_report.plan import STEPS
from thfm_ros.gpu_report.step_context import NotAvailableError, StepContext
from thfm_ros.model.network import NanoNetwork

Record = dict[str, Any]
STAND_IN = device.open_device(stand_in=True)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exported steps are shared by all tests, as they are by the steps of a report."""
    return tmp_path_factory.mktemp("work")


class Runner:
    """Runs steps, and keeps what they record."""

    def __init__(self, work: Path, folder: Path) -> None:
        self.work, self.path = work, folder / "records.jsonl"

    def context(self, limit_s: float = 86_400.0) -> StepContext:  # no step stops for want of time
        return StepContext(stand_in=True, work=self.work, limit_s=limit_s, records=self.path)

    def records(self) -> list[Record]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def run(self, name: str) -> list[Record]:
        target = next(step.target for step in STEPS if step.name == name)
        module, _, function = target.partition(":")
        getattr(importlib.import_module(module), function)(self.context())
        return self.records()


@pytest.fixture
def runner(work: Path, tmp_path: Path) -> Runner:
    return Runner(work, tmp_path)


class AnyPrecision(nn.Module):
    """Stands for `nano_step.folded_step`, whose export takes seconds: computes in float32."""

    def __init__(self, network: NanoNetwork, dtype: torch.dtype) -> None:
        super().__init__()
        self.step, self.dtype = nano_step.BatchedStep(network), dtype

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(each.to(self.dtype) for each in self.step(*(x.float() for x in inputs)))


@pytest.fixture
def no_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is exported to PyTorch's graphs or compiled; one crop per step."""

    def folded(self: NanoBench, crops: int, precision: str) -> nn.Module:
        return AnyPrecision(self.nano.network, numerics.PRECISIONS[precision][0])

    def compile(module: nn.Module, *, backend: str, dynamic: bool) -> nn.Module:
        assert (backend, dynamic) == ("eager", False)
        return module

    monkeypatch.setattr(nano_runtimes, "FEW_CROPS", (1, 1))
    monkeypatch.setattr(NanoBench, "folded", folded)
    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(nano_engine, "ExportCompiler", lambda device: FakeCompiler())


def test_the_machine_is_described_without_its_name_or_user(runner: Runner) -> None:
    import getpass
    import socket

    found, speed = runner.run("machine")
    assert found["gpu"]["name"] == "stand-in (CPU)"
    assert found["machine"]["cores"] > 0 and found["machine"]["packages"]["numpy"]
    assert set(speed["ceilings"]) == {"copy_gb_s", "bfloat16_tflop_s", "float32_tflop_s"}
    text = runner.path.read_text()
    assert socket.gethostname() not in text and f"/{getpass.getuser()}/" not in text


def test_without_a_gpu_the_first_step_says_so(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    path = tmp_path / "records"
    machine.run(StepContext(stand_in=False, work=work, limit_s=9, records=path))
    assert "finds no NVIDIA GPU" in json.loads(path.read_text())["no_gpu"]


def test_nvidia_smi_that_is_missing_or_hangs_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.nvidia_smi() == "nvidia-smi is not installed"
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    assert "exit status 9" in str(machine.nvidia_smi())
    program.write_text("#!/bin/sh\necho '580.1, 700 W, 1980 MHz, 3201 MHz, P0, 31'\n")
    found = machine.nvidia_smi()
    assert isinstance(found, dict) and found["driver_version"] == "580.1"


@pytest.mark.parametrize("name", ["eager", "cuda_graphs", "compile"])
def test_pytorch_runtimes_are_measured_and_agree(
    runner: Runner, no_compilers: None, name: str
) -> None:
    records = runner.run(name)
    assert records and all("failed" not in record for record in records)
    for record in records:
        assert record["agrees"] and record["largest"] <= record["tolerance"], record
        assert 0 < record["p50_ms"] <= record["p99_ms"]
        assert {"heatmaps", "positions", "mask", "relative_depth_m"} <= set(record["errors"])
    assert {"tf32", "float16"} <= {record["precision"] for record in records}


def test_onnx_runtime_is_measured_and_agrees(
    runner: Runner, no_compilers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    monkeypatch.setattr(nano_onnx, "ORDER", dict.fromkeys(nano_onnx.ORDER, ("tf32",)))
    runner.run("onnxruntime_cuda")
    records = runner.run("onnxruntime_tensorrt")
    assert {record["runtime"] for record in records} == {
        *("ONNX Runtime, CUDA", "ONNX Runtime, TensorRT")
    }
    assert all(record["agrees"] and record["p50_ms"] > 0 for record in records), records


def test_a_provider_that_onnx_runtime_lacks_is_named(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["Other"])
    with pytest.raises(NotAvailableError, match=r"no CUDAExecutionProvider, only Other: pip"):
        nano_onnx.cuda(runner.context())


def test_the_nodes_engine_is_built_and_its_life_in_the_cache_is_told(
    runner: Runner, no_compilers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nano_engine, "TRIED", ("float32",))
    built, *others = runner.run("torch_tensorrt")
    assert built["agrees"] and built["precision"] == "float32" and others
    life = {record["step"]: record for record in runner.run("engine_cache") if "step" in record}
    assert list(life) == ["build", "load", "run", "foreign GPU"]
    assert life["build"]["was_there"], "the engine of the step before"
    refused = life["foreign GPU"]
    assert refused["agrees"] and refused["renamed"] == "its manifest describes another engine"


def test_training_is_measured_by_growing_batches(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cv2")
    assert [record["batch"] for record in runner.run("training")] == [1, 2]
    runner.path.unlink()

    def measure(trainer: object, batch: Any, where: object) -> Record:
        if len(batch.image) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return {"step_ms": 0.1, "images_per_s": 10.0}

    monkeypatch.setattr(training_speed, "measure", measure)
    monkeypatch.setattr(training_speed, "STAND_IN_BATCHES", (1, 2, 4))
    one, two = runner.run("training")
    assert one["images_per_s"] == 10.0
    assert two["does_not_fit"].startswith("out of memory: CUDA out of memory")


def test_crops_do_not_get_mixed_up(work: Path) -> None:
    nano = nano_step.load_nano(stand_in=True)
    reference = numerics.Reference(nano)
    step = nano_step.BatchedStep(nano.network)
    stepper = numerics.BatchStepper(step, nano, STAND_IN, torch.float32)
    assert reference.compare(stepper, 3, "float32")["agrees"]

    def mixed(images: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        return tuple(step(images.flip(0), *state))

    wrong = numerics.BatchStepper(mixed, nano, STAND_IN, torch.float32)
    assert reference.compare(wrong, 1, "float32")["agrees"]
    assert not reference.compare(wrong, 2, "float32")["agrees"]


def test_nan_is_a_difference(work: Path) -> None:
    nano = nano_step.load_nano(stand_in=True)
    step = nano_step.BatchedStep(nano.network)

    def broken(images: Tensor, *state: Tensor) -> list[Tensor]:
        first, *others = step(images, *state)
        return [first * torch.nan, *others]

    stepper = numerics.BatchStepper(broken, nano, STAND_IN, torch.float32)
    found = numerics.Reference(nano).compare(stepper, 1, "float32")
    assert not found["agrees"] and found["errors"]["heatmaps"]["max"] == np.inf
    assert found["errors"]["positions"]["max"] < 1e-4


def test_a_runtime_that_fails_is_a_reason_and_the_next_is_measured(runner: Runner) -> None:
    bench = NanoBench(runner.context())

    def fail() -> numerics.Stepper:
        raise RuntimeError("no kernel image is available\nand more")

    step = nano_step.BatchedStep(bench.nano.network)
    bench.measure(Variant("one", "tf32", 1), fail)
    bench.measure(Variant("another", "tf32", 1), lambda: bench.stepper(step, "tf32"))
    one, another = runner.records()
    assert one["failed"] == "RuntimeError: no kernel image is available"
    assert another["agrees"]


def test_a_gpu_that_no_longer_works_ends_the_step(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = NanoBench(runner.context())

    def lost(self: device.Device) -> None:
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(device.Device, "synchronize", lost)
    step = nano_step.BatchedStep(bench.nano.network)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        bench.measure(Variant("one", "tf32", 1), lambda: bench.stepper(step, "tf32"))
    assert "illegal memory access" in runner.records()[0]["failed"]


def test_folding_computes_once_what_depends_on_no_input() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            table = torch.arange(3, dtype=torch.float32).cos() * self.weight
            return x * table, x + x.new_zeros(3)

    x = torch.randn(3)
    module = torch.export.export(Table(), (x,), strict=False).module()
    assert isinstance(module, torch.fx.GraphModule)
    folded = nano_step.folded(module)
    calls = [node.target for node in folded.graph.nodes if node.op == "call_function"]
    assert len(calls) == 3, calls
    assert torch.equal(folded(x)[0], Table()(x)[0])
    assert folded.half()(x.half())[0].dtype == torch.float16


def test_the_page_shows_what_was_measured_and_what_was_not() -> None:
    errors = {"heatmaps": {"max": 0.1, "median": "inf"}}
    rows = [
        {"runtime": "A", "precision": "tf32", "crops": 1, "p50_ms": 2.5, "p99_ms": 3.5}
        | {"agrees": True, "largest": 0.001, "tolerance": 0.02, "build_s": 1.0, "errors": errors},
        {"runtime": "A", "precision": "tf32", "crops": 4, "failed": "no | memory"},
    ]
    empty = {"title": "", "status": "done", "reason": None, "seconds": 1.0, "limit_s": 2.0}
    values = {
        **{"thfm_ros": "0", "created": "today", "complete": False, "seconds": None},
        "steps": {
            "machine": {**empty, "records": [{"gpu": {"name": "A GPU"}}], "log": []},
            "eager": {**empty, "records": rows, "log": ["```", "a line"]},
        },
    }
    page = markdown(values)
    row = "| A | tf32 | 2.5, 3.5 | failed: no / memory | not measured | 1.0 | 0.001 | 0.02 | yes |"
    assert row in page
    assert "| A | tf32 | 0.1, inf |" in page and "not finished" in page and "A GPU" in page
    training = page.split("## Training of nano")[1].split("##")[0]
    assert "not measured" in training


@pytest.mark.slow
def test_the_whole_report_on_a_stand_in(tmp_path: Path) -> None:
    """With the real exporters and compilers, each step in its process; a minute."""
    command = [sys.executable, "-m", "thfm_ros.commands.main", "benchmark", "gpu", "--stand-in"]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    values = json.loads((tmp_path / "gpu.json").read_text())
    assert values["complete"] and values["stand_in"]
    for name, step in values["steps"].items():
        needs = next(each.needs for each in STEPS if each.name == name)
        absent = any(importlib.util.find_spec(package) is None for package in needs)
        assert step["status"] == ("skipped" if absent else "done"), (name, step["reason"])
        assert step["records"] or absent, name
