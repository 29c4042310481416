# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Tables in Markdown, and pages that hold them between markers."""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from thfm_ros.contract import PerceptionError
from thfm_ros.metrics.score import Score

logger = logging.getLogger(__name__)


class Row(NamedTuple):
    """One metric of a table."""

    title: str
    score: Score
    decimals: int
    baseline: str = ""  # what the baseline is; empty: it is not shown
    acceptance: str = ""  # the acceptance threshold
    target: str = ""
    factor: float = 1.0  # from the score to what is printed, for example 100 for percent


def number(value: float, decimals: int) -> str:
    """A value as a table shows it; NaN is "not measured"."""
    return "not measured" if math.isnan(value) else f"{value:.{decimals}f}"


def metric_table(rows: Iterable[Row]) -> str:
    """A table with one row per metric: value, baseline, acceptance threshold and target."""
    lines = [
        "| metric | this checkpoint | baseline | acceptance threshold | target |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        value = number(row.score.value * row.factor, row.decimals)
        baseline = ""
        if row.baseline:
            baseline = number(row.score.baseline * row.factor, row.decimals)
            baseline = f"{baseline} ({row.baseline})"
        lines.append(f"| {row.title} | {value} | {baseline} | {row.acceptance} | {row.target} |")
    return "\n".join(lines)


def cell(score: Score | None, decimals: int) -> str:
    """A score with its baseline in brackets; "-" where there is none."""
    if score is None:
        return "-"
    return f"{number(score.value, decimals)} ({number(score.baseline, decimals)})"


def group_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with these column titles and cells; the first column names the groups."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def markers(section: str) -> tuple[str, str]:
    """The two lines of a page between which a section is written."""
    return f"<!-- {section}: begin -->", f"<!-- {section}: end -->"


def check_page(page: Path, sections: Sequence[str]) -> None:
    """Check that a page can take these sections, before the time to measure them is spent.

    Raises:
        PerceptionError: there is no such page, or it lacks markers; which ones.
    """
    if not page.is_file():
        raise PerceptionError(f"There is no page {page} to write the tables into.")
    text = page.read_text(encoding="utf-8")
    for section in sections:
        begin, end = markers(section)
        if begin not in text or end not in text.partition(begin)[2]:
            raise PerceptionError(
                f"{page} has no lines '{begin}' and '{end}' to write the tables between."
            )


def write_section(page: Path, section: str, text: str) -> None:
    """Replace what stands between the section's markers.

    Raises:
        PerceptionError: the page has no markers for it.
    """
    check_page(page, [section])
    begin, end = markers(section)
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def report_or_error(page: Path | None, section: str, measure: Callable[[], str]) -> int:
    """What a command does that measures one section: log its text, and write it into a page.

    Returns:
        the exit code: 2 for a PerceptionError, which is logged as one line.
    """
    try:
        if page:
            check_page(page, [section])
        text = measure()
        if page:
            write_section(page, section, text)
    except PerceptionError as error:
        logger.error("%s", error)
        return 2
    logger.info("%s", text)
    return 0
