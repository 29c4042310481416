#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Measure the branch coverage of the default tests, and write it into a page.

    python scripts/test_coverage.py --page docs/reliability.md     # runs the tests: 15 minutes
    python scripts/test_coverage.py --data build/coverage.* --page docs/reliability.md

The processes that the tests start are measured, too. --data takes what `coverage` stored in earlier
runs, of parts of the tests. Modules below 80 % are named, with the reason where there is one.
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from thfm_ros.evaluation.markdown_report import write_section

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "build" / "coverage.json"
COMMAND = ("pytest", "-q", "-n", "2", "--cov", f"--cov-report=json:{REPORT}")
SECTION = "coverage"  # of the page
LOW = 80.0  # percent; modules below are named
_COMPILED = "compiled by numba, in which coverage sees nothing"
_BAKED = "reads sources of bodies that do not ship: `thfm synth bake`"
REASONS: Mapping[str, str] = {
    "synth/shading/": _COMPILED,
    "synth/primitives/skin.py": _COMPILED,
    "synth/rendering/annotate.py": _COMPILED,
    "synth/baking/": _BAKED,
    "ros/endurance/": "runs in `thfm benchmark endurance` and in a slow test",
    "commands/benchmark_endurance.py": "runs in `thfm benchmark endurance` and in a slow test",
    "ros/benchmark/mediapipe_node.py": "runs where MediaPipe is installed, which is no dependency",
    "ros/benchmark/stage_timings.py": "runs in `thfm benchmark node` only",
    "engine/tensorrt": "needs a GPU",
    "gpu_report/device.py": "needs a GPU",
}
"""Beginning of a module's path below thfm_ros/ -> why it is not tested more."""


class Module(NamedTuple):
    """What was covered of a module: lines and branches."""

    name: str  # below thfm_ros/
    covered: int
    total: int

    @property
    def percent(self) -> float:
        """Covered lines and branches; 100 if there are none."""
        return 100.0 * self.covered / self.total if self.total else 100.0


def modules(report: Mapping[str, Any]) -> list[Module]:
    """The modules of a report of `coverage json`."""
    found = []
    for path, file in report["files"].items():
        counts, name = file["summary"], path.partition("thfm_ros/")[2]
        covered = counts["covered_lines"] + counts.get("covered_branches", 0)
        total = counts["num_statements"] + counts.get("num_branches", 0)
        found.append(Module(name, covered, total))
    return found


def section(found: Sequence[Module]) -> str:
    """Total, folders, and the modules below the limit, Markdown."""
    folders: dict[str, list[Module]] = defaultdict(list)
    for module in found:
        folders[folder_of(module)].append(module)
    total = _sum("", found)
    lines = [
        f"{total.percent:.1f} % of {total.total:,} lines and branches.",
        "",
        "| folder | modules | lines and branches | covered |",
        "|---|---|---|---|",
    ]
    for folder, inside in sorted(folders.items()):
        part = _sum(folder, inside)
        row = (f"`thfm_ros/{folder.strip('.')}`", len(inside), f"{part.total:,}")
        lines.append(f"| {row[0]} | {row[1]} | {row[2]} | {part.percent:.1f} % |")
    low = sorted((each for each in found if each.percent < LOW), key=lambda each: each.percent)
    if low:
        lines += ["", f"Modules below {LOW:g} %:", ""]
        lines += ["| module | covered | why |", "|---|---|---|"]
        lines += [f"| `{each.name}` | {each.percent:.1f} % | {reason(each.name)} |" for each in low]
    return "\n".join(lines)


def folder_of(module: Module) -> str:
    """Its folder below thfm_ros/, with a slash at its end; '.' for the top one."""
    folder, slash, _ = module.name.partition("/")
    return folder + slash if slash else "."


def _sum(name: str, some: Sequence[Module]) -> Module:
    return Module(name, sum(each.covered for each in some), sum(each.total for each in some))


def reason(name: str) -> str:
    """Why a module is not tested more."""
    for place, text in REASONS.items():
        if name.startswith(place):
            return text
    return "no reason known: tests are missing"


def measure(data: Sequence[Path]) -> Mapping[str, Any]:
    """Run the default tests, or combine what earlier runs stored; the report."""
    REPORT.parent.mkdir(exist_ok=True)
    python = [sys.executable, "-m"]
    if data:
        combined = f"--data-file={REPORT.with_suffix('.data')}"
        files = [str(path.resolve()) for path in data]
        subprocess.run([*python, "coverage", "combine", "--keep", combined, *files], cwd=ROOT)
        command = [*python, "coverage", "json", "-q", combined, f"-o{REPORT}"]
        subprocess.run(command, cwd=ROOT, check=True)
    else:
        subprocess.run([*python, *COMMAND], cwd=ROOT, check=False)  # a failed test counts, too
    report: Mapping[str, Any] = json.loads(REPORT.read_text(encoding="utf-8"))
    return report


def main() -> int:
    """Print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, nargs="+", default=[], help="files of earlier runs")
    parser.add_argument("--folders", nargs="+", help="report these only ('.': the top one)")
    parser.add_argument("--page", type=Path, help="page with a section 'coverage'")
    args = parser.parse_args()
    found = modules(measure(args.data))
    if args.folders:
        found = [each for each in found if folder_of(each).rstrip("/") in args.folders]
    text = section(found)
    sys.stdout.write(text + "\n")
    if args.page:
        write_section(args.page, SECTION, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
