#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Check and count the tests that the table of docs/reliability.md names.

    python scripts/field_reports.py          # from anywhere; writes the count into the page

A test is named as `test/media/test_video.py::test_name`. The exit code is 1 if one does not exist.
"""

import ast
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
ROW = re.compile(r"^\| (\d+) \|.*\| ([^|]*) \|$", re.MULTILINE)
TEST = re.compile(r"`(test/[\w/]+\.py)::(\w+)`")
BEGIN, END = (f"<!-- field reports: {word} -->" for word in ("begin", "end"))


class Count(NamedTuple):
    """What the table names."""

    kinds: int
    tested: int  # kinds with at least one test
    tests: int
    missing: list[str]  # tests that do not exist


def count(page: str) -> Count:
    """Count the rows of the table of a page, and look for their tests."""
    rows = ROW.findall(page)
    tests = [TEST.findall(cell) for _, cell in rows]
    named = sorted({test for row in tests for test in row})
    missing = [f"{file}::{name}" for file, name in named if name not in functions(ROOT / file)]
    return Count(len(rows), sum(bool(row) for row in tests), len(named), missing)


def functions(file: Path) -> set[str]:
    """Names of the functions of a Python file; none if there is no such file."""
    if not file.is_file():
        return set()
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def with_count(page: str) -> str:
    """The page with the count between its markers."""
    found = count(page)
    text = f"{found.tested} of {found.kinds} kinds have tests, {found.tests} tests in all."
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}"


def main() -> int:
    """Write the count; 1 if a test is missing."""
    page = PAGE.read_text(encoding="utf-8")
    missing = count(page).missing
    for name in missing:
        sys.stderr.write(f"{PAGE.name}: there is no test {name}\n")
    PAGE.write_text(with_count(page), encoding="utf-8")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
