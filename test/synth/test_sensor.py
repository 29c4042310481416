import numpy as np
import pytest

from thfm_ros.synth.rendering.annotate import Labels
from thfm_ros.synth.rendering.render import Rendered, toned
from thfm_ros.synth.rendering.sensor import (
    Sensor,
    expose,
    random_exposure,
    random_sensor,
    recorded,
    smeared,
)


def a_frame(linear: np.ndarray, flow: tuple[float, float] = (0, 0)) -> Rendered:
    size = linear.shape[:2]
    motion = np.zeros((*size, 3), np.float32)
    motion[..., :2] = flow
    byte, vector = np.zeros(size, np.uint8), np.zeros((*size, 3), np.int8)
    labels = Labels(np.zeros(size, np.float32), vector, byte, byte, vector, motion)
    nobody = np.zeros((0, 35, 3))
    return Rendered(linear, labels, nobody[..., :2], nobody, np.zeros((0, 35), np.uint8))


def a_image() -> np.ndarray:
    y, x = np.mgrid[:32, :32] / 32
    return np.stack([x, y, 0.5 + 0 * x], axis=-1).astype(np.float32)


def test_a_perfect_camera_writes_srgb() -> None:
    (pixels,) = expose(np.random.default_rng(0), [a_frame(a_image())], Sensor())
    expected = a_image() ** (1 / 2.2) * 255
    assert np.abs(pixels.astype(float) - expected).max() <= 0.51


def test_a_still_is_recorded_as_a_frame_of_a_clip_is() -> None:
    """Backgrounds go the one way, clips the other; their tones must not differ."""
    linear = toned(a_image() * random_exposure(np.random.default_rng(9)).astype(np.float32))
    for sensor in (Sensor(), Sensor(blur_px=0.8, jpeg_quality=60)):
        still = recorded(np.random.default_rng(0), linear, sensor)
        (clip,) = expose(np.random.default_rng(0), [a_frame(linear)], sensor)
        np.testing.assert_array_equal(still, clip)


@pytest.mark.parametrize(
    "sensor",
    [
        Sensor(blur_px=1.0), Sensor(noise=0.05), Sensor(banding=0.1), Sensor(drift=0.1),
        Sensor(jpeg_quality=30), Sensor(coarse=0.4),
    ],
    ids=["blur", "noise", "banding", "drift", "jpeg", "coarse"],
)  # fmt: skip
def test_a_fault_changes_the_image_and_leaves_it_recognisable(sensor: Sensor) -> None:
    checks = (np.indices((32, 32)).sum(axis=0) // 4 % 2)[..., None] * np.ones(3) * 0.6 + 0.1
    frames = [a_frame(checks.astype(np.float32))] * 3
    clean = expose(np.random.default_rng(0), frames, Sensor()).astype(float)
    faulty = expose(np.random.default_rng(0), frames, sensor).astype(float)
    assert np.abs(faulty - clean).mean() > 0.4
    assert np.corrcoef(faulty.ravel(), clean.ravel())[0, 1] > 0.8


def test_motion_blur_smears_along_the_motion_alone() -> None:
    stripe = np.zeros((33, 33, 3), np.float32)
    stripe[:, 16] = 1  # an upright line
    flow = np.zeros((33, 33, 2), np.float32)
    flow[..., 0] = 8
    across = smeared(stripe, flow, 1.0)
    along = smeared(stripe, flow[..., ::-1].copy(), 1.0)
    assert across[16, 16, 0] < 0.5 and across[16, 13, 0] > 0.05
    np.testing.assert_allclose(along, stripe, atol=1e-5)
    np.testing.assert_array_equal(smeared(stripe, 0 * flow, 1.0), stripe)


def test_about_as_many_cameras_are_bad_as_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    bad = [random_sensor(rng, 0.3).jpeg_quality > 0 for _ in range(2000)]
    assert abs(np.mean(bad) - 0.3 * 0.7) < 0.03
    assert not any(random_sensor(rng, 0.0).jpeg_quality for _ in range(200))
