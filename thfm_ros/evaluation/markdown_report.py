"""Figures as Markdown: each beside its baseline, written between the markers of a page."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from thfm_ros.contract import PerceptionError

Scores = dict[str, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table: what is measured, and the numbers it is to be held against."""

    title: str
    key: str
    decimals: int
    to_pass: str = ""
    goal: str = ""
    baseline: str | None = None  # key of the baseline's figure
    baseline_means: str = ""
    factor: float = 1.0  # from the figure to what is printed, for example 100 for percent


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a breakdown; ``{}`` in a key stands for the row's name."""

    title: str
    key: str
    decimals: int
    baseline: str | None = None


def number(value: float, decimals: int) -> str:
    """A figure, or what is said where there was nothing to measure it on."""
    return "not measured" if math.isnan(value) else f"{value:.{decimals}f}"


def table(scores: Scores, lines: Sequence[Line]) -> str:
    """The figures as Markdown. Every line must have been measured, or say NaN."""
    rows = [
        "| figure | this checkpoint | baseline | to be passed | goal |",
        "|---|---|---|---|---|",
    ]
    for line in lines:
        baseline = ""
        if line.baseline is not None:
            trivial = number(scores[line.baseline] * line.factor, line.decimals)
            baseline = f"{trivial} ({line.baseline_means})"
        value = number(scores[line.key] * line.factor, line.decimals)
        rows.append(f"| {line.title} | {value} | {baseline} | {line.to_pass} | {line.goal} |")
    return "\n".join(rows)


def breakdown(scores: Scores, what: str, names: Sequence[str], columns: Sequence[Column]) -> str:
    """A table with a row for each name, baselines in brackets; "-" where a cell has no meaning."""
    rows = [
        "| " + " | ".join([what, *(column.title for column in columns)]) + " |",
        "|" + "---|" * (len(columns) + 1),
    ]
    for name in names:
        cells = [name]
        for column in columns:
            value = scores.get(column.key.format(name))
            cell = "-" if value is None else number(value, column.decimals)
            if column.baseline is not None and value is not None:
                trivial = scores.get(column.baseline.format(name), math.nan)
                cell += f" ({number(trivial, column.decimals)})"
            cells.append(cell)
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def markers(section: str) -> tuple[str, str]:
    """The lines of a page between which a section is written."""
    return f"<!-- {section}: begin -->", f"<!-- {section}: end -->"


def check_page(page: Path, sections: Sequence[str]) -> None:
    """Refuse a page that cannot take these sections, before an hour was spent on them.

    Raises:
        PerceptionError: there is no such page, or it lacks markers; which ones.
    """
    if not page.is_file():
        raise PerceptionError(f"There is no page {page} to write the figures into.")
    text = page.read_text(encoding="utf-8")
    for section in sections:
        begin, end = markers(section)
        if begin not in text or end not in text.partition(begin)[2]:
            raise PerceptionError(
                f"{page} has no lines '{begin}' and '{end}' to write the figures between."
            )


def write_section(page: Path, section: str, text: str) -> None:
    """Put a text between the section's markers.

    Raises:
        PerceptionError: the page has no markers for it.
    """
    check_page(page, [section])
    begin, end = markers(section)
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def digest_of(path: Path) -> str:
    """The first 16 of the 64 digits of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
