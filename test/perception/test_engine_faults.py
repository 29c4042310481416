# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Outputs of the network that are no numbers, and a camera that changes."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from fake_engine import FakeEngine, Person, camera, frame

from thfm_ros.config import Config
from thfm_ros.contract import Intrinsics, Perception, Task
from thfm_ros.engine.base import EngineError
from thfm_ros.engine.finite_outputs import require_finite
from thfm_ros.model.outputs import BodyOutputs, DenseOutputs, DetectionOutputs, RawOutputs
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.pipeline import PerceptionPipeline

K = camera(320, 240, focal=250.0)


class FailingEngine(FakeEngine):
    """Replaces one of its outputs by a value, as soon as it is told to."""

    def __init__(self) -> None:
        super().__init__(K, lambda: [Person(0.3, 0.1, 3.0)])
        self.failing: tuple[str, float] | None = None

    def _changed(self, outputs: Any) -> Any:
        if outputs is None or self.failing is None or self.failing[0] not in outputs._fields:
            return outputs
        name, value = self.failing
        return outputs._replace(**{name: np.full_like(getattr(outputs, name), value)})

    def detect(self, image: np.ndarray) -> DetectionOutputs:
        changed: DetectionOutputs = self._changed(super().detect(image))
        return changed

    def step(self, *arguments: Any, **options: Any) -> tuple[RawOutputs, object]:
        raw, state = super().step(*arguments, **options)
        return RawOutputs(self._changed(raw.body), self._changed(raw.dense)), state


class Stream:
    """Frames of one camera at 20 Hz through a pipeline."""

    def __init__(self) -> None:
        self.engine, config = FailingEngine(), Config()
        self._pipeline = PerceptionPipeline(self.engine, config)
        self._window = FrameWindow(config.window)
        self._count = 0

    def next(self, k: Intrinsics = K) -> Perception:
        self._count += 1
        newest = dataclasses.replace(frame(K, 1 + 0.05 * self._count), intrinsics=k)
        clip = self._window.push(newest)
        assert clip is not None
        return self._pipeline.step(clip, frozenset(Task))


@pytest.mark.fault("engine", "an output of the network is NaN or infinite")
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "output", [*BodyOutputs._fields, *DenseOutputs._fields, *DetectionOutputs._fields]
)
def test_an_output_that_is_not_finite_is_an_error_and_not_an_empty_image(
    output: str, value: float
) -> None:
    stream = Stream()
    assert len(stream.next().bodies) == 1
    stream.engine.failing = (output, value)
    with pytest.raises(EngineError, match=f"'{output}' is not finite"):
        for _ in range(40):  # until there is a detection pass
            stream.next()
    stream.engine.failing = None
    (body,) = stream.next().bodies
    assert np.isfinite(body.root_m).all()


@pytest.mark.fault("camera", "camera_info changes while images come: the camera zooms")
def test_a_camera_that_zooms_changes_positions_at_once_and_gives_no_velocity() -> None:
    stream = Stream()
    for _ in range(5):
        (before,) = stream.next().bodies
    zoomed = dataclasses.replace(K, fx=2 * K.fx, fy=2 * K.fy)
    (after,) = stream.next(zoomed).bodies
    assert after.id == before.id
    assert after.root_m[2] == pytest.approx(2 * before.root_m[2], rel=0.05)
    assert np.isnan(after.velocity_m_s).all()
    (later,) = stream.next(zoomed).bodies
    assert np.linalg.norm(later.velocity_m_s) < 0.5


@pytest.mark.parametrize("values", [[3e38, 3e38], [-3e38, -3e38, -3e38], [0.0], []])
def test_finite_outputs_are_accepted_even_if_their_sum_is_not_finite(values: list[float]) -> None:
    require_finite(DetectionOutputs(np.array(values, np.float32), np.zeros(4, np.float32)))


@pytest.mark.parametrize("values", [[np.inf, -np.inf], [1.0, np.nan], [-np.inf, 3e38]])
def test_outputs_that_are_not_finite_are_refused_even_if_they_cancel(values: list[float]) -> None:
    outputs = DetectionOutputs(np.zeros(4, np.float32), np.array(values, np.float32))
    with pytest.raises(EngineError, match="not finite"):
        require_finite(outputs)
