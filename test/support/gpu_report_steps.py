# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Steps of a GPU report that end well, badly, or not at all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from thfm_ros.gpu_report.step_context import NotAvailableError, StepContext

RESULT = {"value": 1.5}


def gpu(context: StepContext) -> None:
    context.record({"gpu": {"name": "a GPU of a test"}})


def no_gpu(context: StepContext) -> None:
    context.record({"no_gpu": "PyTorch 0.0 finds no NVIDIA GPU."})


def succeed(context: StepContext) -> None:
    context.record(RESULT)
    context.record({"error": float("nan"), "errors": [float("inf")]})


def hang(context: StepContext) -> None:
    """Two processes that would run on for minutes, the second one started by the first."""
    context.record(RESULT)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    (Path(os.environ["THFM_TEST_FOLDER"]) / "child").write_text(str(child.pid))
    time.sleep(300)


def die(context: StepContext) -> None:
    context.record(RESULT)
    os.kill(os.getpid(), signal.SIGSEGV)


def die_while_writing(context: StepContext) -> None:
    context.record(RESULT)
    with context._records.open("a") as file:
        file.write('{"value": 2')
    os._exit(7)


class OutOfMemoryError(RuntimeError):
    """Named as PyTorch's."""


def out_of_memory(context: StepContext) -> None:
    context.record(RESULT)
    raise OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB.\nAnd more lines.")


def fail(context: StepContext) -> None:
    home = os.path.expanduser("~")
    raise ValueError(f"{home}/private/file is odd")


def absent(context: StepContext) -> None:
    raise NotAvailableError("this machine has no such provider")


def differ(context: StepContext) -> None:
    context.record({"runtime": "a runtime", "precision": "float32", "crops": 1, "agrees": False})
