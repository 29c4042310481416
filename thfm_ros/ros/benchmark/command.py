# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm benchmark node`: latency and cost of the ROS node under load, compared with MediaPipe."""

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

from thfm_ros.config_option import check_numbers
from thfm_ros.config_text import add_set_option
from thfm_ros.contract import PerceptionError, Task
from thfm_ros.ros.benchmark.clip import MAX_PEOPLE
from thfm_ros.ros.benchmark.demo_run import measure_demo
from thfm_ros.ros.benchmark.measurement import (
    MAX_BACKGROUND_CORES,
    MEDIAPIPE,
    THFM,
    Measurement,
    Scenario,
)
from thfm_ros.ros.benchmark.plan import (
    SWEEPS,
    add_plan_arguments,
    full_plan,
    plan_text,
    scenarios,
)
from thfm_ros.ros.benchmark.report import Report, terminal_table
from thfm_ros.ros.benchmark.resource_usage import background_cores, machine_description
from thfm_ros.ros.benchmark.runner import BenchmarkRunner, check_mediapipe
from thfm_ros.ros.benchmark.stage_timings import measure_stages

logger = logging.getLogger(__name__)

LIMITS: dict[str, tuple[float, float]] = {
    "rates": (0.1, 1000),
    "seconds": (0.5, 86_400),
    "warmup": (0, 3600),
    "people": (1, MAX_PEOPLE),
    "detection_intervals": (1, 10_000),
    "overload": (0.1, 1000),
    "budgets": (0, 10_000),
    "repeats": (0, 10_000),
}
IDLE_TIMEOUT_S = 30.0
EXIT_BUSY = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    add_plan_arguments(parser)
    add = parser.add_argument
    add("--mediapipe-python", default="", help="a Python with mediapipe and rclpy")
    add(
        "--mediapipe-complexity",
        type=int,
        default=1,
        choices=(0, 1, 2),
        help="MediaPipe's model_complexity",
    )
    add_set_option(parser, "a parameter of the node")
    add("--repeats", type=int, default=2, help="invalid measurements that are repeated, at most")
    add("--out", type=Path, help="file for all measurements, JSON")
    add("--docs", type=Path, help="folder whose latency.md, latency.json and plot are written")
    add("--even-if-busy", action="store_true", help="write --docs although the machine is busy")
    add("--without-demo", action="store_true", help="do not run the demo at the end")
    add("--plan", action="store_true", help="only print what would be measured, and the duration")


def run(args: argparse.Namespace) -> int:
    """Measure everything; 0, or `EXIT_BUSY` if the machine is too busy to publish the results.

    Raises:
        PerceptionError: an argument is invalid, or a process of the benchmark failed.
    """
    # So that SIGTERM (of `timeout` or a supervisor) stops the nodes as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    check_numbers(vars(args), LIMITS)
    parameters = parameters_of(args.set)
    plan = plan_text(full_plan(args), args.repeats)
    if args.plan:
        sys.stdout.write(plan + "\n")
        return 0
    # Links are not followed: the link python in a virtual environment is what selects it.
    mediapipe = os.path.abspath(args.mediapipe_python) if args.mediapipe_python else ""
    if mediapipe:
        check_mediapipe(mediapipe)
    else:
        logger.warning("Without --mediapipe-python there is no baseline to compare with.")
    if not _is_idle() and args.docs and not args.even_if_busy:
        logger.error("Nothing was measured. Use --even-if-busy, or leave --docs out.")
        return EXIT_BUSY
    logger.info(plan.splitlines()[-1])
    when = datetime.now(timezone.utc).isoformat("T", "minutes")
    report = Report(machine=machine_description(), when=when)
    for name, tasks in (("estimates", frozenset(Task)), ("bodies", frozenset({Task.BODIES}))):
        logger.info("the pipeline without ROS (%s)", name)
        report.stages.append(measure_stages(tasks, name, parameters))
    with tempfile.TemporaryDirectory(prefix="thfm_benchmark_") as folder:
        runner = BenchmarkRunner(Path(folder), mediapipe, args.mediapipe_complexity, parameters)
        try:
            with runner:
                _measure(runner, args, report)
            if not args.without_demo:
                logger.info("the demo")
                report.demo = measure_demo(Path(folder))
        finally:  # an error does not discard the measurements made before it
            report.engines = runner.engines
            sys.stdout.write(terminal_table(report.measurements) + "\n")
            if args.out:
                args.out.write_text(json.dumps(report.as_json(), indent=1) + "\n")
    return _publish(report, args)


def _is_idle() -> bool:
    """Whether no other process uses the processor; waits up to `IDLE_TIMEOUT_S` for that."""
    deadline_s = time.monotonic() + IDLE_TIMEOUT_S
    while (background := background_cores(2.0)) > MAX_BACKGROUND_CORES:
        if time.monotonic() > deadline_s:
            logger.warning(
                "The machine is busy: other processes use %.1f cores (limit %.2f), so the "
                "measurements will be invalid. `top` lists the processes.",
                background,
                MAX_BACKGROUND_CORES,
            )
            return False
    return True


def _publish(report: Report, args: argparse.Namespace) -> int:
    """Write the documents unless the machine was busy; the exit code."""
    invalid = [measurement for measurement in report.measurements if not measurement.valid]
    if invalid:
        logger.warning(
            "%d of %d measurements are invalid: other processes used up to %.1f cores. "
            "Repeat the benchmark on an idle machine.",
            len(invalid),
            len(report.measurements),
            max(measurement.disturbance_cores for measurement in invalid),
        )
    if args.docs is None:
        return 0
    if invalid and not args.even_if_busy:
        logger.error("%s was not changed. Use --even-if-busy to write it.", args.docs)
        return EXIT_BUSY
    report.write(args.docs)
    return 0


def _measure(runner: BenchmarkRunner, args: argparse.Namespace, report: Report) -> None:
    """Measure the sweeps in order; the overload follows from the measurements before it."""
    repeats = args.repeats
    for sweep in (name for name in SWEEPS if name in args.sweeps):
        planned = list(scenarios(sweep, args, report.measurements))
        for number, scenario in enumerate(planned, 1):
            logger.info("%s %d of %d: %s", sweep, number, len(planned), scenario)
            measurement, repeats = measure_undisturbed(runner, scenario, repeats)
            report.measurements.append(measurement)
            logger.info("  %s", _one_line(measurement))
            if scenario.subject not in (THFM, MEDIAPIPE):
                runner.stop(scenario.subject)  # an idle node uses the processor a little


def measure_undisturbed(
    runner: BenchmarkRunner, scenario: Scenario, repeats: int
) -> tuple[Measurement, int]:
    """Measure, and repeat while the measurement is invalid.

    Args:
        runner: has entered its context.
        scenario: what to measure.
        repeats: how many repetitions are left.

    Returns:
        The measurement that was disturbed least, and how many repetitions are left then.
    """
    measurement = runner.measure(scenario)
    while not measurement.valid and repeats > 0:
        repeats -= 1
        logger.info("  repeated: other processes used %.2f cores", measurement.background_cores)
        repeated = runner.measure(scenario)
        measurement = min(measurement, repeated, key=lambda each: each.disturbance_cores)
    return measurement, repeats


def parameters_of(settings: list[str]) -> dict[str, object]:
    """Parse NAME=VALUE; a value that is not JSON is text."""
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


def _one_line(measurement: Measurement) -> str:
    latency = measurement.skeleton
    return (
        f"{latency.results_per_s:.1f} results/s, p50 {latency.p50_ms:.0f}, "
        f"p99 {latency.p99_ms:.0f} ms, {measurement.cpu_ms:.1f} CPU ms each, "
        f"people {measurement.people_detected:.1f}"
        + ("" if measurement.valid else f" (others: {measurement.background_cores:.1f} cores)")
    )
