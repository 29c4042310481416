# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""nano on the GPU by PyTorch: eager, as a CUDA graph, and compiled."""

import contextlib
import copy
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import fx

from thfm_ros.engine.torch_engine import TorchEngine
from thfm_ros.gpu_report.device import Device, Run, durations_s, open_device, percentiles_ms
from thfm_ros.gpu_report.nano_step import (
    BatchedStep,
    Nano,
    first_inputs,
    folded_step,
    load_nano,
)
from thfm_ros.gpu_report.numerics import (
    PRECISIONS,
    BatchStepper,
    EngineStepper,
    Reference,
    Stepper,
    crops_of,
)
from thfm_ros.gpu_report.step_context import StepContext, reason_of

CROPS, FEW_CROPS = (1, 4, 16), (1, 2)
"""Crops per step; the latter on a stand-in."""

TIMED_S = 1.0
"""At most, per variant."""

ONE_BY_ONE = "PyTorch, the node's engine, crops one after another"
EAGER, GRAPHS = "PyTorch eager", "CUDA graph"
COMPILED, COMPILED_GRAPH = "torch.compile", "torch.compile, CUDA graph"


class Variant(NamedTuple):
    """What is measured: a row of the table."""

    runtime: str
    precision: str
    crops: int


class NanoBench:
    """Measures variants of one runtime, and records each as soon as it is known."""

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.crops = FEW_CROPS if context.stand_in else CROPS
        self.device: Device = open_device(stand_in=context.stand_in)
        self.nano: Nano = load_nano(stand_in=context.stand_in)
        self._reference = Reference(self.nano)
        self._image = next(iter(self._reference.clip))

    def measure(self, variant: Variant, build: Callable[[], Stepper]) -> None:
        """Build, compare with the CPU, and time; whatever fails is recorded as a reason.

        Raises:
            RuntimeError: the GPU does not work any more after a failure.
        """
        begin = time.perf_counter()
        record: dict[str, Any] = variant._asdict()
        try:
            with convolutions_in(variant.precision):
                stepper = build()
                record |= self._reference.compare(stepper, variant.crops, variant.precision)
                record["build_s"] = round(time.perf_counter() - begin, 2)
                record |= self._time(stepper, variant.crops)
        except Exception as error:
            record["failed"] = reason_of(error)
        self.context.record(record)
        self.device.synchronize()

    def _time(self, stepper: Stepper, crops: int) -> dict[str, float]:
        images = crops_of(self._image, crops)
        state: Any = None

        def step() -> None:
            nonlocal state
            _, state = stepper.step(images, state)

        most_s = 0.02 if self.context.stand_in else TIMED_S
        warm_up = 1 if self.context.stand_in else 10
        return percentiles_ms(durations_s(step, self.device, most_s=most_s, warm_up=warm_up))

    def stepper(self, run: Run, precision: str) -> Stepper:
        """A run on tensors, as a stepper."""
        return BatchStepper(run, self.nano, self.device, PRECISIONS[precision][0])

    def folded(self, crops: int, precision: str) -> fx.GraphModule:
        """`nano_step.folded_step` on the device; exported once for all steps of a report."""
        path = self.context.work / f"step{crops}.pt"
        if not path.exists():
            part = path.with_suffix(".part")
            torch.save(folded_step(self.nano, crops), part)
            part.replace(path)
        module: fx.GraphModule = torch.load(path, weights_only=False)
        return module.to(self.device.torch_device, PRECISIONS[precision][0])

    def captured(self, run: Run, crops: int, precision: str) -> Run:
        """A run as a CUDA graph."""
        example = first_inputs(self.nano, crops, self.device, PRECISIONS[precision][0])
        with torch.no_grad():
            return self.device.captured(run, example)

    def onnx_path(self, crops: int, precision: str) -> Path:
        """Where the step's ONNX file lies."""
        return self.context.work / f"step{crops}_{precision}.onnx"


@contextlib.contextmanager
def convolutions_in(precision: str) -> Iterator[None]:
    """Switch TF32 in convolutions on, PyTorch's default, or off for "float32"."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def eager(context: StepContext) -> None:
    """The node's engine, the network's step for all crops at once, and the same in float16."""
    bench = NanoBench(context)
    network = copy.deepcopy(bench.nano.network)
    where = str(bench.device.torch_device)
    engine = TorchEngine(network, bench.nano.card, device=where, threads=torch.get_num_threads())
    step = BatchedStep(network)

    def one_by_one(crops: int) -> None:
        bench.measure(Variant(ONE_BY_ONE, "tf32", crops), lambda: EngineStepper(engine))

    one_by_one(1)
    for crops in bench.crops:
        bench.measure(Variant(EAGER, "tf32", crops), lambda: bench.stepper(step, "tf32"))
    bench.measure(Variant(EAGER, "float32", 1), lambda: bench.stepper(step, "float32"))
    for crops in bench.crops[1:]:
        one_by_one(crops)
    for crops in bench.crops:
        bench.measure(
            Variant(EAGER, "float16", crops),
            lambda crops=crops: bench.stepper(bench.folded(crops, "float16"), "float16"),  # type: ignore[misc]
        )


def cuda_graphs(context: StepContext) -> None:
    """The step's several hundred kernels, launched at once."""
    bench = NanoBench(context)

    def build(variant: Variant) -> Stepper:
        run = bench.folded(variant.crops, variant.precision)
        return bench.stepper(bench.captured(run, *variant[2:0:-1]), variant.precision)

    for precision in ("float16", "tf32"):
        for crops in bench.crops:
            variant = Variant(GRAPHS, precision, crops)
            bench.measure(variant, lambda variant=variant: build(variant))  # type: ignore[misc]


def compiled(context: StepContext) -> None:
    """Kernels that torch.compile fuses; and those as a CUDA graph."""
    bench = NanoBench(context)
    backend = "eager" if context.stand_in else "inductor"
    few, *_, many = bench.crops
    between = [("float16", crops) for crops in bench.crops[1:-1]]
    for precision, crops in (("float16", few), ("float16", many), ("tf32", few), *between):
        runs: list[Run] = []

        def build(
            precision: str = precision, crops: int = crops, runs: list[Run] = runs
        ) -> Stepper:
            torch._dynamo.reset()
            module = bench.folded(crops, precision)
            runs.append(torch.compile(module, backend=backend, dynamic=False))
            return bench.stepper(runs[0], precision)

        def build_graph(
            precision: str = precision, crops: int = crops, runs: list[Run] = runs
        ) -> Stepper:
            return bench.stepper(bench.captured(runs[0], crops, precision), precision)

        bench.measure(Variant(COMPILED, precision, crops), build)
        if runs:
            bench.measure(Variant(COMPILED_GRAPH, precision, crops), build_graph)
