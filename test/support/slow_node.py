"""The real node with an engine that takes 40 ms of waiting per look and always sees one person.

So its capacity is the same on every machine: a look per frame is 25 results per second.
"""

import os
import time
from typing import Any

import numpy as np
from fake_engine import CARD, Person, camera, perfect

from thfm_ros.config import Config
from thfm_ros.contract import PixelMap
from thfm_ros.model.outputs import RawOutputs
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.ros import node

STEP_S = float(os.environ.get("SLOW_NODE_STEP_S", "0.04"))


class SlowEngine:
    """Says of every image that somebody stands in its middle; memory as a network has it."""

    card, concurrent = CARD, True
    description = f"waits {STEP_S * 1e3:.0f} ms per look"

    def __init__(self) -> None:
        self._said = {size: self._answers(*size) for size in (CARD.crop_size, CARD.frame_size)}

    @staticmethod
    def _answers(width: int, height: int) -> dict[bool, RawOutputs]:
        k = camera(width, height, focal=2.0 * height)
        # As tall as regions.margin wants a person in its crop, so that the crop stays.
        somebody = Person(0.0, 0.0, 4.5)
        whole = PixelMap(1.0, 0.0, 0.0, width, height)
        return {dense: perfect(whole, k, [somebody], dense) for dense in (True, False)}

    def step(self, image: Any, state: object | None, *, dense: bool) -> tuple[RawOutputs, object]:
        time.sleep(STEP_S)
        height, width = image.shape[:2]
        return self._said[width, height][dense], np.zeros(100_000, np.float32)


def load_slow_pipeline(config: Config, *, live: bool) -> PerceptionPipeline:
    return PerceptionPipeline(SlowEngine(), config, live=live)


if __name__ == "__main__":
    setattr(node, "load_pipeline", load_slow_pipeline)  # noqa: B010
    node.main()
