# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A worker thread that always processes the newest item: a mailbox with one slot.

A consumer that is slower than its input must drop items. Here the older item is dropped as soon as
a newer one arrives, and `put` reports that, so that drops can be counted. A result is therefore
never older than its own processing time plus that of the item before it.
"""

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

IDLE_CHECK_S = 0.2

T = TypeVar("T")

_LOG = logging.getLogger(__name__)


class Mailbox(Generic[T]):
    """A slot for one item; a new item replaces one that was not taken yet. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Store the newest item; True if that replaced an item that was not taken."""
        with self._changed:
            replaced = self._item is not None
            if not self._closed:
                self._item = item
                self._changed.notify()
            return replaced

    def take(self, timeout_s: float | None = None) -> T | None:
        """Wait for an item and remove it; None after `close`, or after ``timeout_s``."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            return None if self._closed else item

    @property
    def closed(self) -> bool:
        """Whether `close` was called: no item is accepted any more."""
        return self._closed

    def close(self) -> None:
        """Drop the stored item and make waiting threads return."""
        with self._changed:
            self._closed, self._item = True, None
            self._changed.notify_all()


class Worker(Generic[T]):
    """Calls ``handle`` with the newest item, in a thread of its own, from `start` to `stop`.

    Args:
        handle: called with each item. An exception from it is logged and the thread continues.
        name: of the thread.
        on_idle: called once when there is no item and ``is_idle()``; then again only after another
            item. Exceptions as for ``handle``.
        is_idle: whether items have stopped coming; asked every `IDLE_CHECK_S` until it is true.
    """

    def __init__(
        self,
        handle: Callable[[T], None],
        name: str = "worker",
        *,
        on_idle: Callable[[], None] = lambda: None,
        is_idle: Callable[[], bool] = lambda: True,
    ) -> None:
        self._handle, self._on_idle, self._is_idle = handle, on_idle, is_idle
        self._mailbox: Mailbox[T] = Mailbox()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; may be called once."""
        self._thread.start()

    def put(self, item: T) -> bool:
        """Queue the newest item; True if that drops an older one."""
        return self._mailbox.put(item)

    def stop(self, timeout_s: float = 3.0) -> bool:
        """Finish the current item and end; False if that takes longer than ``timeout_s``."""
        self._mailbox.close()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        was_idle = False
        while True:
            item = self._mailbox.take(None if was_idle else IDLE_CHECK_S)
            if item is None and self._mailbox.closed:
                return
            was_idle = False
            try:
                if item is not None:
                    self._handle(item)
                elif self._is_idle():
                    was_idle = True
                    self._on_idle()
            except Exception:
                if self._mailbox.closed:  # what the callback uses may be destroyed already
                    return
                _LOG.exception("A result is lost: the worker's callback raised an exception.")
