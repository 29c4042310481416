# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A sliding time window of numbers, for the rates and percentiles of the diagnostics."""

from collections import deque

SPAN_S = 10.0
"""Length of the window."""


class RecentValues:
    """The values of the last `SPAN_S` seconds. The caller passes the time, in monotonic seconds."""

    def __init__(self) -> None:
        self._items: deque[tuple[float, float]] = deque(maxlen=4096)

    def add(self, now_s: float, value: float = 0.0) -> None:
        """Append a value; the value of a mere event does not matter."""
        self._items.append((now_s, value))

    def values(self, now_s: float) -> list[float]:
        """The values in the window, oldest first."""
        while self._items and self._items[0][0] < now_s - SPAN_S:
            self._items.popleft()
        return [value for _, value in self._items]

    def rate_hz(self, now_s: float) -> float:
        """Values per second; 0 with fewer than two, or once they have stopped."""
        count = len(self.values(now_s))
        if count < 2 or now_s - self._items[-1][0] > 1.0 + 2 * SPAN_S / count:
            return 0.0
        return (count - 1) / max(self._items[-1][0] - self._items[0][0], 1e-6)
