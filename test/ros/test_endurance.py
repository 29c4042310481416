"""What the node does when more arrives than it can do, for long, or when readers misbehave.

The engine waits 40 ms per look, so that capacity is known and the machine hardly busy. Full
length: THFM_ENDURANCE_FRAMES=10000 pytest test/ros/test_endurance.py (3 minutes), and with
`-m slow` the same with the shipped network (4 minutes).
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile

from thfm_ros.msg import BodyArray
from thfm_ros.ros.benchmark.measurement import Measurement, Scenario
from thfm_ros.ros.benchmark.runner import BenchmarkRunner

FRAMES = int(os.environ.get("THFM_ENDURANCE_FRAMES", "300"))
CAPACITY_HZ = 25.0  # a look at the crop each frame; those at the whole frame happen beside
SMALL = {"width": 160, "height": 120, "people": 1, "topics": "bodies", "warmup_s": 1.0}
SLACK_MS = 150.0  # other processes of a busy machine; a queue of ten would add 500 ms

pytestmark = [pytest.mark.ros, pytest.mark.timeout(300 + FRAMES / 10)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[BenchmarkRunner]:
    slow_node = [sys.executable, str(root / "test" / "support" / "slow_node.py")]
    before = dict(os.environ)
    os.environ["PYTHONPATH"] = str(root / "test" / "support")
    with BenchmarkRunner(tmp_path_factory.mktemp("bench"), node=slow_node) as bench:
        yield bench
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def alone(bench: BenchmarkRunner) -> Measurement:
    """Nearly at the capacity, with one reader."""
    return bench.measure(phase(0.8 * CAPACITY_HZ))


def phase(rate_hz: float, seconds: float = 2.0, **more: Any) -> Scenario:
    return Scenario(**{"subject": "thfm", "rate_hz": rate_hz, "seconds": seconds, **SMALL, **more})


def step_ms(measured: Measurement) -> float:
    return 1e3 / measured.skeleton.results_per_s


@pytest.mark.parametrize("factor", [2, 5, 10])
def test_overload_makes_results_fewer_never_older(
    bench: BenchmarkRunner, alone: Measurement, factor: int
) -> None:
    under_load = bench.measure(phase(factor * CAPACITY_HZ))

    assert under_load.sent_rate_hz > 0.8 * factor * CAPACITY_HZ
    limit_ms = 2 * step_ms(under_load) + 1e3 / under_load.sent_rate_hz + SLACK_MS
    assert under_load.skeleton.p99_ms < limit_ms, under_load
    assert under_load.skeleton.results_per_s > 0.7 * alone.skeleton.results_per_s, under_load
    dropped = under_load.losses["overtaken by a newer image"]
    assert dropped > 0.3 * under_load.skeleton.sent, under_load.losses


def test_memory_is_flat_over_many_frames(bench: BenchmarkRunner, alone: Measurement) -> None:
    rate_hz = 3 * CAPACITY_HZ
    settled = bench.measure(phase(rate_hz))

    after = bench.measure(phase(rate_hz, FRAMES / rate_hz))

    assert after.skeleton.sent >= FRAMES
    assert after.peak_rss_mb < settled.peak_rss_mb + 8, (settled.peak_rss_mb, after.peak_rss_mb)


@contextmanager
def readers(count: int, slow_s: float = 0.0) -> Iterator[list[int]]:
    """So many subscriptions to ~/bodies in this process; what each has received so far."""
    rclpy.init()
    node = rclpy.create_node("readers")
    got = [0] * count
    ending = threading.Event()

    def subscribe(number: int) -> None:
        def on_bodies(_: BodyArray) -> None:
            got[number] += 1
            ending.wait(slow_s)

        node.create_subscription(BodyArray, "/thfm/bodies", on_bodies, QoSProfile(depth=1))

    for number in range(count):
        subscribe(number)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
    thread.start()
    try:
        yield got
    finally:
        ending.set()
        executor.shutdown()
        thread.join(5)
        node.destroy_node()
        rclpy.try_shutdown()


def _spin(executor: SingleThreadedExecutor) -> None:
    with suppress(ExternalShutdownException):
        executor.spin()


def test_a_slow_reader_holds_nobody_up(bench: BenchmarkRunner, alone: Measurement) -> None:
    with readers(1, slow_s=0.5) as got:
        beside = bench.measure(phase(0.8 * CAPACITY_HZ))

    assert 1 <= got[0] <= 10, "it takes two a second"
    assert beside.skeleton.results_per_s > 0.7 * alone.skeleton.results_per_s
    assert beside.skeleton.p50_ms < 2 * step_ms(alone) + SLACK_MS


def test_twenty_readers_get_every_result(bench: BenchmarkRunner, alone: Measurement) -> None:
    with readers(20) as got:
        beside = bench.measure(phase(0.8 * CAPACITY_HZ))

    assert min(got) > 0.5 * beside.skeleton.results, got
    assert beside.skeleton.results_per_s > 0.5 * alone.skeleton.results_per_s


def test_readers_that_come_and_go_leave_nothing_behind(
    bench: BenchmarkRunner, alone: Measurement
) -> None:
    ending = threading.Event()
    visits = 0

    def come_and_go() -> None:
        nonlocal visits
        while not ending.is_set():
            with readers(2):
                ending.wait(0.3)
            visits += 1

    visitor = threading.Thread(target=come_and_go)
    visitor.start()
    try:
        beside = bench.measure(phase(0.8 * CAPACITY_HZ, 4.0))
    finally:
        ending.set()
        visitor.join()

    assert visits >= 3
    assert beside.skeleton.results_per_s > 0.7 * alone.skeleton.results_per_s
    assert beside.peak_rss_mb < alone.peak_rss_mb + 15


@pytest.mark.slow
def test_the_shipped_network_keeps_its_memory_flat(tmp_path: Path) -> None:
    with BenchmarkRunner(tmp_path) as bench:
        settled = bench.measure(Scenario(subject="thfm", rate_hz=60.0, seconds=20.0))
        frames = max(FRAMES, 1000)
        after = bench.measure(Scenario(subject="thfm", rate_hz=60.0, seconds=frames / 60.0))

    assert after.skeleton.results > 0
    assert after.peak_rss_mb < settled.peak_rss_mb + 20, (settled.peak_rss_mb, after.peak_rss_mb)
