# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The worker processes the newest item, older ones are dropped, and only `stop` ends its thread."""

import threading
import time

from thfm_ros.ros.worker import Mailbox, Worker


def test_an_item_that_was_not_taken_is_replaced_and_put_says_so() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert mailbox.put(1) is False
    assert mailbox.put(2) is True
    assert mailbox.put(3) is True
    assert mailbox.take() == 3
    assert mailbox.put(4) is False


def test_take_waits_for_an_item() -> None:
    mailbox: Mailbox[str] = Mailbox()
    threading.Timer(0.05, mailbox.put, ["here"]).start()
    began = time.monotonic()
    assert mailbox.take() == "here"
    assert time.monotonic() - began > 0.03


def test_closing_ends_waiting_and_drops_the_stored_item() -> None:
    mailbox: Mailbox[int] = Mailbox()
    threading.Timer(0.05, mailbox.close).start()
    assert mailbox.take() is None
    mailbox.put(1)
    assert mailbox.take() is None


def test_a_slow_worker_gets_the_newest_item_and_put_reports_each_drop() -> None:
    done: list[int] = []
    started, go_on = threading.Event(), threading.Event()

    def handle(item: int) -> None:
        started.set()
        go_on.wait(5)
        done.append(item)

    worker = Worker(handle)
    worker.start()
    worker.put(0)
    assert started.wait(5)
    dropped = sum(worker.put(item) for item in range(1, 100))
    go_on.set()
    deadline = time.monotonic() + 5
    while len(done) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert worker.stop()
    assert done == [0, 99]
    assert dropped == 98  # all except the item being processed and the newest


def test_an_exception_from_the_handler_does_not_end_the_thread() -> None:
    done: list[int] = []

    def handle(item: int) -> None:
        if item == 0:
            raise ValueError("first item")
        done.append(item)

    worker = Worker(handle)
    worker.start()
    worker.put(0)
    time.sleep(0.05)
    worker.put(1)
    deadline = time.monotonic() + 5
    while not done and time.monotonic() < deadline:
        time.sleep(0.005)
    assert worker.stop()
    assert done == [1]


def test_stop_returns_even_if_the_handler_does_not() -> None:
    blocked, release = threading.Event(), threading.Event()

    def handle(_: int) -> None:
        blocked.set()
        release.wait(30)

    worker = Worker(handle)
    worker.start()
    worker.put(1)
    assert blocked.wait(5)
    began = time.monotonic()
    assert worker.stop(timeout_s=0.1) is False
    assert time.monotonic() - began < 2
    release.set()


def test_a_worker_that_was_not_started_can_be_stopped() -> None:
    worker: Worker[int] = Worker(lambda item: None)
    assert worker.stop()


def test_on_idle_is_called_once_without_items_and_again_after_the_next_item() -> None:
    calls: list[str] = []
    worker = Worker(calls.append, on_idle=lambda: calls.append("idle"), idle_after_s=0.05)
    worker.start()
    time.sleep(0.3)  # it is also called before the first item
    worker.put("one")
    time.sleep(0.3)
    worker.put("two")
    time.sleep(0.3)
    assert worker.stop()
    assert calls == ["idle", "one", "idle", "two", "idle"]


def test_an_exception_from_on_idle_does_not_end_the_thread() -> None:
    done: list[int] = []

    def fail() -> None:
        raise RuntimeError("no context")

    worker = Worker(done.append, on_idle=fail, idle_after_s=0.02)
    worker.start()
    time.sleep(0.2)
    worker.put(1)
    deadline = time.monotonic() + 5
    while not done and time.monotonic() < deadline:
        time.sleep(0.005)
    assert worker.stop() and done == [1]
