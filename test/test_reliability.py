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


def test_the_list_of_injected_faults_is_that_of_the_marks(root: Path, page: str) -> None:
    script = runpy.run_path(str(root / "scripts" / "injected_faults.py"))
    found = script["faults"]()
    stored = (root / "docs" / "results" / "faults.md").read_text("utf-8")
    assert script["report"](found) == stored, "run scripts/injected_faults.py"
    assert script["summary"](found) in page, "run scripts/injected_faults.py"
    assert {each.kind for each in found} == set(script["KINDS"])


def test_a_mark_of_a_fault_is_found_with_its_words(root: Path) -> None:
    script = runpy.run_path(str(root / "scripts" / "injected_faults.py"))
    source = (
        "@pytest.mark.slow\n@pytest.mark.fault('disk', 'a full disk')\n"
        "def test_an_error_names_the_disk() -> None: ...\ndef test_other() -> None: ...\n"
    )
    (fault,) = script["_marks"](source, "test/test_disk.py")
    assert (fault.kind, fault.text) == ("disk", "a full disk")
    assert fault.outcome == "an error names the disk"


def test_modules_with_little_coverage_are_named_with_a_reason(root: Path) -> None:
    script = runpy.run_path(str(root / "scripts" / "test_coverage.py"))
    counts = {"covered_lines": 6, "covered_branches": 1, "num_statements": 8, "num_branches": 2}
    whole = {"covered_lines": 90, "num_statements": 90}
    report = {
        "files": {
            "thfm_ros/ros/node.py": {"summary": counts},
            "/somewhere/thfm_ros/lens.py": {"summary": whole},
        }
    }
    text = script["section"](script["modules"](report))
    assert text.startswith("97.0 % of 100 lines and branches.")
    assert "| `thfm_ros/ros/` | 1 | 10 | 70.0 % |" in text
    assert "| `thfm_ros/` | 1 | 90 | 100.0 % |" in text
    assert "| `ros/node.py` | 70.0 % | no reason known" in text and "lens.py` |" not in text
