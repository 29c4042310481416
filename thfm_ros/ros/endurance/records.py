# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What is recorded during the endurance test, and the verdicts that follow from it. Not of ROS."""

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

WARM_UP_SHARE = 0.2
"""Share of the cycles at the beginning after which memory and threads have to stay the same."""
MAX_GROWTH, MAX_GROWTH_MB = 0.05, 10.0
"""Growth of memory that is not taken for a leak: of gaps between blocks of several sizes."""
MAX_BACKLOG = 10
"""Images published after the one that a result is of: more would be a queue."""
_FAULT = re.compile(
    r"\[(ERROR|FATAL)\]|^(ERROR|CRITICAL)\b|Traceback|terminate called|Segmentation|Aborted"
    r"|core dumped|double free|corrupt",
    re.MULTILINE,
)
_EXPECTED = re.compile(r"input: no image")  # while there is no camera
_WARNING = re.compile(r"\[WARN(?:ING)?\]\s*(?:\[[^\]]*\]:?\s*)*(.*)")


class Result(NamedTuple):
    """One message of ~/bodies."""

    stamp_ns: int
    ids: frozenset[str]
    newer: int  # images that had been published after its own when it arrived


class Sample(NamedTuple):
    """The node's process at the end of a cycle, when the subscribers have gone."""

    time_s: float  # since the beginning
    memory_mb: float  # anonymous memory (RssAnon)
    threads: int
    files: int  # open file descriptors
    images: int  # published so far
    results: int  # received so far


@dataclass
class Record:
    """What was observed; the verdicts are computed from it."""

    results: list[Result] = field(default_factory=list)
    published_ns: set[int] = field(default_factory=set)
    samples: list[Sample] = field(default_factory=list)
    silent_phases: list[str] = field(default_factory=list)  # with a camera, but without results
    refused: list[str] = field(default_factory=list)  # changes that the node refused
    configured_ns: list[int] = field(default_factory=list)  # when it was configured anew
    remember_for_s: float = 0.0  # the node's parameter track.remember_for_s
    cycles: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0  # of the node
    exit_code: int | None = None  # of the node after SIGINT; None: it had to be killed
    log: str = ""


class Verdict(NamedTuple):
    """One promise, and whether it was kept."""

    promise: str
    measured: str
    kept: bool


def verdicts(record: Record) -> list[Verdict]:
    """Every promise of the endurance test."""
    return [
        *_resources(record.samples),
        _ids(record),
        *_order(record),
        _log_verdict(record.log),
        Verdict(
            "results in every phase with a camera",
            _listed(record.silent_phases, "no phase without"),
            not record.silent_phases,
        ),
        Verdict(
            "every change is accepted", _listed(record.refused, "none refused"), not record.refused
        ),
        Verdict("ends with exit code 0", f"{record.exit_code}", record.exit_code == 0),
    ]


def settled(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples after the warm-up."""
    return samples[round(len(samples) * WARM_UP_SHARE) :]


def _resources(samples: Sequence[Sample]) -> list[Verdict]:
    """Medians of the last third of the samples after the warm-up, against those of the first."""
    after = settled(samples)
    if len(after) < 3:
        missing = f"{len(samples)} cycles are too few to tell"
        return [Verdict("memory, threads and files stay the same", missing, False)]
    third = len(after) // 3
    rows = []
    for promise, column, unit, limit in (
        ("memory grows by at most 5 % after the warm-up", 1, " MB", MAX_GROWTH_MB),
        ("no thread is left", 2, " threads", 0.5),
        ("no file descriptor is left", 3, " descriptors", 2.0),
    ):
        values = [float(sample[column]) for sample in after]
        first, last = float(np.median(values[:third])), float(np.median(values[-third:]))
        growth = last - first
        kept = growth <= limit or (column == 1 and growth <= MAX_GROWTH * first)
        rows.append(Verdict(promise, f"{first:g} to {last:g}{unit}", kept))
    return rows


def _ids(record: Record) -> Verdict:
    """An id comes back to a person who is remembered; not later, nor after a new configuration."""
    last_ns: dict[str, int] = {}  # id -> stamp of the newest result that has it
    gaps: list[float] = []  # seconds, of ids that came back
    wrong: set[str] = set()
    present: frozenset[str] = frozenset()
    for result in record.results:
        for each in (result.ids - present) & last_ns.keys():
            before_ns, now_ns = last_ns[each], result.stamp_ns
            gaps.append((now_ns - before_ns) / 1e9)
            forgotten = any(before_ns < begin_ns <= now_ns for begin_ns in record.configured_ns)
            if forgotten or gaps[-1] > record.remember_for_s:
                wrong.add(each)
        last_ns |= dict.fromkeys(result.ids, result.stamp_ns)
        present = result.ids
    returns = f"{len(gaps)} returns after up to {max(gaps, default=0):.1f} s"
    return Verdict(
        f"ids come back within {record.remember_for_s:g} s and one configuration, or never",
        f"{len(last_ns)} ids, {returns}, {len(wrong)} ids came back later",
        not wrong,
    )


def _order(record: Record) -> list[Verdict]:
    stamps = [result.stamp_ns for result in record.results]
    backwards = sum(later <= earlier for earlier, later in itertools.pairwise(stamps))
    foreign = len(set(stamps) - record.published_ns)
    newer = [result.newer for result in record.results]
    typical, worst = np.quantile(newer, [0.5, 0.99]) if newer else (np.nan, np.nan)
    return [
        Verdict(
            "stamps increase, and are those of images",
            f"{len(stamps)} results, {backwards} not newer than the one before, {foreign} of no "
            "image",
            bool(stamps) and not backwards and not foreign,
        ),
        Verdict(
            f"newest image first: 99 % of results at most {MAX_BACKLOG} images behind",
            f"median {typical:.0f}, 99 % at most {worst:.0f} images",
            bool(worst <= MAX_BACKLOG),
        ),
    ]


def _log_verdict(log: str) -> Verdict:
    lines = log.splitlines()
    faults = [line for line in lines if _FAULT.search(line) and not _EXPECTED.search(line)]
    return Verdict("no error in the log", _listed(faults, "none"), not faults)


def warnings_of(log: str) -> Counter[str]:
    """Warnings of the log, with numbers replaced by N, and how often each came."""
    return Counter(re.sub(r"\d+(\.\d+)?", "N", text) for text in _WARNING.findall(log))


def _listed(items: Sequence[str], none: str) -> str:
    if not items:
        return none
    counted = Counter(items).most_common(3)
    return f"{len(items)}: " + "; ".join(f"{text[:200]} ({count}x)" for text, count in counted)
