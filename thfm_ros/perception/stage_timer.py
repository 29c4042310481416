# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Wall-clock time of the stages of one step."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class StageTimer:
    """Measures stages in the thread that made the timer, from construction on.

    Stages that run in other threads do not delay the step and are not measured.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        self._thread = threading.get_ident()
        self._began = time.perf_counter()
        self._ms = dict.fromkeys(stages, 0.0)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of the block to ``stage``."""
        began = time.perf_counter()
        yield
        if threading.get_ident() == self._thread:
            self._ms[stage] += (time.perf_counter() - began) * 1e3

    def finished(self) -> dict[str, float]:
        """Milliseconds by stage, and the "total" since construction."""
        return {**self._ms, "total": (time.perf_counter() - self._began) * 1e3}
