# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The pipeline of the full-size network, with the interface of the embedded one's.

`step` takes the newest frames and returns the perception of the newest one; each step is a whole
pass over the window that the checkpoint's card specifies.
"""

import dataclasses
import logging
import time
from collections.abc import Callable

import torch

from thfm_ros.config import Config
from thfm_ros.contract import Clip, Frame, Perception, PerceptionError, Task
from thfm_ros.genception.checkpoint import GenceptionCheckpoint
from thfm_ros.genception.clip_input import ClipWindow, PassInput
from thfm_ros.genception.out_of_memory import OutOfMemoryError, is_out_of_memory, smaller_profile
from thfm_ros.genception.runner import GenceptionNetwork, GenceptionRunner
from thfm_ros.genception.subgraphs import Profile
from thfm_ros.lens import check_image_size

log = logging.getLogger(__name__)


class GenceptionPipeline:
    """Perception of one camera by the full-size network. Not thread-safe: one worker calls `step`.

    ``config`` is the given configuration, with a window at least as long as the network's.
    ``last_timings_ms`` holds "network" (all passes) and "total". It takes no boxes of another
    detector. If memory does not suffice for a pass, a smaller profile is used from then on, and the
    network's ``fallback_reason`` says so.
    """

    external_boxes = None

    def __init__(
        self,
        network: GenceptionNetwork,
        config: Config,
        used_ids: set[str] | None = None,
        profile: Profile | None = None,
    ) -> None:
        """``profile``: window and image size; by default those on the card."""
        card = network.card
        length = max(config.window.length, card.window)
        self.engine = network
        self.config = dataclasses.replace(
            config, window=dataclasses.replace(config.window, length=length)
        )
        self.last_timings_ms: dict[str, float] = {}
        self.paint_later = False  # is ignored, see `painter`
        # A node publishes the newest frame only: one frame per pass.
        profile = profile or Profile(card.window, *card.frame_size)
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
        profile = self._runner.profile
        return GenceptionPipeline(self.engine, config, self._runner.used_ids, profile)

    def step(self, clip: Clip, tasks: frozenset[Task]) -> Perception:
        """Perceive the newest frame of ``clip``; one pass per task.

        At the start of a stream the newest frame is repeated to fill the window.

        Raises:
            PerceptionError: a task that the checkpoint does not have, intrinsics of another image
                size, or a frame that was perceived already.
            OutOfMemoryError: memory does not suffice for the smallest profile.
        """
        check_image_size(clip.newest)
        if clip.epoch != self._epoch:
            self.reset()
            self._epoch = clip.epoch
        start = time.perf_counter()
        perception = self._perceive(self._window_input(clip), tasks)
        duration_ms = (time.perf_counter() - start) * 1e3
        self.last_timings_ms = {"network": duration_ms, "total": duration_ms}
        return perception

    def _perceive(self, window: PassInput[Frame], tasks: frozenset[Task]) -> Perception:
        """One step; again with a smaller profile as long as memory does not suffice."""
        while True:
            profile = self._runner.profile
            try:
                (perception,) = self._runner.perceive(_newest(window, profile.frames), tasks)
                return perception
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).partition("\n")[0] or type(error).__name__
                # Compiled engines have one size.
                can_change = isinstance(self.engine, GenceptionCheckpoint)
                smaller = smaller_profile(profile) if can_change else None
                if smaller is None:
                    raise OutOfMemoryError(
                        f"Memory does not suffice for {self.engine.card.name} with "
                        f"{profile.name} ({reason}). Free memory, import it again with a smaller "
                        "--profile, or use the checkpoint nano."
                    ) from error
            # Only here the failed pass is no longer referenced by the error.
            self._use(smaller, f"out of memory with {profile.name}: {smaller.name} ({reason})")

    def _use(self, profile: Profile, reason: str) -> None:
        """Go on with another profile; relative depth begins a new unit."""
        network = self.engine
        log.warning("%s: %s", network.card.name, reason)
        network.description = network.description.replace(self._runner.profile.name, profile.name)
        network.fallback_reason = reason
        if network.device.type == "cuda":
            torch.cuda.empty_cache()
        self._runner = GenceptionRunner(network, profile, stride=1, used_ids=self._runner.used_ids)

    def painter(self, perception: Perception) -> Callable[[], Perception]:
        """The perception itself: its maps are outputs of the network."""
        return lambda: perception

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


def _newest(window: PassInput[Frame], frames: int) -> PassInput[Frame]:
    """The input of a pass over fewer frames: those that end with the newest one."""
    kept = window.items[: window.new.stop][-frames:]
    padding = (kept[-1],) * (frames - len(kept))
    return PassInput((*kept, *padding), range(len(kept) - 1, len(kept)), window.skipped)
