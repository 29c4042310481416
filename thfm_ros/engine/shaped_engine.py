# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The engine of a network whose crops have several shapes: compiled graphs for each of them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from thfm_ros.engine.base import check_image
from thfm_ros.engine.graph_engine import GraphEngine
from thfm_ros.model.card import ModelCard
from thfm_ros.model.outputs import DetectionOutputs, RawOutputs


class ShapedEngine:
    """Runs each crop on the engine of its size; the first engine detects, too."""

    def __init__(self, card: ModelCard, engines: Sequence[GraphEngine]) -> None:
        """``engines``: one for each of the card's crop sizes."""
        self.card = card
        self.description = engines[0].description
        self.fallback_reason: str | None = None
        self.concurrent = all(each.concurrent for each in engines)
        self._first = engines[0]
        self._by_size = {each.card.crop_size: each for each in engines}

    def detect(self, image: UInt8[np.ndarray, "h w 3"]) -> DetectionOutputs:
        """See base.Engine."""
        return self._first.detect(image)

    def step(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        state: object | None,
        *,
        dense: bool,
        target_box: Float32[np.ndarray, "4"] | None = None,
    ) -> tuple[RawOutputs, object]:
        """See base.Engine."""
        check_image(image, *self._by_size)
        engine = self._by_size[(image.shape[1], image.shape[0])]
        return engine.step(image, state, dense=dense, target_box=target_box)
