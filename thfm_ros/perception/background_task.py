"""Work in a thread of its own, for which somebody may wait later."""

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_PATIENCE_S = 2.0
_threads: "weakref.WeakSet[threading.Thread]" = weakref.WeakSet()


@atexit.register
def _wait_for_all() -> None:
    """A runtime's own threads abort the process when it ends under them."""
    deadline = time.monotonic() + _PATIENCE_S
    for thread in list(_threads):
        thread.join(max(0.0, deadline - time.monotonic()))


class BackgroundTask(Generic[T]):
    """Begins at once; `result` waits for it."""

    def __init__(self, work: Callable[[], T], name: str) -> None:
        self._work = work
        self._done: list[T] = []
        self._error: Exception | None = None
        # A daemon: an engine that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        _threads.add(self._thread)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._done.append(self._work())
        except Exception as error:  # raised again where somebody asks for the result
            self._error = error

    @property
    def runs(self) -> bool:
        """Whether `result` would wait."""
        return self._thread.is_alive()

    def result(self) -> T:
        """What the work returned; or what it raised is raised here."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._done[0]
