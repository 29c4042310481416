# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The perception node with an engine that needs no weights: `python -m fake_node`.

The engine is that of fake_engine.py: it knows the people of the scene, and reads from the colours
of its input which part of the image that is. It fails on a black image, as an engine whose GPU
was lost does.
"""

import numpy as np
from fake_engine import FakeEngine, Person, camera

from thfm_ros.config import Config
from thfm_ros.engine.base import EngineError
from thfm_ros.model.outputs import RawOutputs
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.ros import node

WIDTH, HEIGHT = 320, 240
CAMERA = camera(WIDTH, HEIGHT, focal=250.0)
PEOPLE = [Person(0.3, 0.1, 3.0), Person(-0.8, 0.0, 4.0)]


class BreakableEngine(FakeEngine):
    """Fails on a black image."""

    def step(
        self, image: np.ndarray, state: object | None, *, dense: bool
    ) -> tuple[RawOutputs, object]:
        if image[..., 0].max() == 0:
            raise EngineError("the fake engine received a black image")
        return super().step(image, state, dense=dense)


def load(config: Config, *, live: bool, used_ids: set[str]) -> PerceptionPipeline:
    """Replaces load_pipeline."""
    return PerceptionPipeline(
        BreakableEngine(CAMERA, lambda: PEOPLE), config, live=live, used_ids=used_ids
    )


if __name__ == "__main__":
    vars(node)["load_pipeline"] = load
    node.main()
