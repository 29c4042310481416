# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Times of frames that always increase, from what a container or a message states."""

_SPLICE_NS = 1_000_000_000
"""A jump back by this much is no disorder: another recording begins."""
_LONGEST_GAP_NS = 600_000_000_000
"""A longer gap between two frames is no pause: another recording begins."""


class IncreasingTimes:
    """Strictly increasing times in ns, 0 for the first frame.

    A gap remains as it is. Where another recording begins (the stated time jumps back, or ahead by
    ten minutes), the times go on after one ``interval_ns``. A frame without a time, or with that
    of the frame before, comes a part of an interval later.
    """

    def __init__(self, interval_ns: int) -> None:
        self._interval_ns = interval_ns
        self._last_ns: int | None = None
        self._offset_ns = 0
        self._previous_disordered = False

    def next(self, stated_ns: int | None) -> int:
        """The time of the next frame; ``stated_ns`` is what the source says, None if nothing."""
        if self._last_ns is None:
            self._offset_ns = -(stated_ns or 0)
            self._last_ns = 0
            return 0
        if stated_ns is None:
            self._last_ns += self._interval_ns
            return self._last_ns
        step_ns = stated_ns + self._offset_ns - self._last_ns
        longest_ns = max(_LONGEST_GAP_NS, 10 * self._interval_ns)
        if step_ns <= -_SPLICE_NS or step_ns > longest_ns:
            self._offset_ns += self._interval_ns - step_ns
            step_ns = self._interval_ns
        disordered = step_ns <= 0
        if disordered:  # half an interval: a single repeated time leaves the next frame its own
            step_ns = self._interval_ns // (1 if self._previous_disordered else 2)
        self._previous_disordered = disordered
        self._last_ns += max(1, step_ns)
        return self._last_ns
