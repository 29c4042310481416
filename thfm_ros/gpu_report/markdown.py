# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""gpu.md: the report for readers, from the values of gpu.json."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Values = Mapping[str, Any]
CROPS = (1, 4, 16)
NOT_MEASURED = "not measured"


def markdown(values: Values) -> str:
    """The whole page."""
    steps: Values = values["steps"]
    end = f"{values['seconds']:.0f} s" if values["complete"] else "not finished"
    lines = ["# GPU report", "", f"thfm_ros {values['thfm_ros']}, {values['created']}, {end}.", ""]
    lines += [*_machine(steps), *_nano(steps), *_errors(steps), *_training(steps)]
    lines += [*_full_size(steps), *_cache(steps), *_steps(steps)]
    return "\n".join(lines) + "\n"


def _records(steps: Values, *names: str) -> list[Values]:
    return [record for name in names if name in steps for record in steps[name]["records"]]


def _table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    cells = [[_cell(value) for value in row] for row in rows]
    head = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    if not cells:
        cells = [[NOT_MEASURED, *[""] * (len(titles) - 1)]]
    return [*head, *("| " + " | ".join(row) + " |" for row in cells), ""]


def _cell(value: object) -> str:
    return "" if value is None else str(value).replace("|", "/").replace("\n", " ")


def _machine(steps: Values) -> list[str]:
    found: dict[str, Any] = {}
    first = next(iter(steps))
    for record in _records(steps, first):
        for group, values in record.items():
            found |= {f"{group}: {name}": value for name, value in values.items()}
    return ["## Machine", "", *_table(("", ""), found.items())]


def _nano(steps: Values) -> list[str]:
    rows: dict[tuple[str, str], dict[int, Values]] = {}
    for record in _records(steps, *steps):
        if "runtime" in record:
            key = (record["runtime"], record["precision"])
            rows.setdefault(key, {})[record["crops"]] = record
    titles = ["runtime", "precision", *(f"{n} crops: p50, p99 ms" for n in CROPS)]
    titles += ["build s", "largest error", "allowed", "agrees"]
    return [
        "## nano, one step",
        "",
        "128x128, all outputs, from image and to outputs in host memory. Errors are those of "
        "the fixed clip against float32 on the CPU.",
        "",
        *_table(titles, (_nano_row(*key, of) for key, of in rows.items())),
    ]


def _nano_row(runtime: str, precision: str, of: Mapping[int, Values]) -> list[object]:
    times = [_times(of[n]) if n in of else NOT_MEASURED for n in CROPS]
    compared = [record for record in of.values() if "agrees" in record]
    worst = max(compared, key=lambda record: float(record.get("largest", "inf")), default=None)
    build_s = max((record.get("build_s", 0.0) for record in compared), default=None)
    if worst is None:
        return [runtime, precision, *times, build_s, None, None, NOT_MEASURED]
    verdict = "yes" if all(record["agrees"] for record in compared) else "NO"
    limits = [worst.get("largest"), worst.get("tolerance")]
    return [runtime, precision, *times, build_s, *limits, verdict]


def _times(record: Values) -> str:
    if "failed" in record:
        return f"failed: {record['failed']}"
    return f"{record['p50_ms']}, {record['p99_ms']}" if "p50_ms" in record else NOT_MEASURED


def _errors(steps: Values) -> list[str]:
    of_one = [record for record in _records(steps, *steps) if record.get("crops") == 1]
    compared = [record for record in of_one if "errors" in record]
    names = list(dict.fromkeys(name for record in compared for name in record["errors"]))
    rows = [
        [record["runtime"], record["precision"], *(_error(record, name) for name in names)]
        for record in compared
    ]
    lead = "Largest and median of |a - b| / max(1, max |b|), one crop."
    return ["### Errors by output", "", lead, "", *_table(["runtime", "precision", *names], rows)]


def _error(record: Values, name: str) -> str:
    error = record["errors"].get(name)
    return f"{error['max']}, {error['median']}" if error else ""


def _training(steps: Values) -> list[str]:
    rows = [
        [r["batch"], r.get("images_per_s"), r.get("step_ms"), r.get("peak_gb"), _problem(r)]
        for r in _records(steps, "training")
    ]
    titles = ("images per step", "images/s", "ms", "peak GB", "")
    lead = "The trainer's step on random images and labels; making images is not included."
    return ["## Training of nano", "", lead, "", *_table(titles, rows)]


def _problem(record: Values) -> str:
    if "does_not_fit" in record:
        return f"does not fit: {record['does_not_fit']}"
    return f"failed: {record['failed']}" if "failed" in record else ""


def _full_size(steps: Values) -> list[str]:
    rows = []
    for record in _records(steps, "full_size"):
        memory = f"{record['megabytes']} MB kept" if "megabytes" in record else ""
        seconds = f"made in {record['seconds']:.1f} s" if "seconds" in record else ""
        finite = "NOT FINITE" if record.get("finite") is False else ""
        notes = "; ".join(note for note in (memory, seconds, finite, _problem(record)) if note)
        row = [record.get(name) for name in ("profile", "part", "ms", "first_ms", "tflop_s")]
        rows.append([*row, record.get("peak_gb"), notes])
    titles = ("profile", "part", "ms", "first ms", "TFLOP/s", "peak GB", "")
    lead = "Random weights, bfloat16, PyTorch eager. The weights' memory is part of the peak."
    return ["## The 1.3B shapes", "", lead, "", *_table(titles, rows)]


def _cache(steps: Values) -> list[str]:
    rows = [
        (r["step"], ", ".join(f"{k} {v}" for k, v in r.items() if k != "step"))
        for r in _records(steps, "engine_cache")
        if "step" in r
    ]
    return ["## The engine cache", "", *_table(("", ""), rows)]


def _steps(steps: Values) -> list[str]:
    rows = [
        (name, s["status"], f"{s['seconds']:.0f} of {s['limit_s']:.0f}", s["reason"])
        for name, s in steps.items()
    ]
    lines = ["## Steps", "", *_table(("step", "", "s", "reason"), rows)]
    for name, step in steps.items():
        if step["log"]:
            log = [line.replace("```", "'''") for line in step["log"]]
            lines += [f"### Log of {name}", "", "```", *log, "```", ""]
    return lines
