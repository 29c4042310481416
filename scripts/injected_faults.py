#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""List the faults that the tests inject, from their marks, and count them.

    python scripts/injected_faults.py --page docs/reliability.md --list docs/results/faults.md

A test says by `@pytest.mark.fault(kind, what is injected)` that it injects a fault; its name says
what happens then. `pytest -m fault` runs them all.
"""

import argparse
import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from thfm_ros.evaluation.markdown_report import write_section

ROOT = Path(__file__).resolve().parents[1]
SECTION = "faults"  # of the page
KINDS = {
    "process": "processes: signals, hanging, killed, stopped, doubled",
    "engine": "the engine",
    "camera": "the camera, its images and its calibration",
    "clock": "clocks and stamps",
    "transport": "transport between processes",
    "disk": "disks and folders",
    "cache": "the cache of built engines",
    "file": "damaged files",
}
_CASES = re.compile(r"^(\d+)(?:/\d+)? tests? collected", re.MULTILINE)


class Fault(NamedTuple):
    """One mark."""

    kind: str
    text: str  # what is injected
    file: str
    test: str

    @property
    def outcome(self) -> str:
        """What happens then: the name of the test, in words."""
        return self.test.removeprefix("test_").replace("_", " ")


def faults() -> list[Fault]:
    """The marks of all tests, by kind."""
    found = [
        fault
        for path in sorted((ROOT / "test").rglob("test_*.py"))
        for fault in _marks(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    ]
    if unknown := {each.kind for each in found} - set(KINDS):
        raise ValueError(f"kinds of faults without a title: {', '.join(sorted(unknown))}")
    return sorted(found, key=lambda each: list(KINDS).index(each.kind))


def _marks(source: str, file: str) -> Iterator[Fault]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
                    kind, text = (ast.literal_eval(each) for each in mark.args)
                    yield Fault(kind, text, file, node.name)


def table(found: list[Fault]) -> str:
    """The list, Markdown."""
    lines = ["| injected | what happens | test |", "|---|---|---|"]
    for kind, title in KINDS.items():
        lines.append(f"| **{title}** | | |")
        lines += [
            f"| {each.text} | {each.outcome} | `{each.file}` |"
            for each in found
            if each.kind == kind
        ]
    return "\n".join(lines)


def summary(found: list[Fault]) -> str:
    """The number of faults of each kind, Markdown."""
    lines = ["| kind | faults |", "|---|---|"]
    numbers = {kind: sum(each.kind == kind for each in found) for kind in KINDS}
    return "\n".join([*lines, *(f"| {KINDS[kind]} | {n} |" for kind, n in numbers.items())])


def report(found: list[Fault]) -> str:
    """The page with the whole list."""
    return (
        "# Injected faults\n\nWritten by `python scripts/injected_faults.py --list "
        "docs/results/faults.md` from the marks of the\ntests. What happens is the name of the "
        f"test.\n\n{table(found)}\n"
    )


def count_cases() -> int:
    """Number of cases of all marked tests: a test may inject a fault in several ways."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "fault and not slow"]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    finished = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    match = _CASES.search(finished.stdout)
    if match is None:
        raise RuntimeError(f"the tests cannot be collected:\n{finished.stdout}{finished.stderr}")
    return int(match[1])


def main() -> int:
    """Print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--page", type=Path, help="page with a section 'faults' for the counts")
    parser.add_argument("--list", type=Path, help="page for the whole list")
    args = parser.parse_args()
    found = faults()
    text = f"{len(found)} faults in {count_cases()} cases.\n\n{summary(found)}"
    sys.stdout.write(text + "\n")
    if args.list:
        args.list.write_text(report(found), encoding="utf-8")
    if args.page:
        write_section(args.page, SECTION, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
