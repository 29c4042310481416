# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Publishing maps in a thread of their own.

Megabytes of maps take a fifth of the time of a step. Published by the worker they would delay the
next image; here the next step runs meanwhile, on another core.
"""

from collections.abc import Callable

from thfm_ros.perception.background_task import BackgroundTask


class MapPublication:
    """Publishes the maps of one result at a time. Its methods are called by one thread.

    Args:
        on_error: called with what publishing raised, in the thread of the maps.
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._on_error = on_error
        self._task: BackgroundTask[None] | None = None

    def begin(self, publish: Callable[[], None] | None, then: Callable[[], None]) -> None:
        """Wait for the maps of the result before, and begin to publish the next ones.

        Args:
            publish: publishes all maps; None: there are none, and ``then`` is called at once.
            then: called after it, unless it raised an error.
        """
        self.wait()
        if publish is None:
            then()
        else:
            self._task = BackgroundTask(lambda: self._run(publish, then), "maps")

    def wait(self) -> None:
        """Wait until nothing is being published."""
        task, self._task = self._task, None
        if task is not None:
            task.result()

    def _run(self, publish: Callable[[], None], then: Callable[[], None]) -> None:
        try:
            publish()
        except Exception as error:
            self._on_error(error)
        else:
            then()
