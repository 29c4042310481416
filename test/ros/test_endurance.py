# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The node over many frames, and with slow, many or changing subscribers.

Each image is published after the results of the one before were received, so nothing depends on
the speed of the machine; test_throughput.py measures that. Full length:
THFM_ENDURANCE_FRAMES=10000 pytest test/ros/test_endurance.py
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import rclpy
from node_client import SUPPORT, Client
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from ros_process import Listener, NodeProcess, ros_arguments, stamp_ns, started

from thfm_ros.msg import BodyArray

FRAMES = int(os.environ.get("THFM_ENDURANCE_FRAMES", "120"))

pytestmark = [pytest.mark.ros, pytest.mark.timeout(600 + FRAMES)]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """The node with an engine that returns at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(SUPPORT))
        patch.setenv("SLOW_NODE_STEP_S", "0.001")
        log = tmp_path_factory.mktemp("node") / "log"
        with started("slow_node", ros_arguments({"diagnostics_period_s": 0.5}), log) as running:
            yield running


def heap_mb(process: NodeProcess) -> float:
    """Anonymous memory of a process: without files, and without the shared memory of others."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the kernel does not report RssAnon")


def test_memory_does_not_grow_over_many_frames(client: Client, process: NodeProcess) -> None:
    """Two of three images are overtaken, or lost, before the node can process them."""
    bodies = client.listen(BodyArray, "bodies")

    def burst() -> int:
        return [client.publish() for _ in range(3)][-1]

    def frames(count: int) -> float:
        for _ in range(count):
            client.exchange([bodies], send=burst)
        return heap_mb(process)

    settled = frames(40)
    after = frames(FRAMES)

    assert after < settled + 8, (settled, after)


def subscribe(node: Node, count: int) -> list[list[BodyArray]]:
    """``count`` subscriptions to ~/bodies with room for every result; what each receives."""
    received: list[list[BodyArray]] = [[] for _ in range(count)]
    for messages in received:
        node.create_subscription(BodyArray, "/thfm/bodies", messages.append, QoSProfile(depth=100))
    return received


@contextmanager
def stuck_subscriber() -> Iterator[list[int]]:
    """A participant of its own whose callback does not return; the stamps that it has handled."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("stuck", context=context)
    handled: list[int] = []
    ending = threading.Event()

    def on_bodies(message: BodyArray) -> None:
        handled.append(stamp_ns(message))
        ending.wait()

    node.create_subscription(BodyArray, "/thfm/bodies", on_bodies, QoSProfile(depth=1))
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=_spin, args=(executor,), daemon=True)
    thread.start()
    try:
        yield handled
    finally:
        ending.set()
        executor.shutdown()
        thread.join()
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def _spin(executor: SingleThreadedExecutor) -> None:
    with suppress(ExternalShutdownException):
        executor.spin()


@pytest.mark.fault("transport", "a subscriber hangs")
def test_a_subscriber_that_does_not_return_holds_up_neither_the_node_nor_the_others(
    client: Client,
) -> None:
    bodies = client.listen(BodyArray, "bodies")
    with stuck_subscriber() as handled:
        client.stream(lambda: handled, "a message at the subscriber")
        stamps = [client.exchange([bodies]) for _ in range(20)]
        assert len(handled) == 1
    assert stamps == sorted(set(stamps))


def test_every_one_of_twenty_subscribers_receives_every_result(
    listener: Listener, client: Client
) -> None:
    received: list[list[Any]] = [*subscribe(listener.node, 20)]
    # The node's writer knows a reader some time after the reader knows the writer, and results of
    # before do not reach it. So only what follows the first complete result counts.
    client.exchange(received)
    sent = [client.exchange(received, lossless=True) for _ in range(20)]
    for messages in received:
        stamps = [stamp_ns(message) for message in messages]
        assert stamps == sorted(set(stamps)), "in order, none twice"
        assert set(sent) <= set(stamps)


@pytest.mark.fault("transport", "subscribers come and go")
def test_subscribers_that_come_and_go_leak_no_memory(
    listener: Listener, client: Client, process: NodeProcess
) -> None:
    bodies: list[Any] = client.listen(BodyArray, "bodies")

    def come_and_go(cycles: int) -> float:
        for number in range(cycles):
            context = rclpy.Context()
            rclpy.init(context=context)
            visitor = rclpy.create_node(f"visitor_{number}", context=context)
            executor = SingleThreadedExecutor(context=context)
            executor.add_node(visitor)
            received = subscribe(visitor, 2)
            while not all(received):
                client.exchange([bodies])
                executor.spin_once(timeout_sec=0.1)
            executor.shutdown()
            visitor.destroy_node()
            rclpy.try_shutdown(context=context)
        return heap_mb(process)

    settled = come_and_go(2)
    after = come_and_go(4)

    assert after < settled + 8, (settled, after)
