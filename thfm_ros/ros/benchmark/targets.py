# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The performance targets, compared with the measurements."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thfm_ros.ros.benchmark.measurement import MEDIAPIPE, THFM, Measurement
from thfm_ros.ros.benchmark.stage_timings import StageTimings
from thfm_ros.ros.benchmark.statistics import ratio

MEDIAPIPE_CPU_MS = 26.0
"""CPU time per frame of the MediaPipe node when the targets were set."""
NODE_CPU_MS = 5.0
"""Target for the CPU time per frame of the node without its network."""

MET, ACCEPTED, MISSED = "target met", "accepted", "missed"


@dataclass(frozen=True)
class _Target:
    metric: str
    target: float
    acceptance_threshold: float
    value: Callable[[Measurement], float]
    topics: str = "estimates"
    higher_is_better: bool = False

    def verdict(self, value: float) -> str:
        """Whether ``value`` meets the target, only the acceptance threshold, or neither."""
        sign = 1 if self.higher_is_better else -1
        if sign * value >= sign * self.target:
            return MET
        return ACCEPTED if sign * value >= sign * self.acceptance_threshold else MISSED


# For 30 Hz, one person, 640x480.
_TARGETS = (
    _Target("results/s", 29.5, 20, lambda m: m.skeleton.results_per_s, higher_is_better=True),
    _Target("skeleton, p50 ms", 34, 60, lambda m: m.skeleton.p50_ms),
    _Target("skeleton, p99 ms", 50, 120, lambda m: m.skeleton.p99_ms),
    _Target("all estimates, p50 ms", 34, 60, lambda m: m.complete.p50_ms),
    _Target("all estimates, p99 ms", 50, 120, lambda m: m.complete.p99_ms),
    _Target("CPU ms per result", MEDIAPIPE_CPU_MS, MEDIAPIPE_CPU_MS, lambda m: m.cpu_ms),
    _Target(
        "CPU ms per result, only bodies",
        MEDIAPIPE_CPU_MS / 2,
        MEDIAPIPE_CPU_MS / 2,
        lambda m: m.cpu_ms,
        topics="bodies",
    ),
)


def target_rows(
    measurements: Sequence[Measurement], stages: Sequence[StageTimings]
) -> list[tuple[str, ...]]:
    """Rows: metric, target, acceptance threshold, measured, verdict, ratio to MediaPipe."""
    rows: list[tuple[str, ...]] = []
    baseline = _at_30_hz(measurements, MEDIAPIPE, "")
    for target in _TARGETS:
        measurement = _at_30_hz(measurements, THFM, target.topics)
        if measurement is None:
            continue
        value = target.value(measurement)
        rows.append(
            (
                target.metric,
                f"{target.target:g}",
                f"{target.acceptance_threshold:g}",
                f"{value:.1f}",
                target.verdict(value),
                f"{ratio(value, target.value(baseline)):.2f}" if baseline else "",
            )
        )
    return rows + _node_overhead_row(measurements, stages) + _overload_rows(measurements)


def cpu_breakdown(measurements: Sequence[Measurement], stages: Sequence[StageTimings]) -> list[str]:
    """The parts of the node's CPU time, a sentence for each set of topics."""
    sentences = []
    for timings in stages:
        node = _at_30_hz(measurements, THFM, timings.tasks)
        if node is None:
            continue
        network, other_stages = timings.network_cpu_ms, timings.cpu_ms - timings.network_cpu_ms
        sentences.append(
            f"Of {node.cpu_ms:.1f} CPU ms per result ({timings.tasks}) the network takes "
            f"{network:.1f}, the other stages of the pipeline {other_stages:.1f}, receiving and "
            f"publishing {node.cpu_ms - network - other_stages:.1f}."
        )
    return sentences


def _node_overhead_row(
    measurements: Sequence[Measurement], stages: Sequence[StageTimings]
) -> list[tuple[str, ...]]:
    """The node's CPU time less that of the network."""
    node = _at_30_hz(measurements, THFM, "estimates")
    timings = next((each for each in stages if each.tasks == "estimates"), None)
    if node is None or timings is None:
        return []
    cpu_ms = node.cpu_ms - timings.network_cpu_ms
    verdict = MET if cpu_ms <= NODE_CPU_MS else MISSED
    limit = f"{NODE_CPU_MS:g}"
    return [("CPU ms per result, without the network", limit, limit, f"{cpu_ms:.1f}", verdict, "")]


def _overload_rows(measurements: Sequence[Measurement]) -> list[tuple[str, ...]]:
    """At any camera rate a result may be as old as two steps and one frame."""
    rows: list[tuple[str, ...]] = []
    for measurement in measurements:
        if measurement.scenario.sweep != "overload":
            continue
        step_ms = 1e3 * ratio(1.0, measurement.skeleton.results_per_s)
        limit_ms = 2 * step_ms + 1e3 / measurement.sent_rate_hz
        p99_ms = measurement.skeleton.p99_ms
        metric = f"skeleton, p99 ms, camera at {measurement.sent_rate_hz:.0f} Hz"
        verdict = MET if p99_ms <= limit_ms else MISSED
        rows.append((metric, f"{limit_ms:.0f}", f"{limit_ms:.0f}", f"{p99_ms:.0f}", verdict, ""))
    return rows


def _at_30_hz(measurements: Sequence[Measurement], subject: str, topics: str) -> Measurement | None:
    for measurement in measurements:
        scenario = measurement.scenario
        if (scenario.subject, scenario.rate_hz, scenario.sweep) == (subject, 30.0, "rates") and (
            subject == MEDIAPIPE or scenario.topics == topics
        ):
            return measurement
    return None
