# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm benchmark endurance`: each verdict, the report, and a run of a few seconds."""

import dataclasses
import os
from pathlib import Path

import pytest

from thfm_ros.commands.benchmark_endurance import as_json, report_text, summary_text
from thfm_ros.ros.endurance.phases import CYCLE
from thfm_ros.ros.endurance.records import Record, Result, Sample, verdicts, warnings_of

pytestmark = pytest.mark.ros


def a_good_record() -> Record:
    stamps = range(1, 31)
    return Record(
        results=[Result(stamp, frozenset({"aaaaa"}), 1) for stamp in stamps],
        published_ns=set(stamps),
        samples=[Sample(60.0 * n, 100 + n % 2, 20, 30, 100 * n, 90 * n) for n in range(1, 11)],
        cycles=10,
        seconds=600,
        cpu_s=60,
        exit_code=0,
        log="[INFO] [1.5] [thfm]: 5.0 Hz\n[WARN] [1.6] [thfm]: late by 3 ms\n[WARN] [1.7] [thfm]: "
        "late by 4 ms\n[ERROR] [1.8] [thfm]: input: no image any more, for 11 s.\n",
    )


def broken(record: Record) -> list[str]:
    return [verdict.promise for verdict in verdicts(record) if not verdict.kept]


def test_a_run_without_a_fault_keeps_every_promise() -> None:
    record = a_good_record()
    assert broken(record) == []
    assert warnings_of(record.log) == {"late by N ms": 2}


def with_samples(**columns: int) -> list[Sample]:
    """Samples in which the columns rise by so much per cycle."""
    return [
        sample._replace(**{name: 100 + rise * n for name, rise in columns.items()})
        for n, sample in enumerate(a_good_record().samples)
    ]


@pytest.mark.parametrize(
    ("change", "promise"),
    [
        ({"samples": with_samples(memory_mb=5)}, "memory grows by at most 5 % after the warm-up"),
        ({"samples": with_samples(threads=1)}, "no thread is left"),
        ({"samples": with_samples(files=2)}, "no file descriptor is left"),
        ({"samples": []}, "memory, threads and files stay the same"),
        (
            {"results": [Result(n, frozenset(), 0) for n in (1, 3, 2)]},
            "stamps increase, and are those of images",
        ),
        ({"published_ns": {1}}, "stamps increase, and are those of images"),
        (
            {"results": [Result(n, frozenset(), 40) for n in range(1, 5)]},
            "newest image first: 99 % of results at most 10 images behind",
        ),
        ({"log": "[ERROR] [1.5] [thfm]: engine: no"}, "no error in the log"),
        ({"log": "Traceback (most recent call last):"}, "no error in the log"),
        ({"silent_phases": ["no camera"]}, "results in every phase with a camera"),
        ({"refused": ["configure"]}, "every change is accepted"),
        ({"exit_code": None}, "ends with exit code 0"),
        ({"exit_code": 1}, "ends with exit code 0"),
    ],
)
def test_each_fault_breaks_its_promise(change: dict[str, object], promise: str) -> None:
    record = dataclasses.replace(a_good_record(), **change)  # type: ignore[arg-type]
    assert broken(record) == [promise]


SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("seconds_away", "remember_for_s", "configured_at_s", "kept"),
    [
        (30, 30.0, [], True),
        (31, 30.0, [], False),
        (2, 0.0, [], False),  # no one is remembered
        (8, 30.0, [5], False),  # a configured node has forgotten everyone
        (8, 30.0, [1, 20], True),
    ],
)
def test_an_id_may_come_back_only_while_its_person_is_remembered(
    seconds_away: int, remember_for_s: float, configured_at_s: list[int], kept: bool
) -> None:
    seen = ((2, "a"), (3, "b"), (2 + seconds_away, "ab"), (60, "b"))
    record = dataclasses.replace(
        a_good_record(),
        results=[Result(at * SECOND, frozenset(ids), 0) for at, ids in seen],
        published_ns={at * SECOND for at, _ in seen},
        remember_for_s=remember_for_s,
        configured_ns=[at * SECOND for at in configured_at_s],
    )
    promise = f"ids come back within {remember_for_s:g} s and one configuration, or never"
    assert broken(record) == ([] if kept else [promise])
    (verdict,) = (each for each in verdicts(record) if each.promise == promise)
    assert f"2 ids, 1 returns after up to {seconds_away}.0 s" in verdict.measured


def test_the_report_names_no_path_and_has_every_verdict(root: Path) -> None:
    record = a_good_record()
    text = report_text(record)
    assert summary_text(record) in text and str(root) not in text and str(Path.home()) not in text
    assert text.count("kept") == len(verdicts(record))
    assert as_json(record)["minutes"] == 10.0


def test_the_last_phases_leave_parameters_as_they_were() -> None:
    values: dict[str, object] = {}
    firsts: dict[str, object] = {}
    for phase in CYCLE:
        for name, value in phase.parameters.items():
            firsts.setdefault(name, value)
            values[name] = value
    assert all(values[name] != first for name, first in firsts.items())


@pytest.mark.slow
def test_a_run_of_one_cycle_keeps_all_promises_but_those_that_need_more(tmp_path: Path) -> None:
    from thfm_ros.ros.endurance.runner import EnduranceRunner

    runner = EnduranceRunner(tmp_path, int(os.environ["ROS_DOMAIN_ID"]))
    with runner:
        runner.run(0, 1.0)
    assert broken(runner.record) == ["memory, threads and files stay the same"]
    assert runner.record.cycles == 1
