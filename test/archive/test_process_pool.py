# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Workers in processes: a killed worker costs its unit one more attempt, and nothing else."""

import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path

import psutil
from archive_workers import FragileWorker, a_unit, drive_slowly

from thfm_ros.archive.outcome import DONE, ERROR
from thfm_ros.archive.process_pool import run_in_processes


def test_a_killed_worker_costs_one_more_attempt_and_a_deadly_unit_is_an_error_row(
    tmp_path: Path,
) -> None:
    units = [a_unit("a"), a_unit("b", "killed once"), a_unit("c", "killed always"), a_unit("d")]
    outcomes = list(run_in_processes(units, partial(FragileWorker, tmp_path), workers=2))
    assert {each.unit: each.state for each in outcomes} == {
        "a": DONE,
        "b": DONE,
        "c": ERROR,
        "d": DONE,
    }
    (failed,) = [each for each in outcomes if each.state == ERROR]
    assert "died (signal 9) 2 times" in failed.error
    attempts = {unit.key: len((tmp_path / unit.key).read_text().split()) for unit in units}
    assert attempts == {"a": 1, "b": 2, "c": 2, "d": 1}
    assert multiprocessing.active_children() == []


def test_processes_start_before_the_first_outcome_is_asked_for(tmp_path: Path) -> None:
    outcomes = run_in_processes([a_unit("a")], partial(FragileWorker, tmp_path), workers=2)
    assert len(multiprocessing.active_children()) == 1  # no more than units
    assert not (tmp_path / "a").exists()  # but no unit: the manifest may not be there yet
    assert [each.state for each in outcomes] == [DONE]
    assert multiprocessing.active_children() == []


def test_workers_end_when_the_driver_is_killed(tmp_path: Path) -> None:
    driver = multiprocessing.get_context("spawn").Process(target=drive_slowly, args=(tmp_path,))
    driver.start()
    started = tmp_path / "slow"
    while not (started.exists() and started.read_text()):
        driver.join(0.05)
        assert driver.is_alive()
    worker = psutil.Process(int(started.read_text()))
    assert driver.pid is not None
    os.kill(driver.pid, signal.SIGKILL)
    driver.join()
    worker.wait(timeout=300)
