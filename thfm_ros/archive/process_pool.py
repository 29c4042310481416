# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Workers in processes of their own, which may die without ending the run.

The standard library's executor gives up all units when one of its processes is killed; here only
the unit that it worked on is begun anew.
"""

import contextlib
import logging
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from thfm_ros.archive.outcome import ERROR, Outcome
from thfm_ros.archive.units import Unit

log = logging.getLogger(__name__)

_MAX_ATTEMPTS = 2
"""A unit during which so many workers died is an error: it would kill the next one, too."""
_STOP_S = 5.0


class UnitWorker(Protocol):
    """What works on units in a process, one after the other."""

    def run(self, unit: Unit) -> Outcome:
        """Work on a unit; errors are said in the outcome."""


MakeWorker = Callable[[], UnitWorker]


def run_in_processes(
    units: Sequence[Unit], make_worker: MakeWorker, workers: int
) -> Iterator[Outcome]:
    """Outcomes of all units, in the order in which they are finished.

    The processes start at once, the units when the outcomes are asked for: imports take a second.

    Args:
        units: in the order in which they are begun.
        make_worker: makes the worker of a process, there; it can be pickled.
        workers: number of processes, each with an engine of its own.
    """
    running = [_Process(make_worker) for _ in range(min(workers, len(units)))]
    return _outcomes(deque(units), make_worker, running)


def _outcomes(
    waiting: deque[Unit], make_worker: MakeWorker, running: list["_Process"]
) -> Iterator[Outcome]:
    attempts: dict[str, int] = {}
    try:
        while waiting or any(each.unit for each in running):
            for each in running:
                if waiting and each.unit is None:
                    each.begin(waiting.popleft())
            for number in _ready(running):
                process = running[number]
                unit, outcome = process.unit, process.result()
                if outcome is not None:
                    yield outcome
                    continue
                running[number] = _Process(make_worker)
                if unit is None:  # it died before it had a unit
                    continue
                attempts[unit.key] = attempts.get(unit.key, 0) + 1
                text = f"the worker's process died ({process.how_it_died()})"
                if attempts[unit.key] < _MAX_ATTEMPTS:
                    log.warning("%s, %s: %s; begun anew", unit.source, unit.topic, text)
                    waiting.appendleft(unit)
                else:
                    error = f"{text} {_MAX_ATTEMPTS} times during this unit: is memory short?"
                    yield Outcome(unit.key, unit.source, unit.topic, ERROR, error=error)
    finally:
        for each in running:
            each.stop()


def _ready(running: Sequence["_Process"]) -> list[int]:
    """Indices of the processes that have a result or have died."""
    by_connection = {each.connection: number for number, each in enumerate(running) if each.unit}
    return [by_connection[each] for each in wait(list(by_connection)) if each in by_connection]


class _Process:
    """One worker."""

    def __init__(self, make_worker: MakeWorker) -> None:
        context = multiprocessing.get_context("spawn")  # threads of libraries do not survive a fork
        self.connection, child = context.Pipe()
        self.unit: Unit | None = None
        self._process = context.Process(target=_serve, args=(child, make_worker), daemon=True)
        self._process.start()
        child.close()  # then the connection ends when the process does

    def begin(self, unit: Unit) -> None:
        """Give it a unit; if it has died, `result` tells."""
        self.unit = unit
        with contextlib.suppress(OSError):
            self.connection.send(unit)

    def result(self) -> Outcome | None:
        """The outcome of its unit; None if the process has died."""
        try:
            outcome: Outcome = self.connection.recv()
        except (EOFError, OSError):
            return None
        self.unit = None
        return outcome

    def how_it_died(self) -> str:
        """Its exit code, or the signal that ended it."""
        self._process.join(_STOP_S)
        code = self._process.exitcode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def stop(self) -> None:
        """End the process; what it had begun is removed by the next run."""
        self.connection.close()
        self._process.terminate()
        self._process.join(_STOP_S)
        if self._process.is_alive():
            self._process.kill()


def _serve(connection: Connection, make_worker: MakeWorker) -> None:
    """What a worker's process does."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver stops its workers
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")  # as the driver
    threading.Thread(target=_end_with_the_driver, daemon=True).start()
    worker = make_worker()
    while True:
        try:
            unit: Any = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(worker.run(unit))


def _end_with_the_driver() -> None:
    """End this process when the driver was killed: its results would be lost."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)
