# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Subprocesses of the benchmark; workers answer requests, one line of JSON each way."""

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

Request = dict[str, Any]
Response = dict[str, Any]
STOP_TIMEOUT_S = 5.0


class BenchmarkError(PerceptionError):
    """The benchmark cannot go on; the text includes the end of the process's output."""


class LoggedProcess:
    """A process whose output goes to a file; stopped with SIGINT, and with SIGKILL if it must."""

    _pipes_stdout = False

    def __init__(
        self, command: list[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        self.name = log.stem
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if self._pipes_stdout else output,
                stderr=output,
                cwd=log.parent,  # not the source tree, which has no messages
                env=dict(os.environ if environment is None else environment),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._popen.pid

    def check(self) -> None:
        """Check that the process runs.

        Raises:
            BenchmarkError: it has ended; with the end of its output.
        """
        if self._popen.poll() is not None:
            raise BenchmarkError(f"{self.name} ended ({self._popen.returncode}). {self.log_tail()}")

    def log_tail(self) -> str:
        """The end of its output, as a sentence of an error message."""
        lines = self.log.read_text(errors="replace").splitlines()[-12:]
        return "Its output:\n  " + "\n  ".join(lines) if lines else "It wrote no output."

    def stop(self) -> None:
        """End the process group and wait until the process has ended."""
        for signal_number in (signal.SIGINT, signal.SIGKILL):
            if self._popen.poll() is None:
                os.killpg(self.pid, signal_number)
                try:
                    self._popen.wait(STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    continue
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                pipe.close()


class WorkerProcess(LoggedProcess):
    """A module of this package that runs `serve`."""

    _pipes_stdout = True

    def __init__(self, module: str, log: Path) -> None:
        super().__init__([sys.executable, "-m", module], log)
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, name=f"{self.name} responses", daemon=True).start()

    def request(self, request: Request, timeout_s: float) -> Response:
        """Send a request and wait for the response.

        Raises:
            BenchmarkError: the worker ended, took too long, or answered with an error.
        """
        assert self._popen.stdin is not None
        self.check()
        self._popen.stdin.write(json.dumps(request).encode() + b"\n")
        self._popen.stdin.flush()
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise BenchmarkError(f"{self.name} did not answer within {timeout_s:.0f} s.") from None
        if not line:
            self._popen.wait(STOP_TIMEOUT_S)
            self.check()
        response: Response = json.loads(line)
        if "error" in response:
            raise BenchmarkError(f"{self.name}: {response['error']}")
        return response

    def _read(self) -> None:
        assert self._popen.stdout is not None
        while line := self._popen.stdout.readline():
            self._lines.put(line)
        self._lines.put(b"")  # end of the output


def serve(handle: Callable[[Request], Response], idle: Callable[[], None] | None = None) -> None:
    """Answer the requests on standard input with ``handle`` until standard input ends.

    Args:
        handle: computes the response; a `PerceptionError` that it raises is sent as an error.
        idle: called repeatedly while there is no request; it may block briefly. None: nothing.
    """
    requests: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            requests.put(line)
        requests.put("")

    threading.Thread(target=read, name="requests", daemon=True).start()
    while True:
        try:
            line = requests.get(block=idle is None)
        except queue.Empty:
            assert idle is not None
            idle()
            continue
        if not line:
            return
        try:
            response = handle(json.loads(line))
        except PerceptionError as error:
            response = {"error": str(error)}
        sys.stdout.write(json.dumps(response) + "\n")
        sys.stdout.flush()
