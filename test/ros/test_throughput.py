# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""How fast the node is under overload and with many subscribers, on an otherwise idle machine.

    pytest -m slow test/ros/test_throughput.py

The engine waits 40 ms per call, so that the node's throughput is known and the machine is almost
idle. The same without the clock: test_perceiver.py and test_endurance.py.
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

CAPACITY_HZ = 25.0  # one crop per frame; detection passes run in another thread
SMALL = {"width": 160, "height": 120, "people": 1, "topics": "bodies", "warmup_s": 1.0}
TOLERANCE_MS = 150.0  # for other processes; a queue of ten images would add 500 ms

pytestmark = [pytest.mark.ros, pytest.mark.slow]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[BenchmarkRunner]:
    slow_node = [sys.executable, str(root / "test" / "support" / "slow_node.py")]
    original = dict(os.environ)
    os.environ["PYTHONPATH"] = str(root / "test" / "support")
    domain = int(os.environ["ROS_DOMAIN_ID"])
    folder = tmp_path_factory.mktemp("bench")
    with BenchmarkRunner(folder, node=slow_node, domain_id=domain) as bench:
        yield bench
    os.environ.clear()
    os.environ.update(original)


@pytest.fixture(scope="module")
def baseline(bench: BenchmarkRunner) -> Measurement:
    """At 80 % of the throughput, with one subscriber."""
    return bench.measure(scenario(0.8 * CAPACITY_HZ))


def scenario(rate_hz: float, seconds: float = 2.0, **more: Any) -> Scenario:
    return Scenario(**{"subject": "thfm", "rate_hz": rate_hz, "seconds": seconds, **SMALL, **more})


def step_ms(measurement: Measurement) -> float:
    return 1e3 / measurement.skeleton.results_per_s


@pytest.mark.parametrize("factor", [2, 5, 10])
def test_overload_makes_results_rarer_but_not_older(
    bench: BenchmarkRunner, baseline: Measurement, factor: int
) -> None:
    under_load = bench.measure(scenario(factor * CAPACITY_HZ))

    assert under_load.sent_rate_hz > 0.8 * factor * CAPACITY_HZ
    limit_ms = 2 * step_ms(under_load) + 1e3 / under_load.sent_rate_hz + TOLERANCE_MS
    assert under_load.skeleton.p99_ms < limit_ms, under_load
    assert under_load.skeleton.results_per_s > 0.7 * baseline.skeleton.results_per_s, under_load
    dropped = under_load.losses["overtaken by a newer image"]
    assert dropped > 0.3 * under_load.skeleton.sent, under_load.losses


@contextmanager
def subscribers(count: int, slow_s: float = 0.0) -> Iterator[list[int]]:
    """``count`` subscriptions to ~/bodies in this process; the number of messages of each."""
    rclpy.init()
    node = rclpy.create_node("subscribers")
    received = [0] * count
    ending = threading.Event()

    def subscribe(number: int) -> None:
        def on_bodies(_: BodyArray) -> None:
            received[number] += 1
            ending.wait(slow_s)

        node.create_subscription(BodyArray, "/thfm/bodies", on_bodies, QoSProfile(depth=1))

    for number in range(count):
        subscribe(number)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
    thread.start()
    try:
        yield received
    finally:
        ending.set()
        executor.shutdown()
        thread.join(5)
        node.destroy_node()
        rclpy.try_shutdown()


def _spin(executor: SingleThreadedExecutor) -> None:
    with suppress(ExternalShutdownException):
        executor.spin()


def test_a_slow_subscriber_does_not_slow_the_node_down(
    bench: BenchmarkRunner, baseline: Measurement
) -> None:
    with subscribers(1, slow_s=0.5) as received:
        measurement = bench.measure(scenario(0.8 * CAPACITY_HZ))

    assert 1 <= received[0] <= 10, "it takes two per second"
    assert measurement.skeleton.results_per_s > 0.7 * baseline.skeleton.results_per_s
    assert measurement.skeleton.p50_ms < 2 * step_ms(baseline) + TOLERANCE_MS


def test_twenty_subscribers_do_not_halve_the_throughput(
    bench: BenchmarkRunner, baseline: Measurement
) -> None:
    with subscribers(20) as received:
        measurement = bench.measure(scenario(0.8 * CAPACITY_HZ))

    assert min(received) > 0
    assert measurement.skeleton.results_per_s > 0.5 * baseline.skeleton.results_per_s


def test_memory_does_not_grow_with_the_shipped_network(tmp_path: Path) -> None:
    frames = max(int(os.environ.get("THFM_ENDURANCE_FRAMES", "0")), 1000)
    with BenchmarkRunner(tmp_path, domain_id=int(os.environ["ROS_DOMAIN_ID"])) as bench:
        settled = bench.measure(Scenario(subject="thfm", rate_hz=60.0, seconds=20.0))
        after = bench.measure(Scenario(subject="thfm", rate_hz=60.0, seconds=frames / 60.0))

    assert after.skeleton.results > 0
    assert after.peak_rss_mb < settled.peak_rss_mb + 20, (settled.peak_rss_mb, after.peak_rss_mb)
