# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The worker processes the newest item, older ones are dropped, and only `stop` ends its thread."""

import queue
import threading
from collections.abc import Callable

import pytest

from thfm_ros.ros.worker import Mailbox, Worker

TIMEOUT_S = 120.0  # reached only if something hangs


def test_an_item_that_was_not_taken_is_replaced_and_put_says_so() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert mailbox.put(1) is False
    assert mailbox.put(2) is True
    assert mailbox.put(3) is True
    assert mailbox.take() == 3
    assert mailbox.put(4) is False


def taken_later(mailbox: Mailbox[str], action: Callable[[], object]) -> str | None:
    """What `take` returns that was called before ``action``, or a moment after it."""
    items: list[str | None] = []
    thread = threading.Thread(target=lambda: items.append(mailbox.take()))
    thread.start()
    thread.join(0.05)
    assert items == [], "it waits"
    action()
    thread.join(TIMEOUT_S)
    return items[0]


def test_take_waits_for_an_item() -> None:
    mailbox: Mailbox[str] = Mailbox()
    assert taken_later(mailbox, lambda: mailbox.put("here")) == "here"


def test_take_waits_no_longer_than_its_timeout() -> None:
    mailbox: Mailbox[str] = Mailbox()
    assert mailbox.take(0.01) is None
    assert not mailbox.closed


def test_closing_ends_waiting_and_drops_the_stored_item() -> None:
    mailbox: Mailbox[str] = Mailbox()
    assert taken_later(mailbox, mailbox.close) is None
    mailbox = Mailbox()
    mailbox.close()
    mailbox.put("too late")
    assert mailbox.take() is None


def test_a_slow_worker_gets_the_newest_item_and_put_reports_each_drop() -> None:
    done: list[int] = []
    started, go_on, finished = (threading.Event() for _ in range(3))

    def handle(item: int) -> None:
        started.set()
        go_on.wait(TIMEOUT_S)
        done.append(item)
        if item == 99:
            finished.set()

    worker = Worker(handle)
    worker.start()
    worker.put(0)
    assert started.wait(TIMEOUT_S)
    dropped = sum(worker.put(item) for item in range(1, 100))
    go_on.set()
    assert finished.wait(TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)
    assert done == [0, 99]
    assert dropped == 98  # all except the item being processed and the newest


@pytest.mark.fault("engine", "an exception of any type in the worker's thread")
def test_an_exception_from_the_handler_does_not_end_the_thread() -> None:
    failed, done = threading.Event(), threading.Event()

    def handle(item: int) -> None:
        if item == 0:
            failed.set()
            raise ValueError("first item")
        done.set()

    worker = Worker(handle)
    worker.start()
    worker.put(0)
    assert failed.wait(TIMEOUT_S)
    worker.put(1)
    assert done.wait(TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)


@pytest.mark.fault("engine", "a step does not return when the node is deactivated")
def test_stop_returns_even_if_the_handler_does_not() -> None:
    blocked, release = threading.Event(), threading.Event()

    def handle(_: int) -> None:
        blocked.set()
        release.wait(TIMEOUT_S)

    worker = Worker(handle)
    worker.start()
    worker.put(1)
    assert blocked.wait(TIMEOUT_S)
    assert worker.stop(timeout_s=0.1) is False
    assert not release.is_set(), "it returned while the handler was blocked"
    release.set()
    assert worker.stop(TIMEOUT_S)


def test_a_worker_that_was_not_started_can_be_stopped() -> None:
    worker: Worker[int] = Worker(lambda item: None)
    assert worker.stop()


@pytest.fixture
def short_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thfm_ros.ros.worker.IDLE_CHECK_S", 0.005)


def test_on_idle_is_called_once_when_items_stop_and_again_after_the_next_item(
    short_checks: None,
) -> None:
    calls: queue.Queue[str] = queue.Queue()
    silent, checked = threading.Event(), threading.Semaphore(0)

    def is_idle() -> bool:
        checked.release()
        return silent.is_set()

    worker = Worker(calls.put, on_idle=lambda: calls.put("idle"), is_idle=is_idle)
    worker.start()
    for item in ("one", "two"):
        worker.put(item)
        assert calls.get(timeout=TIMEOUT_S) == item
        for _ in range(3):  # it asks again and again while there is no silence
            assert checked.acquire(timeout=TIMEOUT_S)
        assert calls.empty()
        silent.set()
        assert calls.get(timeout=TIMEOUT_S) == "idle"
        silent.clear()
    assert worker.stop(TIMEOUT_S)
    assert calls.empty()


def test_an_exception_from_on_idle_does_not_end_the_thread(short_checks: None) -> None:
    failed, done = threading.Event(), threading.Event()

    def fail() -> None:
        failed.set()
        raise RuntimeError("no context")

    worker: Worker[int] = Worker(lambda _: done.set(), on_idle=fail)
    worker.start()
    assert failed.wait(TIMEOUT_S)
    worker.put(1)
    assert done.wait(TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)


def test_an_exception_after_the_end_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What the callback uses is destroyed when the node ends without the worker."""
    begun, release = threading.Event(), threading.Event()

    def handle(_: int) -> None:
        begun.set()
        release.wait(TIMEOUT_S)
        raise RuntimeError("cannot use Destroyable")

    worker = Worker(handle)
    worker.start()
    worker.put(1)
    assert begun.wait(TIMEOUT_S)
    assert not worker.stop(timeout_s=0.01)
    release.set()
    assert worker.stop(TIMEOUT_S)
    assert not caplog.records
