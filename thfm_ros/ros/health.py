# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The health of the node's components: events in, diagnostic states out. Does not import ROS.

The node's threads report events to `Health`; `Health.evaluate` turns them into the states that
are published once per diagnostics period. A state's ``message`` is for people and says how to
correct the problem; its ``key`` tells whether the state has changed.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from thfm_ros.ros.component_status import ComponentStatus, Level, NodeSnapshot
from thfm_ros.ros.input_health import InputHealth
from thfm_ros.ros.recent_values import SPAN_S, RecentValues

STALE_WARN_S, STALE_ERROR_S = 1.0, 5.0  # time without a result although images arrive
LATE_WARN_MS = 500.0  # 95th percentile of latency
RESTARTS_WARN = 5  # streams begun within SPAN_S


class Health:
    """Collects events and evaluates the state of every component. Thread-safe.

    ``configuration_error`` says why no engine is loaded; it is set when configuring fails.

    Args:
        image_timeout_s: time without images after which they are missed.
        clock: monotonic seconds, for rates and for the time that the engine takes.
        node_clock: the node's clock in seconds, which decides whether images are missed;
            ``clock`` if None.
    """

    def __init__(
        self,
        image_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        node_clock: Callable[[], float] | None = None,
    ) -> None:
        self._clock, self.node_clock = clock, node_clock or clock
        self.image_timeout_s = image_timeout_s
        self._lock = threading.Lock()
        self.configuration_error = ""
        self.reset()

    def reset(self) -> None:
        """Discard all events: the node was activated."""
        with self._lock:
            self._input = InputHealth(self._clock, self.node_clock)
            self._results, self._steps = RecentValues(), RecentValues()
            self._restarts = RecentValues()
            self._waiting_since: float | None = None
            self._failure = ""
            self._result_count = 0

    @property
    def silent_s(self) -> float:
        """How long no usable image has arrived, by the node's clock."""
        with self._lock:
            return self._input.without_usable.seconds

    @property
    def drops(self) -> Counter[str]:
        """Number of images without a result, by cause."""
        with self._lock:
            return self._input.drops.copy()

    def image_received(
        self, age_s: float, image_format: str, *, has_stamp: bool = True, has_frame_id: bool = True
    ) -> None:
        """An image arrived, usable or not, ``age_s`` after its stamp."""
        with self._lock:
            self._input.received(
                age_s, image_format, has_stamp=has_stamp, has_frame_id=has_frame_id
            )

    def image_rejected(self, cause: str, message: str) -> None:
        """The image cannot be used."""
        with self._lock:
            self._input.rejected(cause, message)

    def image_accepted(self, *, began_stream: bool) -> None:
        """The image was added to the window."""
        with self._lock:
            self._input.accepted()
            if began_stream:
                self._restarts.add(self._clock())

    def images_dropped(self, cause: str, count: int = 1) -> None:
        """Images for which no result will be published."""
        with self._lock:
            self._input.dropped(cause, count)

    def clip_queued(self) -> None:
        """A clip waits for the worker."""
        with self._lock:
            if self._waiting_since is None:
                self._waiting_since = self._clock()

    def clip_skipped(self) -> None:
        """The worker discarded the clip, since no result has a subscriber."""
        with self._lock:
            self._waiting_since = None

    def results_published(self, age_s: float, step_ms: float) -> None:
        """The results of a frame were published, ``age_s`` after its stamp."""
        with self._lock:
            now = self._clock()
            self._waiting_since = None
            self._failure = ""
            self._results.add(now, age_s * 1e3)
            self._steps.add(now, step_ms)
            self._result_count += 1

    def step_failed(self, message: str) -> None:
        """The pipeline raised an exception."""
        with self._lock:
            self._waiting_since = None
            self._failure = message
            self._input.dropped("engine failure", 1)

    def evaluate(self, node: NodeSnapshot) -> list[ComponentStatus]:
        """The current state of every component."""
        with self._lock:
            now = self._clock()
            active = node.state == "active"
            # Before the first image a missing calibration is not reported.
            has_images = active and self._input.has_images
            timeout_s = max(self.image_timeout_s, node.max_gap_s)
            return [
                self._input.evaluate(node, timeout_s) if active else _inactive("input", node),
                *([node.detections] if active and node.detections else ()),
                self._latency(now, node) if active else _inactive("latency", node),
                self._engine(node),
                _calibration(node) if has_images else _inactive("calibration", node),
                self._window(now, node) if active else _inactive("window", node),
                _bodies(node),
                _name(node),
            ]

    def _latency(self, now: float, node: NodeSnapshot) -> ComponentStatus:
        name = "latency"
        ages, steps = self._results.values(now), self._steps.values(now)
        p50, p95, p99 = np.percentile(ages, (50, 95, 99)) if ages else (np.nan,) * 3
        values = {
            "results (Hz)": f"{self._results.rate_hz(now):.1f}",
            "results": str(self._result_count),
            "latency p50 (ms)": f"{p50:.1f}",
            "latency p95 (ms)": f"{p95:.1f}",
            "latency p99 (ms)": f"{p99:.1f}",
            "step p50 (ms)": f"{np.median(steps):.1f}" if steps else "",
            "estimated tasks": ", ".join(node.requested) or "none",
        }
        if not node.enabled:
            return ComponentStatus(name, Level.OK, "off", "disabled by ~/enable", values)
        waited_s = 0.0 if self._waiting_since is None else now - self._waiting_since
        if waited_s > STALE_WARN_S:
            level = Level.ERROR if waited_s > STALE_ERROR_S else Level.WARN
            message = (
                f"no result for {waited_s:.1f} s although images arrive: the engine does not "
                "return, or is far too slow on this machine"
            )
            return ComponentStatus(name, level, f"stale {level}", message, values)
        if not node.requested:
            message = "no result has a subscriber, so nothing is computed"
            return ComponentStatus(name, Level.OK, "idle", message, values)
        if p95 > LATE_WARN_MS and not self._input.stamp_problem:
            message = (
                f"results are {p95:.0f} ms old (p95): images arrive late, or the machine is too "
                "slow. Compare 'age on arrival' and 'step'."
            )
            return ComponentStatus(name, Level.WARN, "late", message, values)
        message = f"{values['results (Hz)']} Hz, p50 {p50:.0f} ms" if ages else "no result yet"
        if not self._input.has_images:
            message = "no image yet, hence no result"
        return ComponentStatus(name, Level.OK, "good", message, values)

    def _engine(self, node: NodeSnapshot) -> ComponentStatus:
        name, values = "engine", node.engine
        if message := self.configuration_error:
            return ComponentStatus(name, Level.ERROR, message, message, values)
        if message := self._failure:
            return ComponentStatus(name, Level.ERROR, f"failing: {message}", message, values)
        if not node.engine_description:
            message = f"not loaded (the node is {node.state})"
            return ComponentStatus(name, Level.OK, "not loaded", message, values)
        level, key = (Level.WARN, "fallback") if node.engine_fallback else (Level.OK, "good")
        return ComponentStatus(name, level, key, node.engine_description, values)

    def _window(self, now: float, node: NodeSnapshot) -> ComponentStatus:
        restarts = len(self._restarts.values(now))
        values = {**node.window, f"streams begun in {SPAN_S:.0f} s": str(restarts)}
        if restarts >= RESTARTS_WARN:
            message = (
                f"the stream was interrupted {restarts} times in {SPAN_S:.0f} s, last because of: "
                f"{node.stream_start}. Two cameras on one topic, or a slow camera? See the "
                "parameter window.max_gap_s."
            )
            return ComponentStatus("window", Level.WARN, "interrupted", message, values)
        return ComponentStatus("window", Level.OK, "good", node.window.get("fill", ""), values)


def _calibration(node: NodeSnapshot) -> ComponentStatus:
    if message := node.calibration_problem:
        return ComponentStatus("calibration", Level.WARN, message, message)
    if message := node.calibration_warning:
        return ComponentStatus("calibration", Level.WARN, message, message)
    message = node.calibration_note or "metric"
    return ComponentStatus("calibration", Level.OK, message, message)


def _bodies(node: NodeSnapshot) -> ComponentStatus:
    if message := node.bodies_problem:  # contains stamps, so it is different for every image
        return ComponentStatus("bodies", Level.WARN, "not published", message, node.bodies)
    values = {
        **node.bodies,
        "people left out": str(node.left_out),
        "people predicted": str(node.predicted),
        "oldest measurement": f"{node.oldest_measurement_s:.3f} s",
    }
    if node.left_out:
        message = (
            f"{node.left_out} more people are detected than the {node.max_people} that are tracked "
            "(parameter regions.max_people)"
        )
        return ComponentStatus("bodies", Level.WARN, "people left out", message, values)
    return ComponentStatus("bodies", Level.OK, "published", "published", values)


def _name(node: NodeSnapshot) -> ComponentStatus:
    if message := node.same_name:
        return ComponentStatus("name", Level.WARN, "not unique", message)
    return ComponentStatus("name", Level.OK, "unique", "no other node has this name")


def _inactive(component: str, node: NodeSnapshot) -> ComponentStatus:
    return ComponentStatus(component, Level.OK, "inactive", f"the node is {node.state}")
