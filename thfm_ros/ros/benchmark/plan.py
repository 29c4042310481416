# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The measurements of `thfm benchmark node`, their order, and how long they take."""

import argparse
import dataclasses
from collections.abc import Iterable, Iterator

from thfm_ros.contract import PerceptionError
from thfm_ros.ros.benchmark.measurement import THFM, Measurement, Scenario, baseline_subject

SWEEPS = (
    *("rates", "people", "worst", "overload"),
    *("sizes", "topics", "engines", "detection_intervals"),
)
DEFAULT_SWEEPS = SWEEPS[:4]
"""What `thfm benchmark node` measures unless it is told otherwise: six minutes."""

ASSUMED_HZ = 30.0
"""Capacity of the node while nothing has been measured."""
# Beyond its images a measurement waits for subscriptions, diagnostics and late results; a node
# that starts loads its network. Both were observed in runs of the command.
_OVERHEAD_S, _START_S, _STAGES_S = 2.5, 8.0, 25.0


_GROUP = 4  # people, from which a time budget is measured, too


def add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments that select what is measured."""
    add = parser.add_argument
    add("--rates", type=float, nargs="+", default=[30], help="of the camera, Hz")
    add("--seconds", type=float, default=8.0, help="counted, per measurement")
    add("--warmup", type=float, default=2.0, help="seconds before that, which are not counted")
    add("--people", type=int, nargs="+", default=[1, 2, 4, 8], help="people in the image")
    add("--sizes", nargs="+", default=["640x480", "1280x720"], help="of the image, pixels")
    add("--engines", nargs="+", default=["onnx:2", "torch"], help="KIND or KIND:THREADS")
    add(
        "--detection-intervals",
        type=int,
        nargs="+",
        default=[1, 5, 10],
        help="frames from one full-frame detection pass to the next",
    )
    add(
        "--budgets",
        type=int,
        nargs="+",
        default=[0],
        help="groups of four and more: also with these times per step, ms; 0: no limit",
    )
    add("--overload", type=float, nargs="+", default=[10], help="camera rate / capacity")
    add("--sweeps", nargs="+", default=list(DEFAULT_SWEEPS), choices=SWEEPS, help="what to measure")


def scenarios(
    sweep: str, args: argparse.Namespace, measurements: list[Measurement]
) -> Iterator[Scenario]:
    """The scenarios of a sweep: one condition varies, the others are those of the first sweep.

    Args:
        sweep: one of `SWEEPS`.
        args: of `add_plan_arguments`, and ``mediapipe_python``.
        measurements: made so far; the overload follows from the capacity that they show.

    Raises:
        PerceptionError: an image size that cannot be parsed.
    """
    pair = _with_baseline if args.mediapipe_python else _alone
    width, height = _size(args.sizes[0])
    common = Scenario(
        subject=THFM, seconds=args.seconds, warmup_s=args.warmup, people=args.people[0], sweep=sweep
    )
    common = dataclasses.replace(common, width=width, height=height)
    vary = dataclasses.replace
    match sweep:
        case "rates":
            for rate_hz in args.rates:
                yield from pair(vary(common, rate_hz=rate_hz))
                yield from pair(vary(common, rate_hz=rate_hz, topics="bodies"))
        case "people":
            for people in args.people[1:]:
                yield from pair(vary(common, people=people))
                budgets = args.budgets if people >= _GROUP else []
                yield from (
                    vary(common, people=people, subject=f"{THFM}_budget_{each}") for each in budgets
                )
        case "worst":
            worst = vary(common, topics="all", subject=f"{THFM}_every_1")
            yield vary(worst, people=max(args.people))
        case "sizes":
            for width, height in map(_size, args.sizes[1:]):
                yield from pair(vary(common, width=width, height=height))
        case "topics":
            yield vary(common, topics="all")
        case "engines":
            for engine in args.engines:
                yield vary(common, subject=f"{THFM}_{engine.replace(':', '_')}")
        case "detection_intervals":
            for frames in args.detection_intervals:
                yield vary(common, subject=f"{THFM}_every_{frames}")
        case _:
            capacity = capacity_hz(measurements)
            for factor in args.overload:
                yield vary(common, rate_hz=round(factor * capacity, 1))


def _alone(scenario: Scenario) -> Iterator[Scenario]:
    yield scenario


def _with_baseline(scenario: Scenario) -> Iterator[Scenario]:
    yield scenario
    yield dataclasses.replace(scenario, subject=baseline_subject(scenario))


def full_plan(args: argparse.Namespace) -> list[Scenario]:
    """The scenarios of all chosen sweeps, with an assumed capacity."""
    chosen = [sweep for sweep in SWEEPS if sweep in args.sweeps]
    return [scenario for sweep in chosen for scenario in scenarios(sweep, args, [])]


def plan_text(plan: Iterable[Scenario], repeats: int) -> str:
    """The plan, a scenario per line, and its duration without and with all ``repeats``."""
    plan = list(plan)
    each_s = [scenario.warmup_s + scenario.seconds + _OVERHEAD_S for scenario in plan]
    total_s = sum(each_s) + _START_S * len({item.subject for item in plan}) + _STAGES_S
    longest_s = total_s + repeats * max(each_s, default=0.0)
    lines = [f"{scenario.sweep:<20} {scenario}" for scenario in plan]
    lines.append(
        f"{len(plan)} measurements, about {total_s / 60:.0f} minutes; at most "
        f"{longest_s / 60:.0f}, with {repeats} measurements repeated. The rates of the overload "
        f"assume {ASSUMED_HZ:g} results/s; the measured capacity will replace this."
    )
    return "\n".join(lines)


def capacity_hz(measurements: list[Measurement]) -> float:
    """The highest measured rate of results, `ASSUMED_HZ` without any."""
    rates = [
        measurement.skeleton.results_per_s
        for measurement in measurements
        if measurement.scenario.sweep == "rates" and measurement.scenario.subject == THFM
        if measurement.scenario.topics == "estimates"
    ]
    return max([rate for rate in rates if rate > 0], default=ASSUMED_HZ)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not all(each.isdecimal() and 16 <= int(each) <= 8192 for each in (width, height)):
        raise PerceptionError(
            f"{text!r} is no image size (16 to 8192 pixels per side); write it like 640x480."
        )
    return int(width), int(height)
