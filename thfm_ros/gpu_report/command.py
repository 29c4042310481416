# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The command `thfm benchmark gpu`: runs all steps, and writes the report after each of them."""

import argparse
import contextlib
import functools
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from thfm_ros.contract import PerceptionError
from thfm_ros.gpu_report.plan import (
    BUDGET_S,
    FIRST_S,
    MACHINE,
    STEPS,
    Step,
    missing_packages,
    time_limit,
)
from thfm_ros.gpu_report.report import Report
from thfm_ros.gpu_report.supervisor import StepResult, run_step

NO_GPU = 3
"""Exit code without an NVIDIA GPU."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `thfm benchmark gpu`."""
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for gpu.json and gpu.md"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[step.name for step in STEPS],
        metavar="STEP",
        help="run this step only; can be repeated: " + ", ".join(step.name for step in STEPS),
    )
    parser.add_argument(
        "--budget-s",
        type=_seconds,
        default=BUDGET_S,
        metavar="SECONDS",
        help="wall time of the whole report (default: %(default).0f)",
    )
    parser.add_argument(
        "--stand-in",
        action="store_true",
        help="test this program: tiny networks on the CPU in place of the GPU. Nothing is "
        "measured, gpu.json says so, and gpu.md is not written",
    )


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no time budget: give seconds, such as 300")
    return value


def run(args: argparse.Namespace) -> int:
    """Write a report.

    Returns:
        0 if everything that is installed ran and agrees with the CPU; 1 if a part failed, which
        the report names; 3 without an NVIDIA GPU.

    Raises:
        PerceptionError: the folder cannot be written, or the GPU cannot be asked.
    """
    return write_report(args.out, STEPS, args.budget_s, only=args.only, stand_in=args.stand_in)


def write_report(
    folder: Path,
    steps: Sequence[Step],
    budget_s: float,
    *,
    only: Sequence[str] | None = None,
    stand_in: bool = False,
) -> int:
    """Run the steps; the first one must find the GPU. See `run`."""
    begin = time.monotonic()
    report = Report(folder, steps, budget_s=budget_s, stand_in=stand_in)

    def left_s() -> float:
        return budget_s - (time.monotonic() - begin)

    with _ended_by_sigterm(), tempfile.TemporaryDirectory(prefix="thfm_gpu_") as work:
        run_one = functools.partial(run_step, work=Path(work), stand_in=stand_in)
        machine = report.results[steps[0].name]
        limit_s = min(max(steps[0].limit_s, FIRST_S), budget_s)
        run_one(steps[0], machine, limit_s=limit_s, changed=lambda: None)
        if problem := _no_gpu(machine):
            sys.stderr.write(f"{problem}\n")
            return NO_GPU
        report.begin()
        runnable = _runnable(steps[1:], report, only)
        for number, step in enumerate(runnable):
            result = report.results[step.name]
            allowed_s = time_limit(runnable, number, left_s())
            if allowed_s is None:
                result.status, result.reason = "skipped", "earlier steps used up the time budget"
            else:
                run_one(step, result, limit_s=allowed_s, changed=report.save)
            report.save()
            sys.stdout.write(f"{step.name}: {result.status}{_because(result)}\n")
            sys.stdout.flush()
        report.finish(time.monotonic() - begin)
    sys.stdout.write(f"{' and '.join(str(path) for path in report.files())} written\n")
    return 1 if report.failures() else 0


def _runnable(steps: Sequence[Step], report: Report, only: Sequence[str] | None) -> list[Step]:
    """The steps that can run here; the others are skipped with their reasons."""
    runnable = []
    for step in steps:
        result = report.results[step.name]
        chosen = not only or step.name in only
        result.reason = missing_packages(step) if chosen else "not chosen with --only"
        if result.reason is None:
            runnable.append(step)
        else:
            result.status = "skipped"
            if chosen:
                sys.stdout.write(f"{step.name}: skipped{_because(result)}\n")
    report.save()
    return runnable


def _no_gpu(machine: StepResult) -> str | None:
    """One line that says why there is no GPU to measure; None if there is one.

    Raises:
        PerceptionError: the step that looks for it failed.
    """
    for record in machine.records:
        if "no_gpu" in record:
            return str(record["no_gpu"])
        if "gpu" in record:
            return None
    raise PerceptionError(
        f"The GPU could not be examined: {machine.reason or 'no answer'}. This needs python3 with "
        "torch, numpy, jaxtyping and safetensors, and the folder of thfm_ros in PYTHONPATH."
    )


def _because(result: StepResult) -> str:
    return f" ({result.reason})" if result.reason else f" in {result.seconds:.0f} s"


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM as an exception, so that the running step's process is killed, too."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


assert MACHINE is STEPS[0], "the first step finds the GPU"
