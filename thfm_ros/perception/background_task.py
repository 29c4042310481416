# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Work in a thread of its own, with a result to wait for."""

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_EXIT_TIMEOUT_S = 2.0
_threads: "weakref.WeakSet[threading.Thread]" = weakref.WeakSet()


def unfinished_tasks(timeout_s: float) -> list[str]:
    """Names of the tasks that have not ended after ``timeout_s``.

    Threads inside a runtime abort the process if the interpreter ends before them.
    """
    deadline = time.monotonic() + timeout_s
    for thread in list(_threads):
        thread.join(max(0.0, deadline - time.monotonic()))
    return sorted({thread.name for thread in list(_threads) if thread.is_alive()})


atexit.register(unfinished_tasks, _EXIT_TIMEOUT_S)


class BackgroundTask(Generic[T]):
    """Runs ``work`` in a thread named ``name``, from construction on."""

    def __init__(self, work: Callable[[], T], name: str) -> None:
        self._work = work
        self._results: list[T] = []  # at most one
        self._error: Exception | None = None
        # A daemon: an engine that hangs must not prevent the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        _threads.add(self._thread)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except Exception as error:  # raised again by `result`
            self._error = error

    @property
    def running(self) -> bool:
        """Whether `result` would wait."""
        return self._thread.is_alive()

    def result(self) -> T:
        """Wait for the work and return its result, or raise the error that it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._results[0]
