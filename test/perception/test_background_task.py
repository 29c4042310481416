"""Work in another thread: its result, its errors, and the end of the process."""

import subprocess
import sys
import threading
import time

import pytest

from thfm_ros.perception.background_task import BackgroundTask


def test_the_result_is_waited_for() -> None:
    go_on = threading.Event()
    errand = BackgroundTask(lambda: go_on.wait(10), "work")
    assert errand.runs
    go_on.set()
    assert errand.result() is True
    assert not errand.runs


def test_an_error_is_raised_where_the_result_is_asked_for() -> None:
    errand = BackgroundTask(lambda: 1 / 0, "work")
    with pytest.raises(ZeroDivisionError):
        errand.result()


def ended(work: str) -> tuple[str, int, float]:
    """Output and exit code of a process that ends while it has an errand; and how long it took."""
    imports = "import time\nfrom thfm_ros.perception.background_task import BackgroundTask"
    script = f"{imports}\nErrand(lambda: {work}, 'work')"
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    return done.stdout, done.returncode, time.monotonic() - began


def test_a_process_that_ends_lets_its_errands_end_first() -> None:
    assert ended("(time.sleep(0.5), print('done', flush=True))")[:2] == ("done\n", 0)


def test_an_errand_that_hangs_does_not_keep_the_process() -> None:
    output, code, took_s = ended("(time.sleep(60), print('done'))")
    assert (output, code) == ("", 0)
    assert took_s < 20
