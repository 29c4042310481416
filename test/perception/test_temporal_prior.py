# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The temporal prior: between two similar peaks a keypoint stays at its previous position."""

import math

import numpy as np
import pytest
from fake_engine import FakeEngine, Person, camera, frame, pixels_of
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.config import config_from
from thfm_ros.contract import Task
from thfm_ros.model.outputs import RawOutputs
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.perception.keypoints import decode_heatmaps, temporal_prior
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.skeleton import Joint

K = camera()
WRIST = Joint.LEFT_WRIST
WEIGHT = 3.0


@given(
    st.floats(-5, 37), st.floats(-5, 29), st.floats(0, 2), st.floats(0, 20), st.integers(0, 2**31)
)
def test_the_prior_equals_its_formula(
    x: float, y: float, age_s: float, weight: float, seed: int
) -> None:
    previous = np.array([[x, y], [np.nan, np.nan]])
    found = temporal_prior(previous, age_s, weight, (24, 32))
    row, column = np.random.default_rng(seed).integers(0, (24, 32))
    variance = 1.5**2 + (40 * age_s) ** 2
    squared = (column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2
    likelihood = 1 + weight * 1.5**2 / variance * math.exp(-squared / (2 * variance))
    assert found[0, row, column] == pytest.approx(math.log(likelihood), rel=1e-4, abs=1e-6)
    assert not found[1].any()


def two_peaks(ratio: float) -> np.ndarray:
    """A joint at (6.5, 5.5) or at (26.5, 25.5); the second is ``ratio`` times as likely."""
    heat = np.full((1, 32, 32), -20, np.float32)
    heat[0, 5, 6], heat[0, 25, 26] = 0.0, math.log(ratio)
    return heat


@pytest.mark.parametrize(("ratio", "age_s", "stays"), [
    (2.0, 0.0, True), (5.0, 0.0, False),  # the other peak is much higher
    (2.0, 0.033, True), (2.0, 0.5, False),  # the prior has faded
])  # fmt: skip
def test_a_joint_stays_unless_the_other_peak_is_much_higher(
    ratio: float, age_s: float, stays: bool
) -> None:
    prior = temporal_prior(np.array([[6.5, 5.5]]), age_s, WEIGHT, (32, 32))
    found = decode_heatmaps(two_peaks(ratio), prior)
    np.testing.assert_allclose(found.positions[0], [6.5, 5.5] if stays else [26.5, 25.5], atol=1e-3)
    # The confidence does not include the prior.
    share = 1 / (1 + ratio) if stays else ratio / (1 + ratio)
    assert found.mass[0] == pytest.approx(share, abs=0.01)


@given(st.floats(4, 28), st.floats(4, 28), st.floats(-2, 2), st.floats(-2, 2))
def test_the_prior_adds_no_lag_to_a_moving_joint(x: float, y: float, dx: float, dy: float) -> None:
    rows, columns = np.mgrid[:32, :32] + 0.5
    squared = (columns - x) ** 2 + (rows - y) ** 2
    heat = (-squared / (2 * 0.7**2)).astype(np.float32)[None]
    prior = temporal_prior(np.array([[x + dx, y + dy]]), 0.033, WEIGHT, (32, 32))
    np.testing.assert_allclose(decode_heatmaps(heat, prior).positions[0], [x, y], atol=0.03)


class SwappingEngine(FakeEngine):
    """In every other step the left wrist's heatmap is higher at the right wrist."""

    count = 0

    def step(
        self,
        crop: np.ndarray,
        state: object | None,
        *,
        dense: bool,
        target_box: np.ndarray | None = None,
    ) -> tuple[RawOutputs, object]:
        raw, state = super().step(crop, state, dense=dense, target_box=target_box)
        self.count += 1
        heat = raw.body.heatmaps.copy()
        log_ratio = math.log(2 if self.count % 2 else 0.5)
        heat[WRIST] = np.logaddexp(heat[WRIST], heat[Joint.RIGHT_WRIST] + log_ratio)
        return raw._replace(body=raw.body._replace(heatmaps=heat)), state


def largest_jump(weight: float) -> float:
    """Largest motion of the wrist from frame to frame, pixels."""
    config = config_from(
        {"track.seed": 1, "track.smoothing": "none", "decode.temporal_prior_weight": weight}
    )
    engine = SwappingEngine(K, lambda: [Person(0, 0, 3)])
    pipeline, window = PerceptionPipeline(engine, config), FrameWindow(config.window)
    positions = []
    for number in range(12):
        clip = window.push(frame(K, 0.033 * number))
        assert clip is not None
        (body,) = pipeline.step(clip, frozenset([Task.BODIES])).bodies
        positions.append(body.keypoints[WRIST, :2])
    return float(np.abs(np.diff(positions, axis=0)).max())


def test_the_prior_prevents_left_right_swaps_of_a_wrist() -> None:
    wrists = pixels_of(Person(0, 0, 3).joints_m(), K)[[WRIST, Joint.RIGHT_WRIST]]
    distance = np.abs(np.diff(wrists, axis=0)).max()
    assert largest_jump(0) > 0.9 * distance > 10
    assert largest_jump(WEIGHT) < 1
