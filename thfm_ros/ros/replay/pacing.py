# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""When the next image of a recording is due."""


class Pacing:
    """The rhythm of a recording: its own times with their gaps, or a fixed rate.

    An image that comes late, because decoding or publishing took long, delays all later ones:
    gaps may become longer, never shorter.

    Args:
        rate_hz: images per second of images without a time, and between the last image and the
            first of a repetition.
        own_times: whether images are due at their own times, where they have any.
    """

    def __init__(self, rate_hz: float, *, own_times: bool) -> None:
        self._period_s = 1.0 / rate_hz
        self._own_times = own_times
        self._due_s: float | None = None  # of the image that was published last
        self._stamp_ns: int | None = None

    def published(self, stamp_ns: int | None, now_s: float) -> None:
        """Tell that an image is published now; ``stamp_ns`` is its time in the recording."""
        late = self._due_s is None or now_s - self._due_s > self._period_s / 2
        self._due_s = now_s if late or self._due_s is None else self._due_s
        self._stamp_ns = stamp_ns

    def wait_s(self, stamp_ns: int | None, now_s: float) -> float:
        """Seconds from now until the next image is due, which has this time in the recording."""
        gap_s = self._period_s
        if self._own_times and stamp_ns is not None and self._stamp_ns is not None:
            gap_s = (stamp_ns - self._stamp_ns) * 1e-9
        self._due_s = (now_s if self._due_s is None else self._due_s) + gap_s
        return max(0.0, self._due_s - now_s)

    def begin_again(self) -> None:
        """Tell that the recording is repeated: times begin anew after one period."""
        self._stamp_ns = None
