"""A joint that could be in two places stays where it was, unless the image insists."""

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
from thfm_ros.perception.keypoints import decode_heatmaps, remembered
from thfm_ros.pipeline import PerceptionPipeline
from thfm_ros.skeleton import Joint

K = camera()
WRIST = Joint.LEFT_WRIST
HOLD = 3.0


@given(
    st.floats(-5, 37), st.floats(-5, 29), st.floats(0, 2), st.floats(0, 20), st.integers(0, 2**31)
)
def test_memory_equals_its_plain_twin(
    x: float, y: float, age_s: float, hold: float, seed: int
) -> None:
    before = np.array([[x, y], [np.nan, np.nan]])
    found = remembered(before, age_s, hold, (24, 32))
    row, column = np.random.default_rng(seed).integers(0, (24, 32))
    variance = 1.5**2 + (40 * age_s) ** 2
    far = (column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2
    believed = 1 + hold * 1.5**2 / variance * math.exp(-far / (2 * variance))
    assert found[0, row, column] == pytest.approx(math.log(believed), rel=1e-4, abs=1e-6)
    assert not found[1].any()


def two_places(favour: float) -> np.ndarray:
    """A joint at (6.5, 5.5) or at (26.5, 25.5); the second is so much more likely."""
    heat = np.full((1, 32, 32), -20, np.float32)
    heat[0, 5, 6], heat[0, 25, 26] = 0.0, math.log(favour)
    return heat


@pytest.mark.parametrize(("favour", "age_s", "stays"), [
    (2.0, 0.0, True), (5.0, 0.0, False),  # the image insists
    (2.0, 0.033, True), (2.0, 0.5, False),  # too long ago
])  # fmt: skip
def test_a_joint_stays_unless_the_other_place_is_much_likelier(
    favour: float, age_s: float, stays: bool
) -> None:
    prior = remembered(np.array([[6.5, 5.5]]), age_s, HOLD, (32, 32))
    found = decode_heatmaps(two_places(favour), prior)
    np.testing.assert_allclose(found.places[0], [6.5, 5.5] if stays else [26.5, 25.5], atol=1e-3)
    # What it says of its certainty is the image's word alone.
    share = 1 / (1 + favour) if stays else favour / (1 + favour)
    assert found.mass[0] == pytest.approx(share, abs=0.01)


@given(st.floats(4, 28), st.floats(4, 28), st.floats(-2, 2), st.floats(-2, 2))
def test_a_joint_that_moves_is_not_drawn_back(x: float, y: float, dx: float, dy: float) -> None:
    rows, columns = np.mgrid[:32, :32] + 0.5
    far = (columns - x) ** 2 + (rows - y) ** 2
    heat = (-far / (2 * 0.7**2)).astype(np.float32)[None]
    prior = remembered(np.array([[x + dx, y + dy]]), 0.033, HOLD, (32, 32))
    np.testing.assert_allclose(decode_heatmaps(heat, prior).places[0], [x, y], atol=0.03)


class Undecided(FakeEngine):
    """Takes the left wrist to be at the right one's place, nearly as often as at its own."""

    asked = 0

    def step(
        self, cut: np.ndarray, state: object | None, *, dense: bool
    ) -> tuple[RawOutputs, object]:
        raw, state = super().step(cut, state, dense=dense)
        self.asked += 1
        heat = raw.body.heatmaps.copy()
        doubt = math.log(2 if self.asked % 2 else 0.5)
        heat[WRIST] = np.logaddexp(heat[WRIST], heat[Joint.RIGHT_WRIST] + doubt)
        return raw._replace(body=raw.body._replace(heatmaps=heat)), state


def wanders(hold: float) -> float:
    """How far the wrist goes from frame to frame, pixels, at most."""
    config = config_from(
        {"track.seed": 1, "track.smoothing": "none", "decode.temporal_prior_weight": hold}
    )
    engine = Undecided(K, lambda: [Person(0, 0, 3)])
    pipeline, window = PerceptionPipeline(engine, config), FrameWindow(config.window)
    places = []
    for number in range(12):
        clip = window.push(frame(K, 0.033 * number))
        assert clip is not None
        (body,) = pipeline.step(clip, frozenset([Task.BODIES])).bodies
        places.append(body.keypoints[WRIST, :2])
    return float(np.abs(np.diff(places, axis=0)).max())


def test_a_wrist_in_doubt_does_not_jump_to_and_fro() -> None:
    wrists = pixels_of(Person(0, 0, 3).joints_m(), K)[[WRIST, Joint.RIGHT_WRIST]]
    apart = np.abs(np.diff(wrists, axis=0)).max()
    assert wanders(0) > 0.9 * apart > 10
    assert wanders(HOLD) < 1
