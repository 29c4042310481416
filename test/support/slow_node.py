# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The perception node with an engine that waits 40 ms per call and always detects one person.

Its throughput is therefore equal on all machines: one crop per frame is 25 results per second.
"""

import os
import time
from dataclasses import replace
from typing import Any

import numpy as np
from fake_engine import CARD, Person, camera, perfect_detections, perfect_outputs

from thfm_ros.config import Config
from thfm_ros.contract import Intrinsics, PixelMap
from thfm_ros.model.outputs import DetectionOutputs, RawOutputs
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.ros import node

SQUARE_CARD = replace(CARD, crop_size=(96, 96))
"""A network without tall crops: the outputs are those of one region, whatever the crop shows."""

STEP_S = float(os.environ.get("SLOW_NODE_STEP_S", "0.04"))


class SlowEngine:
    """Detects a person in the middle of every image; its state has the size of a network's."""

    card, concurrent = SQUARE_CARD, True
    description = f"waits {STEP_S * 1e3:.0f} ms per call"
    fallback_reason: str | None = None

    def __init__(self) -> None:
        # As tall as regions.margin makes a person in a crop, so that the crop does not change.
        people = [Person(0.0, 0.0, 4.5)]
        region, k = whole_image(*CARD.frame_size)
        self._detections = perfect_detections(region, k, people)
        region, k = whole_image(*SQUARE_CARD.crop_size)
        self._outputs = [perfect_outputs(region, k, people, dense) for dense in (False, True)]

    def detect(self, image: Any) -> DetectionOutputs:
        time.sleep(STEP_S)
        return self._detections

    def step(
        self, image: Any, state: object | None, *, dense: bool, target_box: Any = None
    ) -> tuple[RawOutputs, object]:
        time.sleep(STEP_S)
        return self._outputs[dense], np.zeros(100_000, np.float32)


def whole_image(width: int, height: int) -> tuple[PixelMap, Intrinsics]:
    """A region that is the whole image, and its camera."""
    return PixelMap(1.0, 0.0, 0.0, width, height), camera(width, height, focal=2.0 * height)


def load_slow_pipeline(config: Config, *, live: bool, used_ids: set[str]) -> PerceptionPipeline:
    return PerceptionPipeline(SlowEngine(), config, live=live, used_ids=used_ids)


if __name__ == "__main__":
    setattr(node, "load_pipeline", load_slow_pipeline)  # noqa: B010
    node.main()
