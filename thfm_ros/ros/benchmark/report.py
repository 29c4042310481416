# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The measurements as JSON, as a table for the terminal, and as docs/latency.md with a plot."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from thfm_ros.contract import PerceptionError
from thfm_ros.ros.benchmark.measurement import (
    MEDIAPIPE,
    WITHOUT_MASK,
    Measurement,
    Scenario,
    baseline_subject,
    is_mediapipe,
    subject_settings,
)
from thfm_ros.ros.benchmark.stage_timings import StageTimings
from thfm_ros.ros.benchmark.statistics import ratio
from thfm_ros.ros.benchmark.targets import cpu_breakdown, target_rows

BEGIN = "<!-- measured: written by `thfm benchmark node --docs docs`, do not edit -->"
END = "<!-- end of the measured section -->"
IMAGE = Path("images", "latency.png")

HEADER = (
    "camera Hz",
    "node",
    "people: in image, detected",
    "results/s",
    "p50",
    "p95",
    "p99",
    "max",
    "all topics p50, p99",
    "age p50, p99",
    "frames without result",
    "CPU ms",
    "RSS MB",
)
TARGET_HEADER = (
    "metric",
    "target",
    "acceptance threshold",
    "measured",
    "verdict",
    "ratio to MediaPipe",
)
TITLES = {
    "rates": "One person, by camera rate",
    "people": "Several people",
    "worst": "Worst case: eight people, a detection pass in every frame, all topics",
    "sizes": "A larger image",
    "topics": "All topics subscribed, visualizations included",
    "engines": "Other engines",
    "detection_intervals": "Interval of the full-frame detection pass",
    "overload": "Overload",
}


@dataclass
class Report:
    """All measurements of one run of the benchmark."""

    machine: dict[str, Any]
    when: str
    stages: list[StageTimings] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    engines: dict[str, dict[str, str]] = field(default_factory=dict)
    demo: dict[str, Any] = field(default_factory=dict)  # of `demo_run`; empty: not run

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values, NaN as null."""
        values: dict[str, Any] = _nan_to_none(asdict(self))
        for row, measurement in zip(values["measurements"], self.measurements, strict=True):
            row["valid"] = measurement.valid
        return values

    def write(self, docs: Path) -> None:
        """Update the measured section of ``docs``/latency.md, its plot and latency.json.

        Raises:
            PerceptionError: the page has no measured section, or matplotlib is not installed.
        """
        from thfm_ros.ros.benchmark.plot import write_plot

        page = docs / "latency.md"
        old = page.read_text() if page.exists() else f"{BEGIN}\n{END}\n"
        new = replace_measured_section(old, self.markdown())
        (docs / IMAGE).parent.mkdir(parents=True, exist_ok=True)
        write_plot(self.measurements, docs / IMAGE)
        (docs / "latency.json").write_text(json.dumps(self.as_json(), indent=1) + "\n")
        page.write_text(new)

    def markdown(self) -> str:
        """The measured section of the page."""
        machine = ", ".join(f"{name}: {value}" for name, value in self.machine.items())
        engines = "; ".join(
            f"{subject}: {engine.get('runs on', '?')}" for subject, engine in self.engines.items()
        )
        most = max((each.disturbance_cores for each in self.measurements), default=0.0)
        invalid = sum(not each.valid for each in self.measurements)
        parts = [
            f"Measured {self.when}. {machine}. Engines: {engines}.",
            f"Other processes used at most {most:.2f} cores"
            + (f": **{invalid} measurements are invalid** and marked.\n" if invalid else ".\n"),
            "### Targets\n",
            markdown_table(TARGET_HEADER, target_rows(self.measurements, self.stages, self.demo)),
            "",
            *cpu_breakdown(self.measurements, self.stages),
            f"\n![Results, latency and CPU time over the camera's rate]({IMAGE})\n",
        ]
        for sweep, title in TITLES.items():
            rows = [each for each in self.measurements if each.scenario.sweep == sweep]
            if rows:
                parts += [f"### {title}\n", markdown_table(HEADER, measurement_rows(rows)), ""]
        groups = [each for each in self.measurements if each.scenario.sweep in ("people", "worst")]
        if any(math.isfinite(each.measured_p95_ms) for each in groups):
            parts += ["### Age of each person's last measurement\n", group_table(groups), ""]
        parts += ["### Time per stage of the pipeline\n", _stage_table(self.stages)]
        return "\n".join(parts)


def group_table(measurements: Sequence[Measurement]) -> str:
    """How old each person's last measurement is when a result arrives, and the cost per person."""
    header = ("node", "people: in image, found", "p50 ms", "p95 ms", "p99 ms", "CPU ms per person")
    rows = [
        (
            subject_label(each.scenario),
            f"{each.scenario.people}, {each.people_detected:.1f}",
            *(
                format_number(ms)
                for ms in (each.measured_p50_ms, each.measured_p95_ms, each.measured_p99_ms)
            ),
            format_number(each.cpu_ms_per_person, 1),
        )
        for each in measurements
    ]
    return markdown_table(header, rows)


def terminal_table(measurements: Sequence[Measurement]) -> str:
    """All measurements in one table."""
    return markdown_table(HEADER, measurement_rows(measurements))


def measurement_rows(measurements: Sequence[Measurement]) -> list[tuple[str, ...]]:
    """A row for each measurement, followed by its ratio to MediaPipe where there is one."""
    rows = []
    for measurement in measurements:
        rows.append(_row(measurement))
        if baseline := baseline_of(measurement, measurements):
            rows.append(_ratio_row(measurement, baseline))
    return rows


def baseline_of(
    measurement: Measurement, measurements: Iterable[Measurement]
) -> Measurement | None:
    """The measurement of MediaPipe with the same outputs, under the same load."""
    if is_mediapipe(measurement.scenario.subject):
        return None
    wanted = baseline_subject(measurement.scenario)
    for other in measurements:
        same_load = all(
            getattr(measurement.scenario, name) == getattr(other.scenario, name)
            for name in ("rate_hz", "people", "width", "height", "sweep")
        )
        if other.scenario.subject == wanted and same_load:
            return other
    return None


def _row(measurement: Measurement) -> tuple[str, ...]:
    scenario, skeleton, complete = (
        measurement.scenario,
        measurement.skeleton,
        measurement.complete,
    )
    camera = f"{scenario.rate_hz:g}"
    if measurement.sent_rate_hz < 0.98 * scenario.rate_hz:
        camera += f" (sent: {measurement.sent_rate_hz:.0f})"
    if (scenario.width, scenario.height) != (640, 480):
        camera += f", {scenario.width}x{scenario.height}"
    losses = ", ".join(f"{count} {cause}" for cause, count in measurement.losses.items())
    percentiles = (skeleton.p50_ms, skeleton.p95_ms, skeleton.p99_ms, skeleton.max_ms)
    return (
        camera,
        subject_label(scenario) + ("" if measurement.valid else " (INVALID: machine busy)"),
        f"{scenario.people}, {measurement.people_detected:.1f}",
        format_number(skeleton.results_per_s, 1),
        *(format_number(ms) for ms in percentiles),
        f"{format_number(complete.p50_ms)}, {format_number(complete.p99_ms)}",
        f"{format_number(skeleton.age_p50_ms)}, {format_number(skeleton.age_p99_ms)}",
        losses or "0",
        format_number(measurement.cpu_ms, 1),
        f"{measurement.rss_mb:.0f}",
    )


def format_number(value: float, digits: int = 0) -> str:
    """A number, or a dash for NaN."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def subject_label(scenario: Scenario) -> str:
    """The measured node and its subscribed topics, as a label."""
    if is_mediapipe(scenario.subject):
        options = {MEDIAPIPE: "", WITHOUT_MASK: ", without mask"}
        cells = f", {scenario.people} graphs, each told where its person is"
        return "MediaPipe Pose" + options.get(scenario.subject, cells)
    settings, _ = subject_settings(scenario.subject)
    topics = {"bodies": "only bodies", "estimates": "all estimates", "all": "all topics"}
    return f"thfm, {topics[scenario.topics]}" + (f", {settings}" if settings else "")


def _ratio_row(ours: Measurement, baseline: Measurement) -> tuple[str, ...]:
    def ratios(*pairs: tuple[float, float]) -> str:
        return ", ".join(format_number(ratio(*pair), 2) for pair in pairs)

    a, b = ours.skeleton, baseline.skeleton
    return (
        "",
        "ratio to MediaPipe",
        "",
        ratios((a.results_per_s, b.results_per_s)),
        ratios((a.p50_ms, b.p50_ms)),
        ratios((a.p95_ms, b.p95_ms)),
        ratios((a.p99_ms, b.p99_ms)),
        ratios((a.max_ms, b.max_ms)),
        ratios(
            (ours.complete.p50_ms, baseline.complete.p50_ms),
            (ours.complete.p99_ms, baseline.complete.p99_ms),
        ),
        ratios((a.age_p50_ms, b.age_p50_ms), (a.age_p99_ms, b.age_p99_ms)),
        "",
        ratios((ours.cpu_ms, baseline.cpu_ms)),
        ratios((ours.rss_mb, baseline.rss_mb)),
    )


def _stage_table(stages: Sequence[StageTimings]) -> str:
    names = list(stages[0].wall_ms) if stages else []
    rows = [
        (
            timings.tasks,
            *(f"{timings.wall_ms[name]:.1f}" for name in names),
            f"{timings.p99_total_ms:.1f}",
            f"{timings.cpu_ms:.1f}",
            f"{timings.network_cpu_ms:.1f}",
        )
        for timings in stages
    ]
    last = ("p99 total ms", "CPU ms", "CPU ms of the network")
    return markdown_table(("tasks", *(f"{name} ms" for name in names), *last), rows)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with padded columns, readable in a terminal as well."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [header, *rows]
    ]
    return "\n".join([padded[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *padded[1:]])


def replace_measured_section(page: str, measured: str) -> str:
    """``page`` with the section between the marks replaced.

    Raises:
        PerceptionError: the marks are missing, so it is not known where to write.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise PerceptionError(f"latency.md must have one line {BEGIN!r} and, later, one {END!r}.")
    before, rest = page.split(BEGIN)
    return before + BEGIN + "\n" + measured.rstrip("\n") + "\n" + END + rest.split(END)[1]


def _nan_to_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nan_to_none(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_nan_to_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
