# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
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
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile

TIMEOUT_S = 300.0
"""For everything that happens for certain: reached only if something hangs, on any machine."""


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

    def exit_code(self, timeout_s: float = TIMEOUT_S) -> int:
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
        for number in (signal.SIGINT, signal.SIGKILL):
            if self.running():
                os.killpg(self._process.pid, number)
                try:
                    return self._process.wait(TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    continue
        return self._process.wait()


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
        self._count = 0
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def listen(self, message: type, topic: str, qos: QoSProfile | int = 50) -> None:
        messages = self.received[topic] = []

        def receive(message: Any) -> None:
            messages.append(message)
            self._count += 1

        self.node.create_subscription(message, topic, receive, qos)

    def host(self, node: Node) -> None:
        """Serve the callbacks of another node of this process, too."""
        self._executor.add_node(node)

    def spin(self, timeout_s: float = 0.05) -> None:
        """Wait for a message, then receive those that have arrived already, up to a hundred."""
        self._executor.spin_once(timeout_sec=timeout_s)
        for _ in range(100):
            before = self._count
            self._executor.spin_once(timeout_sec=0.0)
            if before == self._count:
                return

    def spin_for(self, seconds: float) -> None:
        """Receive messages for a time in which nothing should arrive."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.spin()

    def wait(self, until: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> bool:
        """Receive messages until the condition is true; False after ``timeout_s``."""
        end = time.monotonic() + timeout_s
        while not until():
            if time.monotonic() > end:
                return False
            self.spin()
        return True

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()


def stamp_ns(message: Any) -> int:
    """The stamp of a message, in nanoseconds; of a MarkerArray that of its first marker, or 0."""
    if hasattr(message, "markers"):
        return stamp_ns(message.markers[0]) if message.markers else 0
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)
