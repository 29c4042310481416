# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The perception node with an engine that waits 40 ms per call and always detects one person.

Its throughput is therefore equal on all machines: one crop per frame is 25 results per second.
"""

import os
import time
from typing import Any

import numpy as np
from fake_engine import CARD, Person, camera, perfect_outputs

from thfm_ros.config import Config
from thfm_ros.contract import PixelMap
from thfm_ros.model.outputs import RawOutputs
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.ros import node

STEP_S = float(os.environ.get("SLOW_NODE_STEP_S", "0.04"))


class SlowEngine:
    """Detects a person in the middle of every image; its state has the size of a network's."""

    card, concurrent = CARD, True
    description = f"waits {STEP_S * 1e3:.0f} ms per call"
    fallback_reason: str | None = None

    def __init__(self) -> None:
        sizes = (CARD.crop_size, CARD.frame_size)
        self._outputs = {size: self._outputs_for(*size) for size in sizes}

    @staticmethod
    def _outputs_for(width: int, height: int) -> dict[bool, RawOutputs]:
        k = camera(width, height, focal=2.0 * height)
        # As tall as regions.margin makes a person in a crop, so that the crop does not change.
        person = Person(0.0, 0.0, 4.5)
        whole_image = PixelMap(1.0, 0.0, 0.0, width, height)
        return {dense: perfect_outputs(whole_image, k, [person], dense) for dense in (True, False)}

    def step(self, image: Any, state: object | None, *, dense: bool) -> tuple[RawOutputs, object]:
        time.sleep(STEP_S)
        height, width = image.shape[:2]
        return self._outputs[width, height][dense], np.zeros(100_000, np.float32)


def load_slow_pipeline(config: Config, *, live: bool, used_ids: set[str]) -> PerceptionPipeline:
    return PerceptionPipeline(SlowEngine(), config, live=live, used_ids=used_ids)


if __name__ == "__main__":
    setattr(node, "load_pipeline", load_slow_pipeline)  # noqa: B010
    node.main()
