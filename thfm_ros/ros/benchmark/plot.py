# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The plot of docs/latency.md."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from thfm_ros.contract import PerceptionError
from thfm_ros.ros.benchmark.measurement import MEDIAPIPE, Measurement

_SERIES = (
    ("thfm, all estimates", "thfm", "estimates", "tab:blue"),
    ("thfm, only bodies", "thfm", "bodies", "tab:green"),
    ("MediaPipe Pose", MEDIAPIPE, None, "tab:orange"),
)


def write_plot(measurements: Sequence[Measurement], image: Path) -> None:
    """Plot results, latency and CPU time over the camera's rate into the file ``image``.

    Raises:
        PerceptionError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ModuleNotFoundError as missing:
        raise PerceptionError("The plot needs matplotlib: pip install matplotlib") from missing
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, middle, right) = pyplot.subplots(1, 3, figsize=(12, 3.6))
    for label, subject, topics, colour in _SERIES:
        rows = [
            row
            for row in measurements
            if row.scenario.sweep == "rates" and row.scenario.subject == subject
            if topics is None or row.scenario.topics == topics
        ]
        _curve(left, rows, label, colour, lambda row: row.skeleton.results_per_s)
        _curve(middle, rows, f"{label}, p50", colour, lambda row: row.skeleton.p50_ms)
        _curve(middle, rows, f"{label}, p99", colour, lambda row: row.skeleton.p99_ms, "--")
        _curve(right, rows, label, colour, lambda row: row.cpu_ms)
    for axis, title in (
        (left, "results per second"),
        (middle, "latency from stamp to arrival, ms"),
        (right, "CPU ms per result"),
    ):
        axis.set_xlabel("camera rate, Hz")
        axis.set_title(title, fontsize=10)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(image, dpi=100)
    pyplot.close(figure)


def _curve(
    axis: Any,
    rows: Sequence[Measurement],
    label: str,
    colour: str,
    value: Callable[[Measurement], float],
    style: str = "-",
) -> None:
    if rows:
        rates = [row.scenario.rate_hz for row in rows]
        values = [value(row) for row in rows]
        axis.plot(rates, values, style, marker="o", markersize=3, color=colour, label=label)
