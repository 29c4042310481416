"""The full-size network behind the same surface as the embedded one's pipeline.

`step` is called with the newest frames and answers for the newest of them; each step is a whole
pass over the window that the checkpoint's card names.
"""

import dataclasses
import time

from thfm_ros.config import Config
from thfm_ros.contract import Clip, Frame, Perception, PerceptionError, Task
from thfm_ros.genception.clip_input import Batch, ClipWindow
from thfm_ros.genception.runner import GenceptionRunner, Network
from thfm_ros.genception.subgraphs import Profile


class GenceptionPipeline:
    """Perception of one camera by the full-size network. Not thread-safe: one worker calls `step`.

    ``config`` is what was asked for, with a window that is as long as the network's.
    ``last_timings_ms`` holds "network" (all of the passes) and "total".
    """

    def __init__(self, network: Network, config: Config) -> None:
        card = network.card
        length = max(config.window.length, card.window)
        self.engine = network
        self.config = dataclasses.replace(
            config, window=dataclasses.replace(config.window, length=length)
        )
        self.last_timings_ms: dict[str, float] = {}
        # A node publishes what it sees now: one frame per pass.
        profile = Profile(card.window, *card.frame_size)
        self._runner = GenceptionRunner(network, profile, stride=1)
        self._epoch: int | None = None
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self._runner.reset()
        self._window = ClipWindow[Frame](self._runner.profile.frames, stride=1)
        self._newest_ns: int | None = None

    def with_config(self, config: Config) -> "GenceptionPipeline":
        """The same network under another configuration; the stream begins anew."""
        return GenceptionPipeline(self.engine, config)

    def step(self, clip: Clip, tasks: frozenset[Task]) -> Perception:
        """Perceive the newest frame of ``clip``; one pass per task.

        At the beginning of a stream the newest frame is repeated to fill the window.

        Raises:
            PerceptionError: a task that the checkpoint does not have, or intrinsics of another
                image size.
        """
        frame = clip.newest
        k, (height, width) = frame.intrinsics, frame.rgb.shape[:2]
        if k is not None and (k.width, k.height) != (width, height):
            raise PerceptionError(
                f"The calibration is for images of {k.width}x{k.height}, the image has "
                f"{width}x{height}. Calibrate at this size, or publish a CameraInfo that fits."
            )
        if clip.epoch != self._epoch:
            self.reset()
            self._epoch = clip.epoch
        began = time.perf_counter()
        (seen,) = self._runner.perceive(self._gathered(clip), tasks)
        took_ms = (time.perf_counter() - began) * 1e3
        self.last_timings_ms = {"network": took_ms, "total": took_ms}
        return seen

    def _gathered(self, clip: Clip) -> Batch[Frame]:
        """The window that ends with the clip's newest frame, of which only that is new."""
        for frame in clip.frames:
            if self._newest_ns is None or frame.stamp_ns > self._newest_ns:
                self._window.push(frame)
                self._newest_ns = frame.stamp_ns
        batch = self._window.take(rest=True)
        if batch is None:
            raise PerceptionError(
                f"The frame of {clip.newest.stamp_ns} ns was perceived already. Step once per "
                "frame, or reset first."
            )
        last = batch.new.stop
        return Batch(batch.items, range(last - 1, last), batch.skipped)
