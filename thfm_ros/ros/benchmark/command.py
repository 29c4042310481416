"""`thfm benchmark node`: the ROS node under load over DDS, beside what users would take instead."""

import argparse
import json
import logging
import os
import signal
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from thfm_ros.contract import PerceptionError, Task
from thfm_ros.ros.benchmark.measurement import BUSY_CORES, PEER, THFM, Measured
from thfm_ros.ros.benchmark.plan import SWEEPS, add_plan, described, phases, whole
from thfm_ros.ros.benchmark.report import Report, table
from thfm_ros.ros.benchmark.resource_usage import machine, others_cores
from thfm_ros.ros.benchmark.runner import Bench, check_peer
from thfm_ros.ros.benchmark.stage_timings import stages

logger = logging.getLogger(__name__)

QUIET_WITHIN_S = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    add_plan(parser)
    add = parser.add_argument
    add("--peer-python", default="", help="a Python with mediapipe and rclpy")
    add("--peer-complexity", type=int, default=1, choices=(0, 1, 2), help="MediaPipe's model")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the node")
    add("--again", type=int, default=4, help="measure so often again when others were busy")
    add("--out", type=Path, help="write all figures to this file, JSON")
    add("--docs", type=Path, help="folder whose latency.md, latency.json and plot are written")
    add("--even-if-busy", action="store_true", help="write --docs though others used the processor")
    add("--plan", action="store_true", help="say what would be measured and how long it takes")


def run(args: argparse.Namespace) -> int:
    """Measure everything; 0, or 3 if the machine is too busy to publish the figures."""
    # Whoever is told to end (`timeout`, a supervisor) takes the nodes along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parameters = _parameters(args.set)
    plan = described(whole(args), args.again)
    if args.plan:
        sys.stdout.write(plan + "\n")
        return 0
    # Not resolved: the link python in a virtual environment is what makes it that one.
    peer = os.path.abspath(args.peer_python) if args.peer_python else ""
    if peer:
        check_peer(peer)
    else:
        logger.warning("without --peer-python nothing stands beside the figures")
    if not _is_quiet() and args.docs and not args.even_if_busy:
        logger.error("Nothing was measured. (--even-if-busy, or without --docs: measured anyhow.)")
        return 3
    logger.info(plan.splitlines()[-1])
    report = Report(machine=machine(), when=datetime.now(timezone.utc).isoformat("T", "minutes"))
    for name, tasks in (("estimates", frozenset(Task)), ("bodies", frozenset({Task.BODIES}))):
        logger.info("the pipeline alone (%s)", name)
        report.stages.append(stages(tasks, name, parameters))
    with tempfile.TemporaryDirectory(prefix="thfm_benchmark_") as folder:
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


def _is_quiet() -> bool:
    """Whether nothing else uses the processor; waits a while for that."""
    until = time.monotonic() + QUIET_WITHIN_S
    while (others := others_cores(2.0)) > BUSY_CORES:
        if time.monotonic() > until:
            logger.warning(
                "The machine is busy: others use %.1f cores (at most %.2f would do). What is "
                "measured now is not valid; `top` says who they are.",
                others,
                BUSY_CORES,
            )
            return False
    return True


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
                again = bench.measure(phase)
                measured = min(measured, again, key=lambda m: m.others_cores + m.stolen_cores)
            report.measured.append(measured)
            logger.info("  %s", _one_line(measured))
            if phase.subject not in (THFM, PEER):
                bench.stop(phase.subject)  # even an idle node takes a little of the processor


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
