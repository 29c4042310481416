"""`thfm benchmark node`: the ROS node under load over DDS, beside what users would take instead."""

import argparse
import dataclasses
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from thfm_ros.contract import PerceptionError, Task
from thfm_ros.ros.benchmark_phase import PEER, Measured, Phase
from thfm_ros.ros.benchmark_process import machine
from thfm_ros.ros.benchmark_report import Report, table
from thfm_ros.ros.benchmark_run import Bench
from thfm_ros.ros.benchmark_stages import stages

logger = logging.getLogger(__name__)

SWEEPS = ("rates", "people", "sizes", "topics", "engines", "overload")
THFM = "thfm"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    add = parser.add_argument
    add("--rates", type=float, nargs="+", default=[5, 10, 15, 30, 60], help="of the camera, Hz")
    add("--seconds", type=float, default=6.0, help="counted, per measurement")
    add("--warmup", type=float, default=2.0, help="seconds before that, which are not counted")
    add("--people", type=int, nargs="+", default=[1, 2, 3, 4], help="in the picture")
    add("--sizes", nargs="+", default=["640x480", "1280x720"], help="of the picture")
    add("--engines", nargs="+", default=["onnx:2", "torch"], help="KIND or KIND:THREADS")
    add("--overload", type=float, nargs="+", default=[2, 5, 10], help="times the capacity")
    add("--sweeps", nargs="+", default=list(SWEEPS), choices=SWEEPS, help="what to measure")
    add("--peer-python", default="", help="a Python with mediapipe and rclpy")
    add("--peer-complexity", type=int, default=1, choices=(0, 1, 2), help="MediaPipe's model")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the node")
    add("--again", type=int, default=4, help="measure so often again when others were busy")
    add("--out", type=Path, help="write all figures to this file, JSON")
    add("--docs", type=Path, help="folder whose latency.md, latency.json and plot are written")
    add("--even-if-busy", action="store_true", help="write --docs though others used the processor")


def run(args: argparse.Namespace) -> int:
    """Measure everything; 0, or 3 if the machine was too busy to publish the figures."""
    # Whoever is told to end (`timeout`, a supervisor) takes the nodes along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parameters = _parameters(args.set)
    report = Report(machine=machine(), when=datetime.now(timezone.utc).isoformat("T", "minutes"))
    for name, tasks in (("estimates", frozenset(Task)), ("bodies", frozenset({Task.BODIES}))):
        logger.info("the pipeline alone (%s)", name)
        report.stages.append(stages(tasks, name, parameters))
    with tempfile.TemporaryDirectory(prefix="thfm_benchmark_") as folder:
        # Not resolved: the link python in a virtual environment is what makes it that one.
        peer = os.path.abspath(args.peer_python) if args.peer_python else ""
        bench = Bench(Path(folder), peer, args.peer_complexity, parameters)
        try:
            with bench:
                _measure(bench, args, report)
        finally:  # what was measured before something went wrong is not lost
            report.engines = bench.engines
            sys.stdout.write(table(report.measured) + "\n")
            if args.out:
                args.out.write_text(json.dumps(report.as_json(), indent=1) + "\n")
    return _publish(report, args)


def _publish(report: Report, args: argparse.Namespace) -> int:
    busy = [each for each in report.measured if not each.valid]
    if busy:
        worst = max(each.others_cores + each.stolen_cores for each in busy)
        logger.warning(
            "%d of %d measurements are not valid: others used up to %.1f cores meanwhile. "
            "Run it again when nothing else runs.",
            len(busy),
            len(report.measured),
            worst,
        )
    if args.docs is None:
        return 0
    if busy and not args.even_if_busy:
        logger.error("%s is left as it is. (--even-if-busy writes it all the same.)", args.docs)
        return 3
    report.write(args.docs)
    return 0


def _measure(bench: Bench, args: argparse.Namespace, report: Report) -> None:
    """Run the phases of each sweep; the load of the last one follows from what came before."""
    again = args.again
    for sweep in (each for each in SWEEPS if each in args.sweeps):
        planned = list(phases(sweep, args, report.measured))
        for number, phase in enumerate(planned, 1):
            logger.info("%s %d of %d: %s", sweep, number, len(planned), phase)
            measured = bench.measure(phase)
            while not measured.valid and again > 0:
                again -= 1
                logger.info("  once more: others used %.2f cores", measured.others_cores)
                measured = min(measured, bench.measure(phase), key=lambda each: each.others_cores)
            report.measured.append(measured)
            logger.info("  %s", _one_line(measured))
        if sweep == "engines":
            for subject in {phase.subject for phase in planned}:
                bench.stop(subject)


def phases(sweep: str, args: argparse.Namespace, before: list[Measured]) -> Iterator[Phase]:
    """What is measured for a sweep; one thing varies, the rest is as in the first sweep.

    Raises:
        PerceptionError: a size that is none.
    """
    peers = [PEER] if args.peer_python else []
    common = Phase(
        subject=THFM, seconds=args.seconds, warmup_s=args.warmup, people=args.people[0], sweep=sweep
    )
    width, height = _size(args.sizes[0])
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
        case _:
            capacity = capacity_hz(before)
            for factor in args.overload:
                yield vary(common, rate_hz=round(factor * capacity, 1))


def capacity_hz(measured: list[Measured]) -> float:
    """The most results per second that were seen; an estimate of 30 before anything was."""
    seen = [
        each.skeleton.results_per_s
        for each in measured
        if each.phase.sweep == "rates" and each.phase.subject == THFM
        if each.phase.topics == "estimates"
    ]
    return max([each for each in seen if each > 0], default=30.0)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise PerceptionError(f"{text!r} is no size; write it like 640x480.")
    return int(width), int(height)


def _parameters(settings: list[str]) -> dict[str, object]:
    """NAME=VALUE, the value as JSON if it is any."""
    parameters: dict[str, object] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise PerceptionError(f"--set {setting}: write it like --set engine.threads=2.")
        try:
            parameters[name] = json.loads(text)
        except json.JSONDecodeError:
            parameters[name] = text
    return parameters


def _one_line(measured: Measured) -> str:
    it = measured.skeleton
    return (
        f"{it.results_per_s:.1f} results/s, p50 {it.p50_ms:.0f}, p99 {it.p99_ms:.0f} ms, "
        f"{measured.cpu_ms:.1f} CPU ms each, people {measured.people_found:.1f}"
        + ("" if measured.valid else f" (others: {measured.others_cores:.1f} cores)")
    )
