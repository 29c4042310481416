# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Work in another thread: its result, its errors, and the end of the process."""

import subprocess
import sys
import threading

import pytest

from thfm_ros.perception.background_task import BackgroundTask


def test_result_waits_for_the_work() -> None:
    proceed = threading.Event()
    task = BackgroundTask(lambda: proceed.wait(120), "work")
    assert task.running
    proceed.set()
    assert task.result() is True
    assert not task.running


def test_result_raises_the_error_of_the_work() -> None:
    task = BackgroundTask(lambda: 1 / 0, "work")
    with pytest.raises(ZeroDivisionError):
        task.result()


def run_process(work: str, exit_timeout_s: float) -> tuple[str, str, int]:
    """Output, errors and exit code of a process that ends while its task runs."""
    script = f"""
import time
from thfm_ros.perception import background_task
background_task._EXIT_TIMEOUT_S = {exit_timeout_s}
background_task.BackgroundTask(lambda: {work}, 'work')
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.stdout, done.stderr, done.returncode


def test_a_process_waits_for_its_tasks_before_it_ends() -> None:
    finished = run_process("(time.sleep(0.2), print('done', flush=True))", exit_timeout_s=120.0)
    assert finished == ("done\n", "", 0)


@pytest.mark.fault("process", "a detection pass hangs when the process ends")
def test_a_hanging_task_does_not_keep_the_process_alive() -> None:
    assert run_process("(time.sleep(3600), print('done'))", exit_timeout_s=0.2) == ("", "", 0)
