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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from thfm_ros.ros.recent_values import SPAN_S, RecentValues

STALE_WARN_S, STALE_ERROR_S = 1.0, 5.0  # time without a result although images arrive
LATE_WARN_MS = 500.0  # 95th percentile of latency
CLOCK_LIMIT_S = 30.0  # stamps farther than this from the node's clock are from another clock
RESTARTS_WARN = 5  # streams begun within SPAN_S
_NO_FRAME_ID = (
    "images have an empty frame_id: tf2 and rviz drop all results. The camera driver must set "
    "header.frame_id to the optical frame of the camera."
)


class Level(IntEnum):
    """The levels of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class ComponentStatus:
    """The state of one component of the node; see diagnostic_msgs/DiagnosticStatus."""

    component: str
    level: Level
    key: str  # equal as long as the state is
    message: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NodeSnapshot:
    """What `Health` does not learn from events: the node as it is now."""

    state: str = "active"  # lifecycle state
    enabled: bool = True
    image_source: str = ""  # names the publishers of the images, or says why there are none
    requested: tuple[str, ...] = ()  # tasks with a subscriber
    calibration_problem: str = ""
    calibration_note: str = ""
    window: Mapping[str, str] = field(default_factory=dict)
    stream_start: str = ""  # why the current stream began
    engine: Mapping[str, str] = field(default_factory=dict)
    engine_description: str = ""
    engine_fallback: str = ""  # why this engine runs instead of the configured one
    bodies: Mapping[str, str] = field(default_factory=dict)
    bodies_problem: str = ""


class Health:
    """Collects events and evaluates the state of every component. Thread-safe.

    ``configuration_error`` says why no engine is loaded; it is set when configuring fails.
    """

    def __init__(self, image_timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.image_timeout_s = image_timeout_s
        self._lock = threading.Lock()
        self._drops: Counter[str] = Counter()
        self._failure = ""
        self.configuration_error = ""
        self.reset()

    def reset(self) -> None:
        """Discard all events: the node was activated."""
        with self._lock:
            self._since = self._clock()
            self._images, self._results = RecentValues(), RecentValues()
            self._steps, self._restarts = RecentValues(), RecentValues()
            self._rejection: tuple[str, str] | None = None
            self._stamp_problem = ""
            self._has_frame_id = True
            self._last_image: float | None = None
            self._last_accepted: float | None = None
            self._waiting_since: float | None = None
            self._image_format = ""
            self._failure = ""
            self._drops.clear()
            self._result_count = 0

    def image_received(
        self, age_s: float, image_format: str, *, has_stamp: bool = True, has_frame_id: bool = True
    ) -> None:
        """An image arrived, usable or not, ``age_s`` after its stamp."""
        with self._lock:
            now = self._last_image = self._clock()
            self._images.add(now, age_s)
            self._image_format = image_format
            self._has_frame_id = has_frame_id
            if not has_stamp:
                self._stamp_problem = (
                    "images have no stamp (0): results cannot be assigned to a time, and tf and "
                    "rviz ignore them. The camera driver must set header.stamp."
                )
            elif abs(age_s) > CLOCK_LIMIT_S:
                self._stamp_problem = (
                    f"image stamps differ from this node's clock by {age_s:.0f} s. For a bag: "
                    "use_sim_time:=true here and `ros2 bag play --clock`; else synchronise clocks."
                )
            else:
                self._stamp_problem = ""

    def image_rejected(self, cause: str, message: str) -> None:
        """The image cannot be used."""
        with self._lock:
            self._rejection = (cause, message)
            self._drops[f"bad {cause}"] += 1

    def image_accepted(self, *, began_stream: bool) -> None:
        """The image was added to the window."""
        with self._lock:
            self._rejection = None
            self._last_accepted = self._clock()
            if began_stream:
                self._restarts.add(self._last_accepted)

    def images_dropped(self, cause: str, count: int = 1) -> None:
        """Images for which no result will be published."""
        with self._lock:
            self._drops[cause] += count

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
            self._drops["engine failure"] += 1

    def evaluate(self, node: NodeSnapshot) -> list[ComponentStatus]:
        """The current state of every component."""
        with self._lock:
            now = self._clock()
            active = node.state == "active"
            # Before the first image a missing calibration is not reported.
            has_images = active and self._last_image is not None
            return [
                self._input(now, node) if active else _inactive("input", node),
                self._latency(now, node) if active else _inactive("latency", node),
                self._engine(node),
                _calibration(node) if has_images else _inactive("calibration", node),
                self._window(now, node) if active else _inactive("window", node),
                _bodies(node),
            ]

    def _input(self, now: float, node: NodeSnapshot) -> ComponentStatus:
        name = "input"
        silent_s = now - (self._last_image if self._last_image is not None else self._since)
        ages = self._images.values(now)
        values = {
            "rate (Hz)": f"{self._images.rate_hz(now):.1f}",
            "image": self._image_format or "none yet",
            "age on arrival p50 (ms)": f"{np.median(ages) * 1e3:.1f}" if ages else "",
            "source": node.image_source,
            **{f"dropped: {cause}": str(n) for cause, n in sorted(self._drops.items())},
        }
        if not node.enabled:
            return ComponentStatus(name, Level.OK, "off", "disabled by ~/enable", values)
        if silent_s > self.image_timeout_s:
            level = Level.ERROR if silent_s > 5 * self.image_timeout_s else Level.WARN
            missing = "no image yet" if self._last_image is None else "no image any more"
            message = f"{missing}, for {silent_s:.0f} s. {node.image_source}"
            return ComponentStatus(name, level, f"no images {level}", message, values)
        if self._rejection is not None:
            cause, message = self._rejection
            return ComponentStatus(name, Level.ERROR, f"rejected {cause}", message, values)
        if self._stamp_problem:
            key = "clock" if "clock" in self._stamp_problem else "stamp"
            return ComponentStatus(name, Level.WARN, key, self._stamp_problem, values)
        if not self._has_frame_id:
            return ComponentStatus(name, Level.WARN, "frame_id", _NO_FRAME_ID, values)
        if self._last_image is not None and now - (self._last_accepted or self._since) > max(
            self.image_timeout_s, 1.0
        ):
            message = "all images have one stamp: the camera repeats a frame or does not set stamps"
            return ComponentStatus(name, Level.WARN, "frozen", message, values)
        if self._last_image is None:
            return ComponentStatus(name, Level.OK, "waiting", "waiting for the first image", values)
        message = f"{values['rate (Hz)']} Hz, {self._image_format}"
        return ComponentStatus(name, Level.OK, "good", message, values)

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
        if p95 > LATE_WARN_MS and not self._stamp_problem:
            message = (
                f"results are {p95:.0f} ms old (p95): images arrive late, or the machine is too "
                "slow. Compare 'age on arrival' and 'step'."
            )
            return ComponentStatus(name, Level.WARN, "late", message, values)
        message = f"{values['results (Hz)']} Hz, p50 {p50:.0f} ms" if ages else "no result yet"
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
    message = node.calibration_note or "metric"
    return ComponentStatus("calibration", Level.OK, message, message)


def _bodies(node: NodeSnapshot) -> ComponentStatus:
    if message := node.bodies_problem:  # contains stamps, so it is different for every image
        return ComponentStatus("bodies", Level.WARN, "not published", message, node.bodies)
    return ComponentStatus("bodies", Level.OK, "published", "published", node.bodies)


def _inactive(component: str, node: NodeSnapshot) -> ComponentStatus:
    return ComponentStatus(component, Level.OK, "inactive", f"the node is {node.state}")
