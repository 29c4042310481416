# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The pipeline of the full-size network, with the interface of the embedded one's.

`step` takes the newest frames and returns the perception of the newest one; each step is a whole
pass over the window that the checkpoint's card specifies.
"""

import dataclasses
import time

from thfm_ros.config import Config
from thfm_ros.contract import Clip, Frame, Perception, PerceptionError, Task
from thfm_ros.genception.clip_input import ClipWindow, PassInput
from thfm_ros.genception.runner import GenceptionNetwork, GenceptionRunner
from thfm_ros.genception.subgraphs import Profile
from thfm_ros.lens import check_image_size


class GenceptionPipeline:
    """Perception of one camera by the full-size network. Not thread-safe: one worker calls `step`.

    ``config`` is the given configuration, with a window at least as long as the network's.
    ``last_timings_ms`` holds "network" (all passes) and "total". It takes no boxes of another
    detector.
    """

    external_boxes = None

    def __init__(
        self, network: GenceptionNetwork, config: Config, used_ids: set[str] | None = None
    ) -> None:
        card = network.card
        length = max(config.window.length, card.window)
        self.engine = network
        self.config = dataclasses.replace(
            config, window=dataclasses.replace(config.window, length=length)
        )
        self.last_timings_ms: dict[str, float] = {}
        # A node publishes the newest frame only: one frame per pass.
        profile = Profile(card.window, *card.frame_size)
        self._runner = GenceptionRunner(network, profile, stride=1, used_ids=used_ids)
        self._epoch: int | None = None
        self.reset()

    def reset(self) -> None:
        """Start a new stream."""
        self._runner.reset()
        self._window = ClipWindow[Frame](self._runner.profile.frames, stride=1)
        self._newest_ns: int | None = None

    def with_config(self, config: Config) -> "GenceptionPipeline":
        """The same network with another configuration and a new stream."""
        return GenceptionPipeline(self.engine, config, self._runner.used_ids)

    def step(self, clip: Clip, tasks: frozenset[Task]) -> Perception:
        """Perceive the newest frame of ``clip``; one pass per task.

        At the start of a stream the newest frame is repeated to fill the window.

        Raises:
            PerceptionError: a task that the checkpoint does not have, intrinsics of another image
                size, or a frame that was perceived already.
        """
        check_image_size(clip.newest)
        if clip.epoch != self._epoch:
            self.reset()
            self._epoch = clip.epoch
        start = time.perf_counter()
        (perception,) = self._runner.perceive(self._window_input(clip), tasks)
        duration_ms = (time.perf_counter() - start) * 1e3
        self.last_timings_ms = {"network": duration_ms, "total": duration_ms}
        return perception

    def predicted(self, perception: Perception, now_ns: int) -> Perception:
        """The perception itself: this network estimates no bodies."""
        return perception

    def _window_input(self, clip: Clip) -> PassInput[Frame]:
        """The window that ends with the clip's newest frame; only that frame is to be published."""
        for frame in clip.frames:
            if self._newest_ns is None or frame.stamp_ns > self._newest_ns:
                self._window.push(frame)
                self._newest_ns = frame.stamp_ns
        taken = self._window.take(flush=True)
        if taken is None:
            raise PerceptionError(
                f"The frame of {clip.newest.stamp_ns} ns was perceived already. Step once per "
                "frame, or reset first."
            )
        end = taken.new.stop
        return PassInput(taken.items, range(end - 1, end), taken.skipped)
