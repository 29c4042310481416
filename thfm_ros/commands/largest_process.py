# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Memory of the largest of some processes, while they run."""

import threading
from collections.abc import Sequence

import psutil

_SAMPLE_S = 0.5


class LargestProcess:
    """Samples the largest resident set among some processes and all below them, MiB.

    Args:
        pids: of the processes.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids, self._samples = pids, list[float]()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, float]:
        """The largest value in the first and in the last quarter of the time."""
        self._ending.set()
        self._thread.join()
        quarter = max(1, len(self._samples) // 4)
        first, last = self._samples[:quarter] or [0.0], self._samples[-quarter:] or [0.0]
        return {"first_quarter": max(first), "last_quarter": max(last)}

    def _run(self) -> None:
        while not self._ending.wait(_SAMPLE_S):
            sizes = [0.0]
            for pid in self._pids:
                try:
                    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
                    sizes += [each.memory_info().rss / 2**20 for each in tree]
                except psutil.Error:
                    continue
            self._samples.append(max(sizes))
