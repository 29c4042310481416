"""What was measured, as JSON, as a table for the terminal, and as docs/latency.md with a plot."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from thfm_ros.contract import PerceptionError
from thfm_ros.ros.benchmark.measurement import PEER, Measured, variant
from thfm_ros.ros.benchmark.stage_timings import Stages
from thfm_ros.ros.benchmark.statistics import ratio
from thfm_ros.ros.benchmark.targets import causes, goals

BEGIN = "<!-- measured: written by `thfm benchmark node --docs docs`, do not edit -->"
END = "<!-- end of what was measured -->"
IMAGE = Path("images", "latency.png")

HEADER = (
    "camera Hz",
    "node",
    "people: shown, found",
    "results/s",
    "p50",
    "p95",
    "p99",
    "max",
    "all topics p50, p99",
    "age p50, p99",
    "lost",
    "CPU ms",
    "RSS MB",
)


@dataclass
class Report:
    """All of a run."""

    machine: dict[str, Any]
    when: str
    stages: list[Stages] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    engines: dict[str, dict[str, str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Everything, without NaN (null instead)."""
        cleaned: dict[str, Any] = _finite(asdict(self))
        for row, measured in zip(cleaned["measured"], self.measured, strict=True):
            row["valid"] = measured.valid
        return cleaned

    def write(self, docs: Path) -> None:
        """Renew the measured part of ``docs``/latency.md, its plot and latency.json."""
        from thfm_ros.ros.benchmark.plot import draw

        page = docs / "latency.md"
        text = renewed(page.read_text() if page.exists() else f"{BEGIN}\n{END}\n", self.markdown())
        (docs / IMAGE).parent.mkdir(parents=True, exist_ok=True)
        draw(self.measured, docs / IMAGE)
        (docs / "latency.json").write_text(json.dumps(self.as_json(), indent=1) + "\n")
        page.write_text(text)

    def markdown(self) -> str:
        """The measured part of the page."""
        machine = ", ".join(f"{name}: {value}" for name, value in self.machine.items())
        engines = "; ".join(
            f"{name}: {about.get('runs on', '?')}" for name, about in self.engines.items()
        )
        busiest = max((m.others_cores + m.stolen_cores for m in self.measured), default=0.0)
        spoilt = sum(not each.valid for each in self.measured)
        head = ("what", "goal", "to be passed", "measured", "reached", "ratio to the peer")
        parts = [
            f"Measured {self.when}. {machine}. Engines: {engines}.",
            f"All else on the machine used {busiest:.2f} cores at most"
            + (f": **{spoilt} measurements are not valid**, and marked.\n" if spoilt else ".\n"),
            "### Goals\n",
            _rows(head, goals(self.measured, self.stages)),
            "",
            *causes(self.measured, self.stages),
            f"\n![Results, latency and processor time over the camera's rate]({IMAGE})\n",
        ]
        for sweep, title in TITLES.items():
            rows = [each for each in self.measured if each.phase.sweep == sweep]
            if rows:
                parts += [f"### {title}\n", _rows(HEADER, lines(rows)), ""]
        parts += ["### Where a step's time goes\n", _stage_table(self.stages)]
        return "\n".join(parts)


TITLES = {
    "rates": "One person, by the camera's rate",
    "people": "More people",
    "sizes": "A larger image",
    "topics": "Every topic subscribed, images for people included",
    "engines": "Other engines",
    "schedules": "How often the whole image is looked at",
    "overload": "More than it can do",
}


def table(measured: Sequence[Measured]) -> str:
    """For the terminal."""
    return _rows(HEADER, lines(measured))


def lines(measured: Sequence[Measured]) -> list[tuple[str, ...]]:
    """A row for each measurement, and one with the ratio after each pair of node and peer."""
    rows = []
    for each in measured:
        rows.append(_line(each))
        if other := twin(each, measured):
            rows.append(_ratio_line(each, other))
    return rows


def twin(ours: Measured, measured: Iterable[Measured]) -> Measured | None:
    """The peer's measurement under the same load as ``ours``."""
    if ours.phase.subject == PEER:
        return None
    for each in measured:
        it, that = ours.phase, each.phase
        same = all(
            getattr(it, name) == getattr(that, name)
            for name in ("rate_hz", "people", "width", "height", "sweep")
        )
        if that.subject == PEER and same:
            return each
    return None


def _line(each: Measured) -> tuple[str, ...]:
    it, all_topics = each.skeleton, each.complete
    rate = f"{each.phase.rate_hz:g}"
    if each.sent_rate_hz < 0.98 * each.phase.rate_hz:
        rate += f" (sent: {each.sent_rate_hz:.0f})"
    if (each.phase.width, each.phase.height) != (640, 480):
        rate += f", {each.phase.width}x{each.phase.height}"
    lost = ", ".join(f"{count} {cause}" for cause, count in each.losses.items())
    return (
        rate,
        name(each) + ("" if each.valid else " (NOT VALID: machine busy)"),
        f"{each.phase.people}, {each.people_found:.1f}",
        number(it.results_per_s, 1),
        *(number(ms) for ms in (it.p50_ms, it.p95_ms, it.p99_ms, it.max_ms)),
        f"{number(all_topics.p50_ms)}, {number(all_topics.p99_ms)}",
        f"{number(it.age_p50_ms)}, {number(it.age_p99_ms)}",
        lost or "0",
        number(each.cpu_ms, 1),
        f"{each.rss_mb:.0f}",
    )


def number(value: float, digits: int = 0) -> str:
    """A figure, or a dash where there was nothing to measure."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def name(each: Measured) -> str:
    """Who was measured, for people."""
    if each.phase.subject == PEER:
        return "MediaPipe pose"
    words, _ = variant(each.phase.subject)
    chosen = {"bodies": "only bodies", "estimates": "all estimates", "all": "all topics"}
    return f"thfm, {chosen[each.phase.topics]}" + (f", {words}" if words else "")


def _ratio_line(ours: Measured, theirs: Measured) -> tuple[str, ...]:
    a, b = ours.skeleton, theirs.skeleton
    pairs = [(a.results_per_s, b.results_per_s)]
    pairs += [(getattr(a, at), getattr(b, at)) for at in ("p50_ms", "p95_ms", "p99_ms", "max_ms")]
    values = [number(ratio(*pair), 2) for pair in pairs]
    cost, memory = ratio(ours.cpu_ms, theirs.cpu_ms), ratio(ours.rss_mb, theirs.rss_mb)
    ages = ratio(a.age_p50_ms, b.age_p50_ms), ratio(a.age_p99_ms, b.age_p99_ms)
    ends = (
        ratio(ours.complete.p50_ms, theirs.complete.p50_ms),
        ratio(ours.complete.p99_ms, theirs.complete.p99_ms),
    )
    return (
        "",
        "ratio to MediaPipe",
        "",
        *values,
        f"{number(ends[0], 2)}, {number(ends[1], 2)}",
        f"{number(ages[0], 2)}, {number(ages[1], 2)}",
        "",
        number(cost, 2),
        number(memory, 2),
    )


def _stage_table(measured: Sequence[Stages]) -> str:
    names = list(measured[0].wall_ms) if measured else []
    rows = [
        (
            each.tasks,
            *(f"{each.wall_ms[stage]:.1f}" for stage in names),
            f"{each.p99_total_ms:.1f}",
            f"{each.cpu_ms:.1f}",
            f"{each.network_cpu_ms:.1f}",
        )
        for each in measured
    ]
    ends = ("p99 total ms", "CPU ms", "of these the network")
    return _rows(("asked for", *(f"{stage} ms" for stage in names), *ends), rows)


def _rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, which can be read in a terminal as well."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [header, *rows]
    ]
    return "\n".join([padded[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *padded[1:]])


def renewed(page: str, measured: str) -> str:
    """``page`` with the part between the marks replaced.

    Raises:
        PerceptionError: the marks are not there, so it is not known where to write.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise PerceptionError(f"latency.md must have one line {BEGIN!r} and, later, one {END!r}.")
    before, rest = page.split(BEGIN)
    return before + BEGIN + "\n" + measured.rstrip("\n") + "\n" + END + rest.split(END)[1]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
