# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The performance targets, compared with the measurements."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from thfm_ros.ros.benchmark.measurement import (
    MEDIAPIPE,
    THFM,
    WITHOUT_MASK,
    Measurement,
    subject_settings,
)
from thfm_ros.ros.benchmark.stage_timings import StageTimings
from thfm_ros.ros.benchmark.statistics import ratio

NODE_CPU_MS = (5.0, 7.0)
"""Goal and acceptance threshold of the CPU time per frame of the node without its network."""

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
)
# The same conditions; the value is the ratio to MediaPipe with the same outputs, in the same run.
_RATIOS = (
    _Target("CPU ms per result", 0.9, 1.15, lambda m: m.cpu_ms),
    _Target("skeleton, p50 ms", 1.1, 1.35, lambda m: m.skeleton.p50_ms),
    _Target("CPU ms per result, only bodies", 0.9, 1.1, lambda m: m.cpu_ms, topics="bodies"),
)
# By number of people: lowest results/s, and highest age of a person's last measurement, p95 in ms.
_GROUPS = {4: (28.0, 120.0), 8: (25.0, 250.0)}
_UNLIMITED = f"{THFM}_budget_0"
_MAX_PEOPLE_MISSED = 0.1  # with a time budget, less than without one
_DEMO_SHARE = 0.95  # of the film's images have a result


def target_rows(
    measurements: Sequence[Measurement],
    stages: Sequence[StageTimings],
    demo: Mapping[str, Any] | None = None,
) -> list[tuple[str, ...]]:
    """Rows: metric, target, acceptance threshold, measured, verdict, ratio to MediaPipe."""
    rows: list[tuple[str, ...]] = []
    baseline = _at_30_hz(measurements, MEDIAPIPE, "")
    for target in _TARGETS:
        measurement = _at_30_hz(measurements, THFM, target.topics)
        if measurement is not None:
            value = target.value(measurement)
            relative = f"{ratio(value, target.value(baseline)):.2f}" if baseline else ""
            rows.append(_row(target, value, f"{value:.1f}", relative))
    rows += _ratio_rows(measurements) + _node_overhead_row(measurements, stages)
    return rows + _group_rows(measurements) + _demo_row(demo) + _overload_rows(measurements)


def _row(target: _Target, value: float, text: str, relative: str = "") -> tuple[str, ...]:
    limits = (f"{target.target:g}", f"{target.acceptance_threshold:g}")
    return (target.metric, *limits, text, target.verdict(value), relative)


def _ratio_rows(measurements: Sequence[Measurement]) -> list[tuple[str, ...]]:
    rows = []
    for target in _RATIOS:
        ours = _at_30_hz(measurements, THFM, target.topics)
        subject = WITHOUT_MASK if target.topics == "bodies" else MEDIAPIPE
        baseline = _at_30_hz(measurements, subject, target.topics)
        if ours is not None and baseline is not None:
            value = ratio(target.value(ours), target.value(baseline))
            named = replace(target, metric=f"{target.metric}: ratio to MediaPipe")
            text = f"{target.value(ours):.1f} / {target.value(baseline):.1f}"
            rows.append(_row(named, value, text, f"{value:.2f}"))
    return rows


def _group_rows(measurements: Sequence[Measurement]) -> list[tuple[str, ...]]:
    """Several people, with time budgets and without, and how many fewer are found with one."""
    rows: list[tuple[str, ...]] = []
    groups = [each for each in measurements if each.scenario.sweep == "people"]
    ours = [each for each in groups if each.scenario.subject.partition("_")[0] == THFM]
    for each in ours:
        people, budget = each.scenario.people, subject_settings(each.scenario.subject)[0]
        if people not in _GROUPS:
            continue
        rate, age_ms = _GROUPS[people]
        label = f"{people} people" + (f", {budget}" if budget else "")
        results = _Target(f"{label}: results/s", rate, rate, lambda _: 0.0, higher_is_better=True)
        value = each.skeleton.results_per_s
        rows.append(_row(results, value, f"{value:.1f}"))
        oldest = _Target(f"{label}: last measurement, p95 ms", age_ms, age_ms, lambda _: 0.0)
        if math.isfinite(each.measured_p95_ms):
            rows.append(_row(oldest, each.measured_p95_ms, f"{each.measured_p95_ms:.0f}"))
        same = {m.scenario.subject: m for m in ours if m.scenario.people == people}
        whole = same.get(_UNLIMITED) or same.get(THFM)  # before the default had a budget
        if whole and each is not whole:
            missed = whole.people_detected - each.people_detected
            limit = _MAX_PEOPLE_MISSED
            fewer = _Target(f"{label}: fewer people found", limit, limit, lambda _: 0.0)
            rows.append(_row(fewer, missed, f"{missed:.2f}"))
    return rows


def _demo_row(demo: Mapping[str, Any] | None) -> list[tuple[str, ...]]:
    if not demo:
        return []
    name, limit = "demo: images with a result", _DEMO_SHARE
    target = _Target(name, limit, limit, lambda _: 0.0, higher_is_better=True)
    share = ratio(demo["results"], demo["input_images"])
    return [_row(target, share, f"{demo['results']} of {demo['input_images']}")]


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
    target = _Target("CPU ms per result, without the network", *NODE_CPU_MS, lambda m: m.cpu_ms)
    return [_row(target, cpu_ms, f"{cpu_ms:.1f}")]


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
            subject in (MEDIAPIPE, WITHOUT_MASK) or scenario.topics == topics
        ):
            return measurement
    return None
