"""The newest wins, everything else is counted, and nothing stops the thread but its owner."""

import threading
import time

from thfm_ros.ros.worker import Mailbox, Worker


def test_an_item_that_nobody_took_is_overwritten_and_that_is_told() -> None:
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


def test_closing_wakes_whoever_waits_and_drops_what_lies_there() -> None:
    mailbox: Mailbox[int] = Mailbox()
    threading.Timer(0.05, mailbox.close).start()
    assert mailbox.take() is None
    mailbox.put(1)
    assert mailbox.take() is None


def test_a_slow_worker_gets_the_newest_and_every_other_item_is_counted() -> None:
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
    assert dropped == 98  # all but the one in hand and the newest


def test_an_error_in_one_item_does_not_end_the_thread() -> None:
    done: list[int] = []

    def handle(item: int) -> None:
        if item == 0:
            raise ValueError("the first")
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


def test_stopping_a_worker_whose_task_hangs_does_not_hang() -> None:
    hanging, release = threading.Event(), threading.Event()

    def handle(_: int) -> None:
        hanging.set()
        release.wait(30)

    worker = Worker(handle)
    worker.start()
    worker.put(1)
    assert hanging.wait(5)
    began = time.monotonic()
    assert worker.stop(timeout_s=0.1) is False
    assert time.monotonic() - began < 2
    release.set()


def test_a_worker_that_never_started_can_be_stopped() -> None:
    worker: Worker[int] = Worker(lambda item: None)
    assert worker.stop()


def test_a_worker_rests_once_when_nothing_comes_and_again_after_the_next_item() -> None:
    order: list[str] = []
    worker = Worker(order.append, rest=lambda: order.append("rest"), rest_after_s=0.05)
    worker.start()
    time.sleep(0.3)  # nothing has come yet: there is nothing to rest from, but for once
    worker.put("one")
    time.sleep(0.3)
    worker.put("two")
    time.sleep(0.3)
    assert worker.stop()
    assert order == ["rest", "one", "rest", "two", "rest"]


def test_an_error_while_resting_does_not_end_the_thread() -> None:
    done: list[int] = []

    def breaks() -> None:
        raise RuntimeError("no context")

    worker = Worker(done.append, rest=breaks, rest_after_s=0.02)
    worker.start()
    time.sleep(0.2)
    worker.put(1)
    deadline = time.monotonic() + 5
    while not done and time.monotonic() < deadline:
        time.sleep(0.005)
    assert worker.stop() and done == [1]
