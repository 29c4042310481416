"""What is known about how the node is doing, and how bad that is. No ROS in here.

The threads of the node report events to `Health`; once a second `Health.findings` judges them.
A finding's text is for people and has the cure; its key tells whether it is still the same one.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

SPAN_S = 10.0  # rates and percentiles are of so long
STALE_WARN_S, STALE_ERROR_S = 1.0, 5.0
LATE_WARN_MS = 500.0
CLOCK_LIMIT_S = 30.0  # stamps farther from this clock are not of this clock
BREAKS_WARN = 5  # streams begun anew within SPAN_S


class Level(IntEnum):
    """The numbers of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Finding:
    """The state of one part of the node."""

    part: str
    level: Level
    key: str
    text: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What `Health` cannot know by itself: the node as it is now."""

    state: str = "active"  # of the lifecycle
    enabled: bool = True
    image_source: str = ""  # who publishes the images, and what to do if nobody does
    wanted: tuple[str, ...] = ()  # tasks that somebody subscribes to
    calibration_trouble: str = ""
    calibration_note: str = ""
    window: Mapping[str, str] = field(default_factory=dict)
    engine: Mapping[str, str] = field(default_factory=dict)
    bodies: Mapping[str, str] = field(default_factory=dict)
    bodies_trouble: str = ""


class _Recent:
    """Numbers of the last `SPAN_S` seconds."""

    def __init__(self) -> None:
        self._items: deque[tuple[float, float]] = deque(maxlen=4096)

    def add(self, now_s: float, value: float = 0.0) -> None:
        self._items.append((now_s, value))

    def values(self, now_s: float) -> list[float]:
        while self._items and self._items[0][0] < now_s - SPAN_S:
            self._items.popleft()
        return [value for _, value in self._items]

    def rate_hz(self, now_s: float) -> float:
        """Events per second while they came; 0 with fewer than two, or none for a second."""
        count = len(self.values(now_s))
        if count < 2 or now_s - self._items[-1][0] > 1.0 + 2 * SPAN_S / count:
            return 0.0
        return (count - 1) / max(self._items[-1][0] - self._items[0][0], 1e-6)


class Health:
    """Events in, findings out; safe to use from several threads."""

    def __init__(self, image_timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.image_timeout_s = image_timeout_s
        self._lock = threading.Lock()
        self._drops: Counter[str] = Counter()
        self._failure = ""
        self.engine_trouble = ""  # why there is no engine; set by whoever configures
        self.begin()

    def begin(self) -> None:
        """The node was activated: count anew."""
        with self._lock:
            self._since = self._clock()
            self._images, self._results = _Recent(), _Recent()
            self._steps, self._breaks = _Recent(), _Recent()
            self._refusal: tuple[str, str] | None = None
            self._stamp_trouble = ""
            self._last_image: float | None = None
            self._last_accepted: float | None = None
            self._waiting_since: float | None = None
            self._shape = ""
            self._failure = ""
            self._drops.clear()
            self._count = 0

    def received(self, age_s: float, shape: str, *, has_stamp: bool = True) -> None:
        """An image arrived, usable or not; ``shape`` describes it."""
        with self._lock:
            now = self._last_image = self._clock()
            self._images.add(now, age_s)
            self._shape = shape
            if not has_stamp:
                self._stamp_trouble = (
                    "images have no stamp (0): results cannot be placed in time, tf and rviz will "
                    "ignore them. Let the camera driver fill header.stamp."
                )
            elif abs(age_s) > CLOCK_LIMIT_S:
                self._stamp_trouble = (
                    f"image stamps are {age_s:.0f} s off this node's clock. Replaying a bag? Then "
                    "use_sim_time:=true here and `ros2 bag play --clock`; else synchronise clocks."
                )
            else:
                self._stamp_trouble = ""

    def refused(self, cause: str, text: str) -> None:
        """The image cannot be used."""
        with self._lock:
            self._refusal = (cause, text)
            self._drops[f"bad {cause}"] += 1

    def accepted(self, *, began_stream: bool) -> None:
        """The image is in the window."""
        with self._lock:
            self._refusal = None
            self._last_accepted = self._clock()
            if began_stream:
                self._breaks.add(self._last_accepted)

    def dropped(self, cause: str, count: int = 1) -> None:
        """Images of which there will be no result."""
        with self._lock:
            self._drops[cause] += count

    def handed_over(self) -> None:
        """A clip lies ready for the worker."""
        with self._lock:
            if self._waiting_since is None:
                self._waiting_since = self._clock()

    def idle(self) -> None:
        """A clip was put aside because nobody wants results."""
        with self._lock:
            self._waiting_since = None

    def result(self, age_s: float, step_ms: float) -> None:
        """Results of a frame were published, ``age_s`` after its stamp."""
        with self._lock:
            now = self._clock()
            self._waiting_since = None
            self._failure = ""
            self._results.add(now, age_s * 1e3)
            self._steps.add(now, step_ms)
            self._count += 1

    def failed(self, text: str) -> None:
        """A step raised."""
        with self._lock:
            self._waiting_since = None
            self._failure = text
            self._drops["engine failure"] += 1

    def findings(self, situation: Situation) -> list[Finding]:
        """The state of every part, now."""
        with self._lock:
            now = self._clock()
            active = situation.state == "active"
            found = [self._input(now, situation) if active else _resting("input", situation)]
            latency = self._latency(now, situation) if active else _resting("latency", situation)
            found += [latency, self._engine(situation)]
            # Before the first image nobody misses a calibration.
            started = active and self._last_image is not None
            found.append(_calibration(situation) if started else _resting("calibration", situation))
            found.append(self._window(now, situation) if active else _resting("window", situation))
            found.append(_bodies(situation))
            return found

    def _input(self, now: float, situation: Situation) -> Finding:
        silent_s = now - (self._last_image if self._last_image is not None else self._since)
        ages = self._images.values(now)
        values = {
            "rate (Hz)": f"{self._images.rate_hz(now):.1f}",
            "image": self._shape or "none yet",
            "age on arrival p50 (ms)": f"{np.median(ages) * 1e3:.1f}" if ages else "",
            "source": situation.image_source,
            **{f"dropped: {cause}": str(n) for cause, n in sorted(self._drops.items())},
        }
        if not situation.enabled:
            return Finding("input", Level.OK, "off", "switched off by ~/enable", values)
        if silent_s > self.image_timeout_s:
            level = Level.ERROR if silent_s > 5 * self.image_timeout_s else Level.WARN
            never = "no image yet" if self._last_image is None else "no image any more"
            text = f"{never}, for {silent_s:.0f} s. {situation.image_source}"
            return Finding("input", level, f"silent {level}", text, values)
        if self._refusal is not None:
            cause, text = self._refusal
            return Finding("input", Level.ERROR, f"refused {cause}", text, values)
        if self._stamp_trouble:
            key = "clock" if "clock" in self._stamp_trouble else "stamp"
            return Finding("input", Level.WARN, key, self._stamp_trouble, values)
        if self._last_image is not None and now - (self._last_accepted or self._since) > max(
            self.image_timeout_s, 1.0
        ):
            text = "image stamps stand still: the camera repeats one frame, or never sets its stamp"
            return Finding("input", Level.WARN, "frozen", text, values)
        if self._last_image is None:
            return Finding("input", Level.OK, "waiting", "waiting for the first image", values)
        return Finding(
            "input", Level.OK, "good", f"{values['rate (Hz)']} Hz, {self._shape}", values
        )

    def _latency(self, now: float, situation: Situation) -> Finding:
        ages, steps = self._results.values(now), self._steps.values(now)
        p50, p95, p99 = np.percentile(ages, (50, 95, 99)) if ages else (np.nan,) * 3
        values = {
            "results (Hz)": f"{self._results.rate_hz(now):.1f}",
            "results": str(self._count),
            "latency p50 (ms)": f"{p50:.1f}",
            "latency p95 (ms)": f"{p95:.1f}",
            "latency p99 (ms)": f"{p99:.1f}",
            "step p50 (ms)": f"{np.median(steps):.1f}" if steps else "",
            "estimated": ", ".join(situation.wanted) or "nothing",
        }
        if not situation.enabled:
            return Finding("latency", Level.OK, "off", "switched off by ~/enable", values)
        waited_s = 0.0 if self._waiting_since is None else now - self._waiting_since
        if waited_s > STALE_WARN_S:
            level = Level.ERROR if waited_s > STALE_ERROR_S else Level.WARN
            text = (
                f"no result for {waited_s:.1f} s although images arrive: the engine hangs, or is "
                "far too slow for this machine"
            )
            return Finding("latency", level, f"stale {level}", text, values)
        if not situation.wanted:
            text = "nobody subscribes to a result, so nothing is computed"
            return Finding("latency", Level.OK, "idle", text, values)
        if p95 > LATE_WARN_MS and not self._stamp_trouble:
            text = (
                f"results are {p95:.0f} ms old (p95): stamps are late already on arrival, or the "
                "machine is too slow. See 'age on arrival' and 'step'."
            )
            return Finding("latency", Level.WARN, "late", text, values)
        text = f"{values['results (Hz)']} Hz, p50 {p50:.0f} ms" if ages else "no result yet"
        return Finding("latency", Level.OK, "good", text, values)

    def _engine(self, situation: Situation) -> Finding:
        if self.engine_trouble:
            text = self.engine_trouble
            return Finding("engine", Level.ERROR, text, text, situation.engine)
        if self._failure:
            text = self._failure
            return Finding("engine", Level.ERROR, f"failing: {text}", text, situation.engine)
        if not situation.engine:
            text = f"not loaded (the node is {situation.state})"
            return Finding("engine", Level.OK, "not loaded", text)
        text = situation.engine.get("runs on", "loaded")
        replaced = "instead of" in text  # see engine.base.Engine
        level, state = (Level.WARN, "replaced") if replaced else (Level.OK, "good")
        return Finding("engine", level, state, text, situation.engine)

    def _window(self, now: float, situation: Situation) -> Finding:
        breaks = len(self._breaks.values(now))
        values = {**situation.window, f"streams begun in {SPAN_S:.0f} s": str(breaks)}
        if breaks >= BREAKS_WARN:
            text = (
                f"the stream broke {breaks} times in {SPAN_S:.0f} s, last because of: "
                f"{situation.window.get('began', '')}. Two cameras on one topic, or a slow one? "
                "See window.max_gap_s."
            )
            return Finding("window", Level.WARN, "breaks", text, values)
        return Finding("window", Level.OK, "good", situation.window.get("fill", ""), values)


def _calibration(situation: Situation) -> Finding:
    if situation.calibration_trouble:
        text = situation.calibration_trouble
        return Finding("calibration", Level.WARN, text, text)
    text = situation.calibration_note or "metric"
    return Finding("calibration", Level.OK, text, text)


def _bodies(situation: Situation) -> Finding:
    if text := situation.bodies_trouble:  # with stamps in it: always another, always the same
        return Finding("bodies", Level.WARN, "held back", text, situation.bodies)
    return Finding("bodies", Level.OK, "published", "published", situation.bodies)


def _resting(part: str, situation: Situation) -> Finding:
    return Finding(part, Level.OK, "resting", f"the node is {situation.state}")
