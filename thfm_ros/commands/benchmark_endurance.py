# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm benchmark endurance`: the node for hours, with a camera and subscribers that change."""

import argparse
import json
import logging
import random
import signal
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from thfm_ros.config_option import check_numbers
from thfm_ros.config_text import add_set_option
from thfm_ros.evaluation.markdown_report import check_page, group_table, write_section
from thfm_ros.ros.benchmark.command import parameters_of
from thfm_ros.ros.benchmark.resource_usage import machine_description
from thfm_ros.ros.endurance.phases import CYCLE
from thfm_ros.ros.endurance.records import Record, Sample, verdicts, warnings_of
from thfm_ros.ros.endurance.runner import EnduranceRunner

logger = logging.getLogger(__name__)

LIMITS: dict[str, tuple[float, float]] = {"minutes": (0, 100_000), "phase_s": (0, 3600)}
SECTION = "endurance"
_ROWS = 12  # of the table of samples


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    add = parser.add_argument
    add("--minutes", type=float, default=60.0, help="duration (%(default)s)")
    add("--phase-s", type=float, default=8.0, help="seconds of each phase (%(default)s)")
    add_set_option(parser, "a parameter of the node")
    add("--out", type=Path, help="file for everything that was measured, JSON")
    add("--report", type=Path, help="file for the report, Markdown")
    add("--page", type=Path, help="page that has a section 'endurance' for the verdicts")
    add("--log", type=Path, help="file for the node's log")


def run(args: argparse.Namespace) -> int:
    """Run the node; 0 if every promise was kept, else 1.

    Raises:
        PerceptionError: an argument is invalid, or the node ended or did not answer.
    """
    # So that SIGTERM (of `timeout` or a supervisor) stops the node as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    check_numbers(vars(args), LIMITS)
    if args.page:
        check_page(args.page, [SECTION])
    # A random domain keeps the test apart from robots on the network.
    domain_id = random.SystemRandom().randint(1, 100)
    with tempfile.TemporaryDirectory(prefix="thfm_endurance_") as folder:
        runner = EnduranceRunner(Path(folder), domain_id, parameters_of(args.set))
        try:
            with runner:
                runner.run(60 * args.minutes, args.phase_s, lambda: _log_cycle(runner.record))
        finally:  # an error does not discard what was observed before it
            _write(args, runner.record)
    return 0 if all(verdict.kept for verdict in verdicts(runner.record)) else 1


def _log_cycle(record: Record) -> None:
    sample = record.samples[-1]
    logger.info(
        "cycle %d, %.1f min: %.1f MB, %d threads, %d files, %d images, %d results",
        *(record.cycles, sample.time_s / 60, *sample[1:]),
    )


def _write(args: argparse.Namespace, record: Record) -> None:
    """Write what was asked for; the verdicts go to standard output."""
    summary = summary_text(record)
    sys.stdout.write(summary + "\n")
    if args.log:
        args.log.write_text(record.log)
    if args.out:
        args.out.write_text(json.dumps(as_json(record), indent=1) + "\n")
    if args.report:
        args.report.write_text(report_text(record))
    if args.page:
        write_section(args.page, SECTION, summary)


def as_json(record: Record) -> dict[str, Any]:
    """What was measured, for programs."""
    return {
        "format": 1,
        "when": datetime.now(timezone.utc).isoformat("T", "minutes"),
        "machine": machine_description(),
        "minutes": round(record.seconds / 60, 1),
        "cycles": record.cycles,
        "images": len(record.published_ns),
        "results": len(record.results),
        "node_cores": round(record.cpu_s / max(record.seconds, 1e-9), 2),
        "samples": [sample._asdict() for sample in record.samples],
        "verdicts": [verdict._asdict() for verdict in verdicts(record)],
        "warnings": dict(warnings_of(record.log)),
    }


def summary_text(record: Record) -> str:
    """Duration and verdicts, Markdown."""
    rows = [
        (each.promise, each.measured.replace("|", "\\|"), "kept" if each.kept else "BROKEN")
        for each in verdicts(record)
    ]
    return (
        f"{record.seconds / 3600:.2f} hours ({record.cycles} cycles of {len(CYCLE)} phases, "
        f"{len(record.published_ns)} images, {len(record.results)} results received), "
        f"{record.cpu_s / max(record.seconds, 1e-9):.2f} cores used by the node.\n\n"
        + group_table(("promise", "measured", "verdict"), rows)
    )


def report_text(record: Record) -> str:
    """The whole report, Markdown."""
    machine = ", ".join(f"{name}: {value}" for name, value in machine_description().items())
    when = datetime.now(timezone.utc).date().isoformat()
    phases = group_table(
        ("phase", "camera", "people", "topics besides bodies"),
        [
            (
                phase.name,
                f"{phase.width}x{phase.height}, {phase.rate_hz:g} Hz" if phase.rate_hz else "none",
                f"{phase.people}" if phase.rate_hz else "-",
                ", ".join(phase.topics) or "-",
            )
            for phase in CYCLE
        ],
    )
    columns = ("minutes", "memory, MB", "threads", "file descriptors", "images", "results")
    samples = group_table(columns, [_cells(sample) for sample in _some(record.samples)])
    warnings = [f"* {text} ({n}x)" for text, n in warnings_of(record.log).most_common()]
    return (
        "# Endurance\n\nWritten by `thfm benchmark endurance --report docs/results/endurance.md`"
        f" on {when}. {machine}.\n\n{summary_text(record)}\n\n"
        f"## What happened in each cycle\n\n{phases}\n\n"
        "Camera and subscribers are participants of DDS of their own, which come and go with each "
        "phase; parameters are set and lifecycle transitions requested by the services.\n\n"
        "## The process at the end of cycles\n\nAnonymous memory (RssAnon) while nothing is "
        f"subscribed.\n\n{samples}\n\n"
        "## Warnings of the log\n\n" + ("\n".join(warnings) or "None.") + "\n"
    )


def _some(samples: list[Sample]) -> list[Sample]:
    """At most `_ROWS` of them, evenly, the first and the last included."""
    count = min(len(samples), _ROWS)
    places = [round(n * (len(samples) - 1) / max(count - 1, 1)) for n in range(count)]
    return [samples[place] for place in places]


def _cells(sample: Sample) -> tuple[str, ...]:
    return (f"{sample.time_s / 60:.1f}", f"{sample.memory_mb:.1f}", *map(str, sample[2:]))
