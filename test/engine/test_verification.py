# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The verification of built engines passes the right ones and detects the wrong ones."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from thfm_ros.engine.base import Engine
from thfm_ros.engine.graph_engine import PARTS
from thfm_ros.engine.stream import Stream
from thfm_ros.engine.torch_engine import TorchEngine
from thfm_ros.engine.verify import (
    TOLERANCES,
    detection_difference,
    difference,
    part_difference,
)
from thfm_ros.model.outputs import DetectionOutputs, RawOutputs

RgbImages = NDArray[np.uint8]
Box = NDArray[np.float32] | None


class ChangedEngine:
    """An engine with a fault in what it is given or in what it gives."""

    description, concurrent = "", True
    fallback_reason: str | None = None

    def __init__(
        self,
        engine: Engine,
        *,
        state: Callable[[object | None], object | None] = lambda state: state,
        box: Callable[[Box], Box] = lambda box: box,
        whole_image: Callable[[RgbImages], RgbImages] = lambda image: image,
        outputs: Callable[[RawOutputs], RawOutputs] = lambda raw: raw,
    ) -> None:
        self.card, self._engine = engine.card, engine
        self._state, self._box, self._image, self._outputs = state, box, whole_image, outputs

    def detect(self, image: RgbImages) -> DetectionOutputs:
        return self._engine.detect(self._image(image))

    def step(
        self, image: RgbImages, state: object | None, *, dense: bool, target_box: Box = None
    ) -> tuple[RawOutputs, object]:
        raw, state = self._engine.step(
            image, self._state(state), dense=dense, target_box=self._box(target_box)
        )
        return self._outputs(raw), state


@pytest.mark.parametrize("part", PARTS)
def test_the_verification_at_build_time_passes(
    reference: TorchEngine, exported: Engine, part: str
) -> None:
    largest = part_difference(exported, reference, part)
    assert largest <= TOLERANCES["float32"].largest


@pytest.mark.fault("engine", "a built engine forgets a frame")
def test_the_verification_detects_a_cache_that_is_one_frame_short(
    reference: TorchEngine, exported: Engine
) -> None:
    def shortened(state: object | None) -> object | None:
        if isinstance(state, Stream):
            return dataclasses.replace(state, frames=min(state.frames, 1))
        return state

    largest = difference(ChangedEngine(exported, state=shortened), reference, dense=False)
    assert largest > 10 * TOLERANCES["float32"].largest


def test_the_verification_detects_that_target_boxes_are_ignored(
    reference: TorchEngine, exported: Engine
) -> None:
    without_boxes = ChangedEngine(exported, box=lambda _: None)
    largest = difference(without_boxes, reference, dense=False)
    assert largest > 10 * TOLERANCES["float32"].largest


def test_the_verification_detects_wrong_detections(
    reference: TorchEngine, exported: Engine
) -> None:
    mirrored = ChangedEngine(exported, whole_image=lambda image: image[:, ::-1])
    largest = detection_difference(mirrored, reference)
    assert largest > 10 * TOLERANCES["float32"].largest


@pytest.mark.parametrize("quantile", [tolerance.quantile for tolerance in TOLERANCES.values()])
@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.fault("engine", "a built engine gives NaN")
def test_the_verification_refuses_outputs_that_are_nan(
    reference: TorchEngine, quantile: float, share: float
) -> None:
    def partly_nan(raw: RawOutputs) -> RawOutputs:
        heatmaps = raw.body.heatmaps.copy()
        heatmaps.flat[: int(share * heatmaps.size)] = np.nan
        return raw._replace(body=raw.body._replace(heatmaps=heatmaps))

    changed = ChangedEngine(reference, outputs=partly_nan)
    found = difference(changed, reference, dense=False, quantile=quantile)
    assert found == np.inf
