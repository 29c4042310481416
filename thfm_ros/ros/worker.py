"""One thread that always works on the newest thing: a mailbox with a single slot.

Whoever is slower than its input must drop something. Here it is the oldest, at once, and it is
counted; so what comes out is never older than one step plus the wait for the step before it.
"""

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_LOG = logging.getLogger(__name__)


class Mailbox(Generic[T]):
    """A slot for one item, which the next item overwrites."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Lay down the newest; True if that overwrote one which nobody had taken."""
        with self._changed:
            overwritten = self._item is not None
            if not self._closed:
                self._item = item
                self._changed.notify()
            return overwritten

    def take(self, timeout_s: float | None = None) -> T | None:
        """Wait for an item and take it away; None once closed, or when nothing came in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            return None if self._closed else item

    @property
    def closed(self) -> bool:
        """Whether nothing will come any more."""
        return self._closed

    def close(self) -> None:
        """Wake whoever waits, with nothing; drop what lies there."""
        with self._changed:
            self._closed, self._item = True, None
            self._changed.notify_all()


class Worker(Generic[T]):
    """Calls ``handle`` with the newest item, in a thread of its own, from `start` to `stop`.

    ``rest`` is called once when nothing has come for ``rest_after_s``. Both deal with their own
    errors; one that escapes is logged and the thread goes on.
    """

    def __init__(
        self,
        handle: Callable[[T], None],
        name: str = "worker",
        *,
        rest: Callable[[], None] = lambda: None,
        rest_after_s: float | None = None,
    ) -> None:
        self._handle, self._rest, self._rest_after_s = handle, rest, rest_after_s
        self._mailbox: Mailbox[T] = Mailbox()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def put(self, item: T) -> bool:
        """Hand over the newest; True if an older one is thereby dropped."""
        return self._mailbox.put(item)

    def stop(self, timeout_s: float = 5.0) -> bool:
        """End after the item in hand; False if that takes longer than ``timeout_s``."""
        self._mailbox.close()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        patience_s = self._rest_after_s
        while True:
            item = self._mailbox.take(patience_s)
            if item is None and self._mailbox.closed:
                return
            try:
                if item is None:
                    self._rest()
                else:
                    self._handle(item)
            except Exception:
                _LOG.exception("A result is lost: the worker's task raised.")
            patience_s = None if item is None else self._rest_after_s
