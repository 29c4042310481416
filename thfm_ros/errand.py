"""Work in a thread of its own, for which somebody may wait later."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Errand(Generic[T]):
    """Begins at once; `result` waits for it."""

    def __init__(self, work: Callable[[], T], name: str) -> None:
        self._work = work
        self._done: list[T] = []
        self._error: Exception | None = None
        # A daemon: an engine that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
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
