# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""docs/reliability.md: its counts are those that the scripts write, and its tests exist."""

import runpy
from pathlib import Path

import pytest

from thfm_ros.evaluation.markdown_report import check_page

SECTIONS = ("field reports", "scenarios", "fuzz", "faults", "endurance", "load", "coverage")


@pytest.fixture
def page(root: Path) -> str:
    return (root / "docs" / "reliability.md").read_text("utf-8")


def test_every_named_test_exists_and_the_count_is_current(root: Path, page: str) -> None:
    script = runpy.run_path(str(root / "scripts" / "field_reports.py"))
    assert script["count"](page).kinds == 24
    assert script["count"](page).missing == []
    assert script["with_count"](page) == page, "run scripts/field_reports.py"


def test_a_missing_test_is_found(root: Path) -> None:
    script = runpy.run_path(str(root / "scripts" / "field_reports.py"))
    rows = (
        "| 1 | a | b | `test/test_reliability.py::test_a_missing_test_is_found` |\n"
        "| 2 | a | b | `test/test_reliability.py::test_gone`, `test/none.py::test_x` |\n"
        "| 3 | a | b | not measured |\n"
    )
    count = script["count"](rows)
    assert (count.kinds, count.tested, count.tests) == (3, 2, 3)
    assert count.missing == ["test/none.py::test_x", "test/test_reliability.py::test_gone"]


def test_every_section_that_a_command_writes_has_its_markers(root: Path) -> None:
    check_page(root / "docs" / "reliability.md", SECTIONS)
