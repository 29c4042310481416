# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The GPU that is measured, or the CPU that stands in for it in tests."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Run = Callable[..., Sequence[Tensor]]

WARM_UP = 5
MOST_STEPS = 400
FEWEST_STEPS = 3


@dataclass(frozen=True)
class Device:
    """Where networks run. A stand-in has a CPU's speed and no limit of memory of its own."""

    torch_device: torch.device
    stand_in: bool
    memory_bytes: int

    def synchronize(self) -> None:
        """Wait until everything has been computed; raises the error of a kernel that failed."""
        if not self.stand_in:
            torch.cuda.synchronize()

    def reset_peak(self) -> None:
        """Begin to look for the largest use of memory."""
        if not self.stand_in:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_bytes(self) -> int | None:
        """The largest memory of tensors since `reset_peak`; None on a stand-in."""
        return None if self.stand_in else torch.cuda.max_memory_allocated()

    def captured(self, run: Run, example: Sequence[Tensor]) -> Run:
        """``run`` as a CUDA graph. Every call overwrites the outputs of the one before."""
        if self.stand_in:
            return run
        inputs = [each.clone() for each in example]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                run(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = run(*inputs)

        def replay(*values: Tensor) -> Sequence[Tensor]:
            for ours, theirs in zip(inputs, values, strict=True):
                ours.copy_(theirs)
            graph.replay()
            return list(outputs)

        return replay


def open_device(*, stand_in: bool) -> Device:
    """The GPU, or the stand-in.

    Raises:
        RuntimeError: PyTorch finds no GPU.
    """
    if stand_in:
        return Device(torch.device("cpu"), True, 64 << 30)
    properties = torch.cuda.get_device_properties(0)
    return Device(torch.device("cuda", 0), False, properties.total_memory)


def durations_s(
    call: Callable[[], object],
    device: Device,
    *,
    most_s: float,
    warm_up: int = WARM_UP,
    fewest: int = FEWEST_STEPS,
) -> list[float]:
    """Wall time of repeated calls, each until the device has finished.

    Args:
        call: what is measured.
        device: where it computes.
        most_s: no new call begins after that time, once there are ``fewest``.
        warm_up: calls before, which are not counted.
        fewest: calls, however long they take.
    """
    for _ in range(warm_up):
        call()
    device.synchronize()
    found: list[float] = []
    end = time.perf_counter() + most_s
    while len(found) < fewest or (len(found) < MOST_STEPS and time.perf_counter() < end):
        begin = time.perf_counter()
        call()
        device.synchronize()
        found.append(time.perf_counter() - begin)
    return found


def percentiles_ms(durations: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile in milliseconds, and of how many."""
    p50, p99 = np.percentile(np.asarray(durations) * 1e3, [50, 99])
    return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3), "of": len(durations)}
