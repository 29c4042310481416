"""What `thfm benchmark node` measures, in which order, and how long that takes."""

import argparse
import dataclasses
from collections.abc import Iterable, Iterator

from thfm_ros.contract import PerceptionError
from thfm_ros.ros.benchmark.measurement import PEER, THFM, Measured, Phase

SWEEPS = ("rates", "people", "sizes", "topics", "engines", "schedules", "overload")

ASSUMED_HZ = 30.0
"""Capacity, before anything was measured."""
# Beside its images a measurement waits for subscriptions, diagnostics and stragglers; a node
# that is needed for the first time loads its network. Both seen in runs of the command.
_AROUND_S, _START_S, _STAGES_S = 2.5, 8.0, 25.0


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments that say what is measured."""
    add = parser.add_argument
    add("--rates", type=float, nargs="+", default=[5, 10, 15, 30, 60], help="of the camera, Hz")
    add("--seconds", type=float, default=20.0, help="counted, per measurement")
    add("--warmup", type=float, default=2.0, help="seconds before that, which are not counted")
    add("--people", type=int, nargs="+", default=[1, 2, 3, 4], help="in the image")
    add("--sizes", nargs="+", default=["640x480", "1280x720"], help="of the image")
    add("--engines", nargs="+", default=["onnx:2", "torch"], help="KIND or KIND:THREADS")
    add("--schedules", type=int, nargs="+", default=[1, 5, 10], help="frames per whole look")
    add("--overload", type=float, nargs="+", default=[2, 5, 10], help="times the capacity")
    add("--sweeps", nargs="+", default=list(SWEEPS), choices=SWEEPS, help="what to measure")


def phases(sweep: str, args: argparse.Namespace, before: list[Measured]) -> Iterator[Phase]:
    """What is measured for a sweep; one thing varies, the rest is as in the first sweep.

    Raises:
        PerceptionError: a size that is none.
    """
    peers = [PEER] if args.peer_python else []
    width, height = _size(args.sizes[0])
    common = Phase(
        subject=THFM, seconds=args.seconds, warmup_s=args.warmup, people=args.people[0], sweep=sweep
    )
    common = dataclasses.replace(common, width=width, height=height)
    vary = dataclasses.replace
    match sweep:
        case "rates":
            for rate_hz in args.rates:
                yield vary(common, rate_hz=rate_hz)
                yield from (vary(common, rate_hz=rate_hz, subject=peer) for peer in peers)
                yield vary(common, rate_hz=rate_hz, topics="bodies")
        case "people":
            for people in args.people[1:]:
                yield from (vary(common, people=people, subject=who) for who in [THFM, *peers])
        case "sizes":
            for width, height in map(_size, args.sizes[1:]):
                for who in [THFM, *peers]:
                    yield vary(common, width=width, height=height, subject=who)
        case "topics":
            yield vary(common, topics="all")
        case "engines":
            for engine in args.engines:
                yield vary(common, subject=f"{THFM}_{engine.replace(':', '_')}")
        case "schedules":
            for frames in args.schedules:
                yield vary(common, subject=f"{THFM}_every_{frames}")
        case _:
            capacity = capacity_hz(before)
            for factor in args.overload:
                yield vary(common, rate_hz=round(factor * capacity, 1))


def whole(args: argparse.Namespace) -> list[Phase]:
    """Every phase, with an assumed capacity."""
    return [each for sweep in SWEEPS if sweep in args.sweeps for each in phases(sweep, args, [])]


def described(plan: Iterable[Phase], again: int) -> str:
    """The plan for people, with the time that it takes, and the time with all repetitions."""
    plan = list(plan)
    each_s = [phase.warmup_s + phase.seconds + _AROUND_S for phase in plan]
    total_s = sum(each_s) + _START_S * len({phase.subject for phase in plan}) + _STAGES_S
    most_s = total_s + again * max(each_s, default=0.0)
    lines = [f"{phase.sweep:<10} {phase}" for phase in plan]
    lines.append(
        f"{len(plan)} measurements, about {total_s / 60:.0f} minutes; at most {most_s / 60:.0f}, "
        f"with the {again} that may be measured again. Overload is for {ASSUMED_HZ:g} results/s; "
        "what is measured takes its place."
    )
    return "\n".join(lines)


def capacity_hz(measured: list[Measured]) -> float:
    """The most results per second that were seen."""
    seen = [
        each.skeleton.results_per_s
        for each in measured
        if each.phase.sweep == "rates" and each.phase.subject == THFM
        if each.phase.topics == "estimates"
    ]
    return max([each for each in seen if each > 0], default=ASSUMED_HZ)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise PerceptionError(f"{text!r} is no size; write it like 640x480.")
    return int(width), int(height)
