"""Nodes in processes of their own, and a node that collects messages."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rclpy
from rclpy.qos import QoSProfile


class NodeProcess:
    """A module, run with ``python -m`` in a process group of its own, with its output in a file."""

    def __init__(self, module: str, arguments: list[str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=log.parent,  # not the source tree, which has no generated messages
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def exit_code(self, timeout_s: float) -> int:
        """Wait until the process ends.

        Raises:
            AssertionError: it does not end in time; the text has its output.
        """
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s} s:\n{self.text()}") from None

    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> int:
        """Send SIGINT, as Ctrl-C does, and SIGKILL if that does not end the process."""
        for number, timeout_s in ((signal.SIGINT, 5.0), (signal.SIGKILL, 5.0)):
            if self.running():
                os.killpg(self._process.pid, number)
                try:
                    return self._process.wait(timeout_s)
                except subprocess.TimeoutExpired:
                    continue
        return self._process.wait(1.0)


@contextmanager
def started(module: str, arguments: list[str], log: Path) -> Iterator[NodeProcess]:
    """A node process that is stopped at the end of the block, also after an exception."""
    process = NodeProcess(module, arguments, log)
    try:
        yield process
    finally:
        process.stop()


def ros_arguments(parameters: dict[str, object], remap: dict[str, str] | None = None) -> list[str]:
    """Command line arguments for parameters and remappings."""
    arguments = ["--ros-args"]
    for name, value in parameters.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        arguments += ["-p", f"{name}:={text}"]
    for old, new in (remap or {}).items():
        arguments += ["-r", f"{old}:={new}"]
    return arguments


class Listener:
    """Collects messages by topic, with a node in the process of the test."""

    def __init__(self) -> None:
        self.node = rclpy.create_node("listener")
        self.received: dict[str, list[Any]] = {}

    def listen(self, message: type, topic: str, qos: QoSProfile | int = 50) -> None:
        self.received[topic] = []
        self.node.create_subscription(message, topic, self.received[topic].append, qos)

    def wait(self, until: Callable[[], bool], timeout_s: float) -> bool:
        """Receive messages until the condition is true; False after ``timeout_s``."""
        end = time.monotonic() + timeout_s
        while not until():
            if time.monotonic() > end:
                return False
            rclpy.spin_once(self.node, timeout_sec=0.05)
        return True
