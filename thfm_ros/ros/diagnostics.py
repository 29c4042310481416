# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Publication of component states on /diagnostics, and log lines when a state changes.

A thread of its own publishes them: diagnostics matter most when the node's other threads are
blocked, while an engine is being built or does not return.
"""

import threading
import time
from collections.abc import Callable

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from thfm_ros.ros.component_status import ComponentStatus, Level
from thfm_ros.ros.qos import LATEST, create_publisher

_JOIN_TIMEOUT_S = 2.0
REPEAT_S = 10.0  # a state that recurs is logged again after this time at the earliest


class StateLogger:
    """Logs a component's state when it changes, and a recurring one at most every `REPEAT_S`.

    Thread-safe.

    Args:
        log: writes one line with a level.
        clock: monotonic seconds.
    """

    def __init__(
        self, log: Callable[[Level, str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._current: dict[str, tuple[str, Level]] = {}
        self._logged_at: dict[tuple[str, str], float] = {}

    def forget(self, component: str) -> None:
        """Log the component's next state even if it has not changed: it was tried again."""
        with self._lock:
            self._current.pop(component, None)
            for logged in [each for each in self._logged_at if each[0] == component]:
                del self._logged_at[logged]

    def update(self, component: str, level: Level, key: str, message: str) -> None:
        """Set the component's state ``key`` and log ``message`` if the state is new.

        A change from one OK state to another is not logged.
        """
        with self._lock:
            last_key, last_level = self._current.get(component, ("", Level.OK))
            self._current[component] = key, level
            now = self._clock()
            if last_key == key or level is last_level is Level.OK:
                return
            if now - self._logged_at.get((component, key), -REPEAT_S) < REPEAT_S:
                return
            self._logged_at = {k: at for k, at in self._logged_at.items() if now - at < REPEAT_S}
            self._logged_at[component, key] = now
        self._log(level, f"{component}: {message}")


def node_log(node: Node) -> Callable[[Level, str], None]:
    """The node's logger as a function of level and text."""
    logger = node.get_logger()
    # One source line per level: rclpy refuses a logging call that changes its severity.
    by_level = {
        Level.OK: lambda text: logger.info(text),
        Level.WARN: lambda text: logger.warning(text),
        Level.ERROR: lambda text: logger.error(text),
    }
    return lambda level, text: by_level[level](text)


def diagnostic_array(node: Node, statuses: list[ComponentStatus]) -> DiagnosticArray:
    """The message, with one status per component, named ``<node>: <component>``."""
    name = node.get_fully_qualified_name().removeprefix("/")
    array = DiagnosticArray()
    array.header.stamp = node.get_clock().now().to_msg()
    array.status = [
        DiagnosticStatus(
            level=bytes([status.level]),
            name=f"{name}: {status.component}",
            message=status.message,
            hardware_id="thfm_ros",
            values=[KeyValue(key=key, value=value) for key, value in status.values.items()],
        )
        for status in statuses
    ]
    return array


class Diagnostics:
    """Publishes and logs the component states every ``period_s``, from `start` to `stop`."""

    def __init__(
        self,
        node: Node,
        state_logger: StateLogger,
        evaluate: Callable[[], list[ComponentStatus]],
        period_s: float,
    ) -> None:
        self._node = node
        self._state_logger = state_logger
        self._evaluate = evaluate
        self.period_s = period_s
        self._publisher = create_publisher(node, DiagnosticArray, "/diagnostics", LATEST)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="diagnostics", daemon=True)

    def start(self) -> None:
        """Start the thread; may be called once."""
        self._thread.start()

    def stop(self) -> bool:
        """End the thread, after the message it is publishing; False if that takes too long."""
        self._ending.set()
        self._thread.join(_JOIN_TIMEOUT_S)
        return not self._thread.is_alive()

    def publish(self) -> None:
        """Evaluate all components now, log changes and publish."""
        statuses = self._evaluate()
        for status in statuses:
            self._state_logger.update(status.component, status.level, status.key, status.message)
        self._publisher.publish(diagnostic_array(self._node, statuses))

    def _run(self) -> None:
        while not self._ending.wait(self.period_s):
            try:
                self.publish()
            except Exception as error:  # diagnostics must continue after their own failures
                if self._ending.is_set():  # the node is destroyed meanwhile
                    return
                self._node.get_logger().error(f"diagnostics: {error}", throttle_duration_sec=10.0)
