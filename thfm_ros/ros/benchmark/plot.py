"""The plot of docs/latency.md."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from thfm_ros.contract import PerceptionError
from thfm_ros.ros.benchmark.measurement import PEER, Measured

_SERIES = (
    ("thfm, all estimates", "thfm", "estimates", "tab:blue"),
    ("thfm, only bodies", "thfm", "bodies", "tab:green"),
    ("MediaPipe pose", PEER, None, "tab:orange"),
)


def draw(measured: Sequence[Measured], image: Path) -> None:
    """Results, latency and cost over the camera's rate.

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
            each
            for each in measured
            if each.phase.sweep == "rates" and each.phase.subject == subject
            if topics is None or each.phase.topics == topics
        ]
        _curve(left, rows, label, colour, lambda each: each.skeleton.results_per_s)
        _curve(middle, rows, f"{label}, p50", colour, lambda each: each.skeleton.p50_ms)
        _curve(middle, rows, f"{label}, p99", colour, lambda each: each.skeleton.p99_ms, "--")
        _curve(right, rows, label, colour, lambda each: each.cpu_ms)
    for axis, what in (
        (left, "results per second"),
        (middle, "from stamp to arrival, ms"),
        (right, "CPU ms per result"),
    ):
        axis.set_xlabel("camera, Hz")
        axis.set_title(what, fontsize=10)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(image, dpi=100)
    pyplot.close(figure)


def _curve(
    axis: Any,
    rows: Sequence[Measured],
    label: str,
    colour: str,
    value: Callable[[Measured], float],
    style: str = "-",
) -> None:
    if rows:
        rates = [each.phase.rate_hz for each in rows]
        values = [value(each) for each in rows]
        axis.plot(rates, values, style, marker="o", markersize=3, color=colour, label=label)
