# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A thread that receives messages instead of the executor."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from ros_process import TIMEOUT_S
from std_msgs.msg import Int64

from thfm_ros.ros.message_receiver import MessageReceiver, OwnThreadGroup

pytestmark = pytest.mark.ros


@pytest.fixture
def node() -> Iterator[Node]:
    rclpy.init()
    try:
        yield rclpy.create_node("thfm")
    finally:
        rclpy.try_shutdown()


def subscribe(node: Node, topic: str, depth: int = 10) -> Any:
    """A subscription whose own callback must not be called."""

    def executed(_: Int64) -> None:
        raise AssertionError("called by the executor")

    return node.create_subscription(Int64, topic, executed, depth, callback_group=OwnThreadGroup())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_messages_are_received_in_order_without_the_executor(node: Node) -> None:
    received: list[tuple[int, str]] = []
    receiver = MessageReceiver(node)
    receiver.add(
        subscribe(node, "/a"),
        lambda msg: received.append((msg.data, threading.current_thread().name)),
    )
    receiver.start()
    publisher = node.create_publisher(Int64, "/a", 10)
    wait_until(lambda: publisher.get_subscription_count() == 1)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    for number in range(5):
        publisher.publish(Int64(data=number))
        executor.spin_once(timeout_sec=0.0)
    wait_until(lambda: len(received) == 5)
    assert received == [(number, "receiver") for number in range(5)]
    assert receiver.stop()


def test_a_subscription_that_is_added_later_is_served_and_none_after_the_end(node: Node) -> None:
    received: list[int] = []
    receiver = MessageReceiver(node)
    receiver.start()
    receiver.add(subscribe(node, "/later"), lambda msg: received.append(msg.data))
    publisher = node.create_publisher(Int64, "/later", 10)
    wait_until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(Int64(data=1))
    wait_until(lambda: received == [1])
    assert receiver.stop()
    publisher.publish(Int64(data=2))
    time.sleep(0.05)
    assert received == [1]


def test_of_a_limited_rate_the_newest_message_is_received_and_before_the_others(
    node: Node,
) -> None:
    now_s, received = [0.0], list[tuple[str, int]]()
    receiver = MessageReceiver(node, clock=lambda: now_s[0])
    receiver.add(subscribe(node, "/image"), lambda msg: received.append(("image", msg.data)))
    limited = subscribe(node, "/info", depth=1)
    receiver.add(limited, lambda msg: received.append(("info", msg.data)), min_period_s=1e6)
    image, info = (node.create_publisher(Int64, topic, 10) for topic in ("/image", "/info"))
    wait_until(lambda: image.get_subscription_count() == info.get_subscription_count() == 1)
    image.publish(Int64(data=0))
    info.publish(Int64(data=0))
    receiver.start()  # both are there
    wait_until(lambda: len(received) == 2)
    assert received == [("info", 0), ("image", 0)]
    for number in range(1, 4):
        info.publish(Int64(data=number))
        image.publish(Int64(data=number))
        wait_until(lambda number=number: received[-1] == ("image", number))  # type: ignore[misc]
    assert [topic for topic, _ in received] == ["info", *["image"] * 4]
    now_s[0] = 2e6
    image.publish(Int64(data=4))  # wakes the receiver, which then waits for both
    wait_until(lambda: received[-2:] in ([("image", 4), ("info", 3)], [("info", 3), ("image", 4)]))
    assert receiver.stop()


def test_an_exception_of_a_callback_is_raised_where_the_node_is_spun(node: Node) -> None:
    def fail(_: Int64) -> None:
        raise ValueError("of a callback")

    receiver = MessageReceiver(node)
    receiver.add(subscribe(node, "/a"), fail)
    receiver.start()
    publisher = node.create_publisher(Int64, "/a", 10)
    wait_until(lambda: publisher.get_subscription_count() == 1)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    publisher.publish(Int64())
    with pytest.raises(ValueError, match="of a callback"):
        for _ in range(1000):
            executor.spin_once(timeout_sec=0.1)
    assert receiver.stop()


def test_a_callback_that_does_not_return_is_reported_and_left_behind(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thfm_ros.ros.message_receiver._JOIN_TIMEOUT_S", 0.01)
    begun, release = threading.Event(), threading.Event()

    def hang(_: Int64) -> None:
        begun.set()
        release.wait()

    receiver = MessageReceiver(node)
    receiver.add(subscribe(node, "/a"), hang)
    receiver.start()
    publisher = node.create_publisher(Int64, "/a", 10)
    wait_until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(Int64())
    assert begun.wait(TIMEOUT_S)
    assert not receiver.stop()
    release.set()


def test_the_receiver_sleeps_while_a_message_of_limited_rate_waits(node: Node) -> None:
    """Events of its subscription share its condition: they must not wake the thread for it."""
    received: list[int] = []
    receiver = MessageReceiver(node)
    receiver.add(subscribe(node, "/info"), lambda msg: received.append(msg.data), 1e6)
    receiver.start()
    publisher = node.create_publisher(Int64, "/info", 10)
    wait_until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(Int64(data=1))
    wait_until(lambda: received == [1])
    publisher.publish(Int64(data=2))
    time.sleep(0.05)
    waits = 0

    def counting(_: Any) -> bool:
        nonlocal waits
        waits += 1
        return False

    context_ok, node.context.ok = node.context.ok, lambda: counting(None) or context_ok()
    time.sleep(0.2)
    node.context.ok = context_ok
    assert waits < 10  # a thread that is woken at once waits a thousand times
    assert receiver.stop()
