# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Sliding window of camera frames: the newest frames of one uninterrupted stream.

Frames are kept by reference, never copied.
"""

from collections import deque
from dataclasses import replace

from thfm_ros.config import WindowConfig
from thfm_ros.contract import Clip, Frame


def config_for_rate(config: WindowConfig, fps: float) -> WindowConfig:
    """The configuration for a film of ``fps``: a time-lapse film is one stream, too, so the longest
    gap must exceed the frame interval."""
    return replace(config, max_gap_s=max(config.max_gap_s, 1.5 / fps))


class FrameWindow:
    """The newest frames of a stream.

    ``epoch_reason`` says what began the present epoch ("first frame", or what interrupted the
    previous stream), for logs and diagnostics. ``dropped_reason`` says why the latest `push`
    returned None.
    """

    def __init__(self, config: WindowConfig) -> None:
        self._config = config
        self._frames: deque[Frame] = deque(maxlen=config.length)
        self._epoch = 0
        self.epoch_reason = ""
        self.dropped_reason = ""

    @property
    def fill(self) -> int:
        """Number of frames in the window, 0 to ``config.length``."""
        return len(self._frames)

    @property
    def epoch(self) -> int:
        """Number of the present stream; 0 before the first frame."""
        return self._epoch

    def push(self, frame: Frame) -> Clip | None:
        """Add a frame; returns the clip that ends with it, or None for a repeated frame.

        A repeated frame has the stamp, size and frame_id of the newest one. A gap longer than
        ``config.max_gap_s``, a stamp that goes backwards, another size or another frame_id begins
        a new epoch.
        """
        interruption = self._interruption(frame)
        if interruption is None and frame.stamp_ns == self._frames[-1].stamp_ns:
            self.dropped_reason = f"a second frame with the stamp {frame.stamp_ns} ns"
            return None
        if interruption is not None:
            self._frames.clear()
            self._epoch += 1
            self.epoch_reason = interruption
        self._frames.append(frame)
        return Clip(tuple(self._frames), self._epoch)

    def reset(self, reason: str = "reset") -> None:
        """Drop all frames; the next one begins a new epoch because of ``reason``."""
        self._frames.clear()
        self.epoch_reason = reason

    def _interruption(self, frame: Frame) -> str | None:
        """Why ``frame`` begins a new epoch; None if it continues the present one."""
        if not self._frames:
            return self.epoch_reason if self.epoch_reason and self._epoch else "first frame"
        last = self._frames[-1]
        if frame.frame_id != last.frame_id:
            return f"frame_id changed from {last.frame_id!r} to {frame.frame_id!r}"
        if frame.rgb.shape != last.rgb.shape:
            old, new = (f"{shape[1]}x{shape[0]}" for shape in (last.rgb.shape, frame.rgb.shape))
            return f"size changed from {old} to {new}"
        gap_s = (frame.stamp_ns - last.stamp_ns) * 1e-9
        if gap_s < 0:
            return f"time went backwards by {-gap_s:.3f} s"
        if gap_s > self._config.max_gap_s:
            return f"no frame for {gap_s:.3f} s (max_gap_s {self._config.max_gap_s:g})"
        return None
