# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Runs a step in a process of its own, with a time limit, and says how it ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thfm_ros.gpu_report.plan import Step
from thfm_ros.gpu_report.step_context import NOT_AVAILABLE, REASON

POLL_S = 0.05
KILL_WAIT_S = 3.0
"""A process inside the GPU's driver may survive SIGKILL for a while; it is not waited for."""

LOG_LINES = 40


@dataclass
class StepResult:
    """How a step ended, and all that it had recorded by then.

    ``status`` is "not started", "running", "done", "failed" or "skipped"; the last two have a
    ``reason``, and failed ones the last lines of the log.
    """

    title: str
    status: str = "not started"
    reason: str | None = None
    seconds: float = 0.0
    limit_s: float = 0.0
    records: list[dict[str, Any]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)


def run_step(
    step: Step,
    result: StepResult,
    *,
    limit_s: float,
    work: Path,
    stand_in: bool,
    changed: Callable[[], None],
) -> None:
    """Run a step to its end, or kill it at its limit; fill in ``result``.

    Args:
        step: to run.
        result: updated while the step runs.
        limit_s: wall time.
        work: folder for temporary files.
        stand_in: see `step_context.StepContext`.
        changed: called whenever ``result`` has more records.
    """
    records, log = work / f"{step.name}.jsonl", work / f"{step.name}.log"
    result.status, result.limit_s = "running", limit_s
    begin = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            _command(step, records, work, limit_s, stand_in),
            env=_environment(work, stand_in),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its own children are killed with it
        )
    try:
        ended = _wait(process, begin + limit_s, records, result, changed)
    finally:
        _kill_group(process)
    result.seconds = round(time.monotonic() - begin, 2)
    result.records = _read(records)
    absent = _taken(result, NOT_AVAILABLE)
    result.reason = _reason(process.returncode if ended else None, limit_s, _taken(result, REASON))
    result.status = "failed" if result.reason else "done"
    if absent and not result.reason:
        result.status, result.reason = "skipped", absent
    if result.status == "failed":
        lines = log.read_text("utf-8", "replace").splitlines()
        result.log = [without_home(line) for line in lines[-LOG_LINES:]]


def _command(step: Step, records: Path, work: Path, limit_s: float, stand_in: bool) -> list[str]:
    command = [sys.executable, "-m", "thfm_ros.gpu_report.worker", step.target]
    command += ["--records", str(records), "--work", str(work), "--limit-s", str(limit_s)]
    return [*command, *["--stand-in"] * stand_in]


def _environment(work: Path, stand_in: bool) -> dict[str, str]:
    """Caches of compilers lie in the work folder: every report begins cold, and leaves nothing."""
    caches = {
        "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor"),
        "TRITON_CACHE_DIR": str(work / "triton"),
    }
    # Several threads wait for each other by spinning, which is slow on a busy computer.
    threads = {"OMP_NUM_THREADS": "1"} if stand_in else {}
    log = {"PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **caches, **threads, **log}


def _wait(
    process: subprocess.Popen[bytes],
    end: float,
    records: Path,
    result: StepResult,
    changed: Callable[[], None],
) -> bool:
    """Whether the process ended before its limit."""
    known = 0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_S)
            return True
        if time.monotonic() > end:
            return False
        size = records.stat().st_size if records.exists() else 0
        if size != known:
            known, result.records = size, _read(records)
            changed()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(KILL_WAIT_S)


def _read(records: Path) -> list[dict[str, Any]]:
    """All whole lines; the last one may be cut off where the process was killed."""
    found = []
    if records.exists():
        for line in records.read_text("utf-8", "replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
    return found


def _taken(result: StepResult, key: str) -> str | None:
    """The last text that was recorded under ``key``; those records are removed."""
    texts = [without_home(str(record[key])) for record in result.records if key in record]
    result.records = [record for record in result.records if key not in record]
    return texts[-1] if texts else None


def _reason(code: int | None, limit_s: float, given: str | None) -> str | None:
    """Why a step failed; None if it did not."""
    if code is None:
        return f"killed at its time limit of {limit_s:.0f} s"
    if code < 0:
        hint = " (the kernel may have run out of memory)" if code == -signal.SIGKILL else ""
        return f"ended by {signal.Signals(-code).name}{hint}"
    return (given or f"exit code {code}") if code else None


def without_home(text: str) -> str:
    """Reports are sent to others: the user's name, as part of paths, is left out."""
    home = os.path.expanduser("~")
    return text.replace(home, "~") if len(home) > 1 else text
