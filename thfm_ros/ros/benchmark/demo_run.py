# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm demo` as a new user runs it: how many images of its film have a result."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from thfm_ros.ros.benchmark.subprocesses import BenchmarkError

_TIMEOUT_S = 180.0


def measure_demo(folder: Path) -> dict[str, Any]:
    """Run the demo with its overlay; its summary: images, results, latency in ms.

    Raises:
        BenchmarkError: it fails, or takes too long.
    """
    out, log = folder / "demo", folder / "demo.log"
    arguments = [sys.executable, "-m", "thfm_ros.commands.main", "demo", "--out", str(out)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments, stdout=output, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True
        )
        try:
            code = process.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise BenchmarkError(f"The demo took longer than {_TIMEOUT_S:.0f} s.") from None
    if code or not (out / "summary.json").exists():
        raise BenchmarkError(f"The demo failed: {log.read_text(errors='replace')[-800:]}")
    summary = json.loads((out / "summary.json").read_text())
    names = ("input_images", "results", "latency_ms")
    return {name: summary[name] for name in names}
