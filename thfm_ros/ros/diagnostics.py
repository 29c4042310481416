"""Findings as /diagnostics and as log lines.

Published by a thread of its own: what it has to say matters most when the node's other threads
are stuck in an engine that builds, or hangs.
"""

import threading
import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from thfm_ros.ros.health import Finding, Level
from thfm_ros.ros.qos import NEWEST, publisher

REPEAT_S = 10.0  # the same line is logged at most so often


class Announcer:
    """Logs a state when it changes: once, and a state that comes and goes every `REPEAT_S`."""

    def __init__(
        self, log: Callable[[Level, str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._state: dict[str, tuple[str, Level]] = {}
        self._said: dict[tuple[str, str], float] = {}

    def forget(self, part: str) -> None:
        """Something is tried again: what comes of it is news, even if it is the same."""
        with self._lock:
            self._state.pop(part, None)
            for said in [each for each in self._said if each[0] == part]:
                del self._said[said]

    def say(self, part: str, level: Level, key: str, text: str) -> None:
        """``part`` is now in the state ``key``; ``text`` says it to people."""
        with self._lock:
            before, was = self._state.get(part, ("", Level.OK))
            self._state[part] = key, level
            now = self._clock()
            if before == key or level is was is Level.OK:  # good news is that trouble is over
                return
            if now - self._said.get((part, key), -REPEAT_S) < REPEAT_S:
                return
            self._said = {k: at for k, at in self._said.items() if now - at < REPEAT_S}
            self._said[part, key] = now
        self._log(level, f"{part}: {text}")


def log_through(node: Node) -> Callable[[Level, str], None]:
    """The node's logger as an `Announcer` wants it."""
    logger = node.get_logger()
    # One line of source per level: rclpy refuses a logging call that changes its severity.
    by_level = {
        Level.OK: lambda text: logger.info(text),
        Level.WARN: lambda text: logger.warning(text),
        Level.ERROR: lambda text: logger.error(text),
    }
    return lambda level, text: by_level[level](text)


def diagnostic_array(node: Node, findings: list[Finding]) -> DiagnosticArray:
    """The message, with a status per finding named ``<node>: <part>``."""
    name = node.get_fully_qualified_name().removeprefix("/")
    array = DiagnosticArray()
    array.header.stamp = node.get_clock().now().to_msg()
    array.status = [
        DiagnosticStatus(
            level=bytes([finding.level]),
            name=f"{name}: {finding.part}",
            message=finding.text,
            hardware_id="thfm_ros",
            values=[KeyValue(key=key, value=value) for key, value in finding.values.items()],
        )
        for finding in findings
    ]
    return array


class Diagnostics:
    """Publishes and announces the findings every ``period_s``, from `start` to `stop`."""

    def __init__(
        self,
        node: Node,
        announcer: Announcer,
        findings: Callable[[], list[Finding]],
        period_s: float,
    ) -> None:
        self._node = node
        self._announcer = announcer
        self._findings = findings
        self.period_s = period_s
        self._publisher = publisher(node, DiagnosticArray, "/diagnostics", NEWEST)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="diagnostics", daemon=True)

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the message in hand."""
        self._ending.set()
        self._thread.join(5.0)

    def publish(self) -> None:
        """Judge and tell, now."""
        findings = self._findings()
        for finding in findings:
            self._announcer.say(finding.part, finding.level, finding.key, finding.text)
        self._publisher.publish(diagnostic_array(self._node, findings))

    def _run(self) -> None:
        while not self._ending.wait(self.period_s):
            try:
                self.publish()
            except Exception as error:  # what reports failures must outlive its own
                self._node.get_logger().error(f"diagnostics: {error}", throttle_duration_sec=10.0)
