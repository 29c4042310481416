#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Run all fuzz tests with many new inputs, count them, and write the counts into a page.

    python scripts/fuzz.py --examples 20000 --page docs/reliability.md     # for half an hour

Inputs that hypothesis generates twice count once. The exit code is 1 if a test fails.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = (f"<!-- fuzz: {word} -->" for word in ("begin", "end"))
SHARES: Mapping[str, float] = {
    "test_checkpoint_card_fuzz": 0.05,
    "test_checkpoint_fuzz": 0.2,
    "test_file_fuzz": 0.4,
    "test_image_message_fuzz": 0.5,
    "test_import_fuzz": 0.5,
    "test_manifest_fuzz": 0.25,
}
"""Share of --examples that each test of a file tries, where one input takes many milliseconds."""
_CASES = re.compile(r"- ([\d_]+) passing, ([\d_]+) failing, and [\d_]+ invalid test cases")


class Count(NamedTuple):
    """What was tried of one file."""

    file: str
    tests: int
    inputs: int
    passed: bool


def count(file: str, output: str, passed: bool) -> Count:
    """Count the inputs that hypothesis reports for each test."""
    tests = {line[:-1] for line in output.splitlines() if re.match(r"test/\S+::\S+:$", line)}
    inputs = sum(
        int(a.replace("_", "")) + int(b.replace("_", "")) for a, b in _CASES.findall(output)
    )
    return Count(file, len(tests), inputs, passed)


def section(counts: list[Count]) -> str:
    """The counts, Markdown."""
    total, failed = sum(each.inputs for each in counts), sum(not each.passed for each in counts)
    lines = [
        f"{total:,} inputs of {len(counts)} kinds; {failed} of the kinds fail.",
        "",
        "| tests | number of tests | inputs | result |",
        "|---|---|---|---|",
    ]
    for each in counts:
        result = "pass" if each.passed else "FAIL"
        lines.append(f"| `{each.file}` | {each.tests} | {each.inputs:,} | {result} |")
    return "\n".join(lines)


def main() -> int:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, default=20_000, help="inputs of each fast test")
    parser.add_argument("--page", type=Path, help="page with a section 'fuzz'")
    parser.add_argument("files", nargs="*", type=Path, help="default: all test_*_fuzz.py")
    args = parser.parse_args()
    counts = []
    for path in args.files or sorted((ROOT / "test").rglob("test_*_fuzz.py")):
        examples = max(1, round(args.examples * SHARES.get(path.stem, 1)))
        finished = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--hypothesis-show-statistics", str(path)],
            cwd=ROOT,
            env={**os.environ, "THFM_FUZZ_EXAMPLES": str(examples)},
            capture_output=True,
            text=True,
            check=False,
        )
        name = path.resolve().relative_to(ROOT).as_posix()
        counts.append(count(name, finished.stdout, finished.returncode == 0))
        sys.stdout.write(f"{counts[-1]}\n" + ("" if counts[-1].passed else finished.stdout))
        sys.stdout.flush()
    if args.page:
        before, _, rest = args.page.read_text(encoding="utf-8").partition(BEGIN)
        text = f"{before}{BEGIN}\n{section(counts)}\n{END}{rest.partition(END)[2]}"
        args.page.write_text(text, encoding="utf-8")
    return 0 if all(each.passed for each in counts) else 1


if __name__ == "__main__":
    sys.exit(main())
