# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Work in another thread: its result, its errors, and the end of the process."""

import subprocess
import sys
import threading
import time

import pytest

from thfm_ros.perception.background_task import BackgroundTask


def test_result_waits_for_the_work() -> None:
    proceed = threading.Event()
    task = BackgroundTask(lambda: proceed.wait(10), "work")
    assert task.running
    proceed.set()
    assert task.result() is True
    assert not task.running


def test_result_raises_the_error_of_the_work() -> None:
    task = BackgroundTask(lambda: 1 / 0, "work")
    with pytest.raises(ZeroDivisionError):
        task.result()


def run_process(work: str) -> tuple[str, str, int, float]:
    """Output, errors, exit code and duration of a process that ends while its task runs."""
    imports = "import time\nfrom thfm_ros.perception.background_task import BackgroundTask"
    script = f"{imports}\nBackgroundTask(lambda: {work}, 'work')"
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    return done.stdout, done.stderr, done.returncode, time.monotonic() - began


def test_a_process_waits_for_its_tasks_before_it_ends() -> None:
    output, errors, code, _ = run_process("(time.sleep(0.5), print('done', flush=True))")
    assert (output, errors, code) == ("done\n", "", 0)


def test_a_hanging_task_does_not_keep_the_process_alive() -> None:
    output, errors, code, took_s = run_process("(time.sleep(60), print('done'))")
    assert (output, errors, code) == ("", "", 0)
    assert took_s < 20
