# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A crowd before a camera, a perfect network, and a fake clock that its crops advance."""

from collections.abc import Mapping

import numpy as np
from fake_engine import FakeEngine, Person, camera, frame

from thfm_ros.config import config_from
from thfm_ros.contract import Clip, Perception, Task
from thfm_ros.model.outputs import RawOutputs
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.pipeline import PerceptionPipeline

K = camera()
BODIES = frozenset([Task.BODIES])
GROUP = [Person(x, 0, 6) for x in (-3.0, -2.1, -1.2, -0.3, 0.6, 1.5, 2.4)]


class Crowd(FakeEngine):
    """Crops take ``crop_s`` of a fake clock, what is done between two steps ``between_s``.

    `next` steps with each image of a camera at ``rate_hz``, `watch` with the newest one, as a node
    does. ``images`` counts those that have come.
    """

    def __init__(
        self,
        *people: Person,
        budget_ms: float,
        live: bool = True,
        crop_s: float = 0.005,
        between_s: float = 0.0,
        rate_hz: float = 30.0,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.people, self.now_s = list(people), 0.0
        super().__init__(K, lambda: self.people)
        self.config = config_from(
            {
                "regions.budget_ms": budget_ms,
                "regions.run_async": False,
                "track.seed": 1,
                "track.smoothing": "none",
                **(settings or {}),
            }
        )
        self.pipeline = PerceptionPipeline(self, self.config, live=live, clock=lambda: self.now_s)
        self.window = FrameWindow(self.config.window)
        self.images, self.rate_hz = 0, rate_hz
        self.crop_s, self.between_s = crop_s, between_s
        self.step_s: list[float] = []

    def step(
        self,
        crop: np.ndarray,
        state: object | None,
        *,
        dense: bool,
        target_box: np.ndarray | None = None,
    ) -> tuple[RawOutputs, object]:
        self.now_s += self.crop_s
        return super().step(crop, state, dense=dense, target_box=target_box)

    def next(self, tasks: frozenset[Task] = BODIES) -> Perception:
        return self._perceive(self._image(), tasks)

    def watch(self, seconds: float, tasks: frozenset[Task] = BODIES) -> list[Perception]:
        """The results of a node that always takes the newest image."""
        results: list[Perception] = []
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s = max(self.now_s, (self.images + 1) / self.rate_hz)
            while (self.images + 1) / self.rate_hz <= self.now_s:
                clip = self._image()
            results.append(self._perceive(clip, tasks))
            self.now_s += self.between_s
        return results

    def _image(self) -> Clip:
        self.images += 1
        clip = self.window.push(frame(K, self.images / self.rate_hz))
        assert clip is not None
        return clip

    def _perceive(self, clip: Clip, tasks: frozenset[Task]) -> Perception:
        begun_s = self.now_s
        perception = self.pipeline.step(clip, tasks)
        self.step_s.append(self.now_s - begun_s)
        return perception
