# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Workers for tests of pools: no network, and they die on demand."""

import os
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from thfm_ros.archive.outcome import DONE, Outcome
from thfm_ros.archive.process_pool import run_in_processes
from thfm_ros.archive.units import Unit


@dataclass
class FragileWorker:
    """Writes the name of each unit's worker into ``folder``.

    The source says what happens: "killed once" and "killed always" end the process by SIGKILL,
    "slow" waits until the file "go" exists.
    """

    folder: Path

    def run(self, unit: Unit) -> Outcome:
        runs = self.folder / unit.key
        before = runs.read_text().split() if runs.exists() else []
        runs.write_text(" ".join([*before, str(os.getpid())]))
        if unit.source == "killed always" or (unit.source == "killed once" and not before):
            os.kill(os.getpid(), signal.SIGKILL)
        while unit.source == "slow" and not (self.folder / "go").exists():
            time.sleep(0.02)
        return Outcome(unit.key, unit.source, unit.topic, DONE, frames=unit.images)


def a_unit(key: str, source: str = "good", images: int = 1) -> Unit:
    return Unit(key, source, source, "/image", images)


def drive_slowly(folder: Path) -> None:
    """Run one unit that waits."""
    units = [a_unit("slow", "slow")]
    list(run_in_processes(units, partial(FragileWorker, folder), workers=1))
