"""Processes of the benchmark that are told what to do: a line of JSON in, a line of JSON out."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from thfm_ros.contract import PerceptionError

Order = dict[str, Any]
Answer = dict[str, Any]
PATIENCE_S = 5.0


class BenchmarkError(PerceptionError):
    """The benchmark cannot go on; the text ends with what the process said last."""


class Process:
    """A process whose output goes to a file; stopped as Ctrl-C does, then by force."""

    def __init__(
        self, command: list[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        self.name = log.stem
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if self._answers else output,
                stderr=output,
                cwd=log.parent,  # not the source tree, which has no messages
                env=dict(os.environ if environment is None else environment),
                start_new_session=True,
            )

    _answers = False

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._popen.pid

    def check(self) -> None:
        """Raise when it has ended.

        Raises:
            BenchmarkError: with the end of its output.
        """
        if self._popen.poll() is not None:
            raise BenchmarkError(
                f"{self.name} ended ({self._popen.returncode}). {self.last_words()}"
            )

    def last_words(self) -> str:
        """The end of its output."""
        lines = self.log.read_text(errors="replace").splitlines()[-12:]
        return "It said:\n  " + "\n  ".join(lines) if lines else "It said nothing."

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        for sent in (signal.SIGINT, signal.SIGKILL):
            if self._popen.poll() is None:
                os.killpg(self.pid, sent)
                try:
                    self._popen.wait(PATIENCE_S)
                except subprocess.TimeoutExpired:
                    continue
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()


class Servant(Process):
    """A module of this package that runs `serve`."""

    _answers = True

    def __init__(self, module: str, log: Path) -> None:
        super().__init__([sys.executable, "-m", module], log)
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, name=f"{self.name} answers", daemon=True).start()

    def ask(self, order: Order, timeout_s: float) -> Answer:
        """Give an order and wait for the answer.

        Raises:
            BenchmarkError: it ended, took too long, or answered with an error.
        """
        assert self._popen.stdin is not None
        self.check()
        self._popen.stdin.write(json.dumps(order).encode() + b"\n")
        self._popen.stdin.flush()
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise BenchmarkError(f"{self.name} did not answer within {timeout_s:.0f} s.") from None
        if not line:
            self._popen.wait(PATIENCE_S)
            self.check()
        answer: Answer = json.loads(line)
        if "error" in answer:
            raise BenchmarkError(f"{self.name}: {answer['error']}")
        return answer

    def _read(self) -> None:
        assert self._popen.stdout is not None
        while line := self._popen.stdout.readline():
            self._lines.put(line)
        self._lines.put(b"")


def serve(handle: Callable[[Order], Answer], idle: Callable[[], None] | None = None) -> None:
    """Answer the orders on standard input with ``handle`` until it ends.

    Args:
        handle: a `PerceptionError` of it is told to whoever asked.
        idle: called over and over while there is no order; it may wait a little. None: nothing.
    """
    orders: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            orders.put(line)
        orders.put("")

    threading.Thread(target=read, name="orders", daemon=True).start()
    while True:
        try:
            line = orders.get(block=idle is None)
        except queue.Empty:
            assert idle is not None
            idle()
            continue
        if not line:
            return
        try:
            answer = handle(json.loads(line))
        except PerceptionError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
