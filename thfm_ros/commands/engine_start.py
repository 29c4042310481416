# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm engine start`: the time from the start of a process to its first result.

Each start is a process of its own (this module), which loads the pipeline and perceives one grey
image: what the node does, without ROS.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from thfm_ros.config import Config, EngineConfig
from thfm_ros.contract import Clip, Frame, Intrinsics, PerceptionError, Task

MAX_STARTS = 5
_WIDTH, _HEIGHT = 640, 480


@dataclass(frozen=True)
class Start:
    """Cost of one process until its first result."""

    wall_s: float
    cpu_s: float
    max_rss_mb: float


def start_report(config: EngineConfig, repeats: int) -> str:
    """Starts with an empty cache and with a filled one; the caller's cache is not changed."""
    with tempfile.TemporaryDirectory(prefix="thfm_start_") as folder:
        cold, warm = [], []
        for number in range(repeats):
            own = replace(config, cache_dir=str(Path(folder, str(number))))
            cold.append(measure_start(own))
            warm.append(measure_start(own))
    lines = [f"process to first result, {repeats} starts each, load {os.getloadavg()[0]:.1f}"]
    for name, starts in (("empty cache", cold), ("filled cache", warm)):
        wall, cpu, rss = (
            statistics.median(getattr(each, field) for each in starts)
            for field in ("wall_s", "cpu_s", "max_rss_mb")
        )
        lines.append(f"{name:12}  {wall:6.2f} s  {cpu:6.2f} CPU s  {rss:5.0f} MB")
    return "\n".join(lines)


def measure_start(config: EngineConfig) -> Start:
    """Run one process until its first result.

    Raises:
        PerceptionError: the process fails; the text has its last line.
    """
    begin = time.monotonic()
    arguments = [sys.executable, "-m", "thfm_ros.commands.engine_start"]
    arguments.append(json.dumps(asdict(config)))
    # Not the current folder: a source tree there would hide the installed package.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT, cwd="/")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            lines = output.read().decode(errors="replace").strip().splitlines()
            raise PerceptionError(f"The process failed: {lines[-1] if lines else status}")
    cpu_s = usage.ru_utime + usage.ru_stime
    return Start(time.monotonic() - begin, cpu_s, usage.ru_maxrss / 1024)


def first_result(config: EngineConfig) -> None:
    """Load the pipeline and perceive one image.

    Raises:
        PerceptionError: the engine was replaced by PyTorch, or cannot be used.
    """
    from thfm_ros.loading import load_pipeline

    pipeline = load_pipeline(Config(engine=config), live=True)
    if pipeline.engine.fallback_reason:
        raise PerceptionError(pipeline.engine.fallback_reason)
    camera = Intrinsics(500.0, 500.0, _WIDTH / 2, _HEIGHT / 2, _WIDTH, _HEIGHT)
    grey = np.full((_HEIGHT, _WIDTH, 3), 128, np.uint8)
    tasks = frozenset(pipeline.engine.card.tasks) & frozenset(Task)
    pipeline.step(Clip((Frame(grey, 1, "camera", camera),), 1), tasks)


if __name__ == "__main__":
    first_result(EngineConfig(**json.loads(sys.argv[1])))
