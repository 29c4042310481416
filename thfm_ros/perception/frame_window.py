"""Sliding window of camera frames: what belongs to one unbroken stream, and what broke it.

Frames are kept by reference, never copied. Nothing here knows ROS or the clock.
"""

from collections import deque

from thfm_ros.config import WindowConfig
from thfm_ros.contract import Clip, Frame


class FrameWindow:
    """The newest frames of a stream.

    ``why`` says what began the present epoch ("first frame" or what broke the one before), for
    logs and diagnostics. ``dropped_why`` says why the latest `push` returned None.
    """

    def __init__(self, config: WindowConfig) -> None:
        self._config = config
        self._frames: deque[Frame] = deque(maxlen=config.length)
        self._epoch = 0
        self.why = ""
        self.dropped_why = ""

    @property
    def fill(self) -> int:
        """How many frames are held, 0 to ``config.length``."""
        return len(self._frames)

    @property
    def epoch(self) -> int:
        """The number of the present unbroken stream; 0 before the first frame."""
        return self._epoch

    def push(self, frame: Frame) -> Clip | None:
        """Add a frame; the clip that ends with it, or None for a second copy of the newest.

        A source that repeats its newest frame (same stamp, size and frame_id) says nothing new;
        anything else with a stamp that stands still or goes backwards begins a new epoch.
        """
        broken = self._broken_by(frame)
        if broken is None and frame.stamp_ns == self._frames[-1].stamp_ns:
            self.dropped_why = f"a second frame with the stamp {frame.stamp_ns} ns"
            return None
        if broken is not None:
            self._frames.clear()
            self._epoch += 1
            self.why = broken
        self._frames.append(frame)
        return Clip(tuple(self._frames), self._epoch)

    def reset(self, why: str = "reset") -> None:
        """Forget all frames; the next one begins a new epoch because of ``why``."""
        self._frames.clear()
        self.why = why

    def _broken_by(self, frame: Frame) -> str | None:
        if not self._frames:
            return self.why if self.why and self._epoch else "first frame"
        last = self._frames[-1]
        if frame.frame_id != last.frame_id:
            return f"frame_id changed from {last.frame_id!r} to {frame.frame_id!r}"
        if frame.rgb.shape != last.rgb.shape:
            was, now = (f"{shape[1]}x{shape[0]}" for shape in (last.rgb.shape, frame.rgb.shape))
            return f"size changed from {was} to {now}"
        gap_s = (frame.stamp_ns - last.stamp_ns) * 1e-9
        if gap_s < 0:
            return f"time went backwards by {-gap_s:.3f} s"
        if gap_s > self._config.max_gap_s:
            return f"no frame for {gap_s:.3f} s (max_gap_s {self._config.max_gap_s:g})"
        return None
