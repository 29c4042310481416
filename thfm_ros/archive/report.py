# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""report.html: totals, people over time per bag, thumbnails, failed, doubtful and slowest units.

The file needs no other: images and styles are in it, and there are no scripts.
"""

import base64
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from thfm_ros.archive.outcome import DONE, ERROR, Outcome
from thfm_ros.archive.work import SUMMARY, THUMBNAIL
from thfm_ros.offline.results.temporary_file import TemporaryFile

_MAX_SHOWN = 300
"""More units than these are in the manifest only: a browser must be able to open the file."""
_SLOWEST = 10
_WIDTH, _HEIGHT = 360, 60  # of a plot, pixels

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>thfm archive</title><style>
body {{ font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em; color: #222 }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .3em .8em .3em 0; border-bottom: 1px solid #ddd;
  vertical-align: top; overflow-wrap: anywhere }}
table.totals {{ width: auto }}
table.reasons td:first-child {{ width: 22em }}
td.number, th.number {{ text-align: right; white-space: nowrap; overflow-wrap: normal }}
img {{ width: 160px; display: block }}
svg {{ background: #f4f6f8 }}
.error {{ color: #b00020 }}
</style></head><body>
<h1>thfm archive</h1>
<table class="totals">{totals}</table>
{failed}{warned}{slowest}
<h2>People over time</h2>
<p>Confirmed tracks per frame, the largest number of each interval. {left_out}</p>
<table><tr><th></th><th>bag, topic</th><th>people over time</th><th class="number">frames</th>
<th class="number">people</th></tr>
{units}</table></body></html>
"""


def write_report(path: Path, units: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the report.

    Args:
        path: of the file.
        units: folder of the units' results.
        outcomes: of all units of the run.
    """
    done = _done(outcomes)
    failed = [each for each in outcomes if each.state == ERROR]
    left_out = f"{len(done) - _MAX_SHOWN} more are in the manifest." if done[_MAX_SHOWN:] else ""
    page = _PAGE.format(
        totals=_totals(done, failed),
        failed=_reasons("Failed", [(each, each.error) for each in failed], "error"),
        warned=_reasons("Warnings", [(each, each.warning) for each in done if each.warning]),
        slowest=_slowest(done),
        left_out=left_out,
        units="\n".join(_unit(each, units / each.unit) for each in done[:_MAX_SHOWN]),
    )
    file = TemporaryFile(path)
    try:
        file.temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
        file.complete()
    finally:
        file.abandon()


def files_shown(outcomes: Sequence[Outcome]) -> list[str]:
    """Names of the files below the folder of units that the report shows."""
    shown = _done(outcomes)[:_MAX_SHOWN]
    return [f"{each.unit}/{name}" for each in shown for name in (SUMMARY, THUMBNAIL)]


def _done(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return sorted(
        (each for each in outcomes if each.state == DONE), key=lambda o: (o.source, o.topic)
    )


def _totals(done: Sequence[Outcome], failed: Sequence[Outcome]) -> str:
    frames, seconds = sum(each.frames for each in done), sum(each.seconds for each in done)
    rate = f"{frames / seconds:.1f}" if seconds else "none"
    rows = {
        "units done": len(done),
        "units that failed": len(failed),
        "units with warnings": sum(bool(each.warning) for each in done),
        "bags": len({each.source for each in [*done, *failed]}),
        "frames": frames,
        "people (different ids)": sum(each.people for each in done),
        "seconds of work, all workers together": f"{seconds:.0f}",
        "frames per second of one worker, as it went": rate,
    }
    return "".join(
        f"<tr><th>{name}</th><td class='number'>{value}</td></tr>" for name, value in rows.items()
    )


def _reasons(title: str, units: Sequence[tuple[Outcome, str]], kind: str = "") -> str:
    if not units:
        return ""
    rows = "".join(
        f"<tr><td>{_name(each)}</td><td class='{kind}'>{escape(text)}</td></tr>"
        for each, text in units[:_MAX_SHOWN]
    )
    head = "<tr><th>bag, topic</th><th>reason</th></tr>"
    more = (
        f"<p>{len(units) - _MAX_SHOWN} more are in the manifest.</p>" if units[_MAX_SHOWN:] else ""
    )
    return f"<h2>{title}</h2><table class='reasons'>{head}{rows}</table>{more}"


def _slowest(done: Sequence[Outcome]) -> str:
    slowest = sorted(done, key=lambda each: -each.seconds)[:_SLOWEST]
    rows = "".join(
        f"<tr><td>{_name(each)}</td><td class='number'>{each.seconds:.1f}</td>"
        f"<td class='number'>{each.frames}</td></tr>"
        for each in slowest
    )
    head = "<tr><th>bag, topic</th><th class='number'>seconds</th><th class='number'>frames</th>"
    return f"<h2>Slowest</h2><table>{head}</tr>{rows}</table>" if rows else ""


def _unit(outcome: Outcome, folder: Path) -> str:
    return (
        f"<tr><td>{_thumbnail(folder / THUMBNAIL)}</td><td>{_name(outcome)}<br>"
        f"<small>units/{escape(outcome.unit)}</small></td><td>{_plot(folder / SUMMARY)}</td>"
        f"<td class='number'>{outcome.frames}</td><td class='number'>{outcome.people}</td></tr>"
    )


def _name(outcome: Outcome) -> str:
    return f"{escape(outcome.source)}<br>{escape(outcome.topic)}"


def _thumbnail(path: Path) -> str:
    try:
        data = base64.b64encode(path.read_bytes()).decode()
    except OSError:
        return ""
    return f"<img alt='the frame with most people' src='data:image/jpeg;base64,{data}'>"


def _plot(path: Path) -> str:
    """People over time as steps."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        people = [int(count) for count in values["people"]]
        duration_s = (int(values["end_ns"]) - int(values["start_ns"])) * 1e-9
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    most, step = max([1, *people]), _WIDTH / max(len(people), 1)
    bars = "".join(
        f"<rect x='{number * step:.1f}' y='{_HEIGHT * (1 - count / most):.1f}' "
        f"width='{step:.1f}' height='{_HEIGHT * count / most:.1f}' fill='#2878b5'/>"
        for number, count in enumerate(people)
        if count
    )
    label = f"0 to {duration_s:.1f} s, at most {max([0, *people])}"
    return (
        f"<svg width='{_WIDTH}' height='{_HEIGHT}' role='img' aria-label='{label}'>{bars}</svg>"
        f"<br><small>{label}</small>"
    )
