# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
import numpy as np
import pytest

from thfm_ros.synth.rendering.annotate import Labels
from thfm_ros.synth.rendering.render import FrameRender, tone_map
from thfm_ros.synth.rendering.sensor import (
    Sensor,
    motion_blur,
    random_exposure,
    random_sensor,
    record_clip,
    record_frame,
)


def frame_of(linear: np.ndarray, flow: tuple[float, float] = (0, 0)) -> FrameRender:
    size = linear.shape[:2]
    motion = np.zeros((*size, 3), np.float32)
    motion[..., :2] = flow
    byte, vector = np.zeros(size, np.uint8), np.zeros((*size, 3), np.int8)
    labels = Labels(np.zeros(size, np.float32), vector, byte, byte, vector, motion)
    no_people = np.zeros((0, 35, 3))
    return FrameRender(linear, labels, no_people[..., :2], no_people, np.zeros((0, 35), np.uint8))


def gradient() -> np.ndarray:
    y, x = np.mgrid[:32, :32] / 32
    return np.stack([x, y, 0.5 + 0 * x], axis=-1).astype(np.float32)


def test_a_sensor_without_artefacts_writes_srgb() -> None:
    (pixels,) = record_clip(np.random.default_rng(0), [frame_of(gradient())], Sensor())
    expected = gradient() ** (1 / 2.2) * 255
    assert np.abs(pixels.astype(float) - expected).max() <= 0.51


def test_a_single_image_is_recorded_like_the_first_frame_of_a_clip() -> None:
    """Backgrounds are recorded as single images; their tones must match those of clips."""
    linear = tone_map(gradient() * random_exposure(np.random.default_rng(9)).astype(np.float32))
    for sensor in (Sensor(), Sensor(blur_px=0.8, jpeg_quality=60)):
        single = record_frame(np.random.default_rng(0), linear, sensor)
        (clip,) = record_clip(np.random.default_rng(0), [frame_of(linear)], sensor)
        np.testing.assert_array_equal(single, clip)


@pytest.mark.parametrize(
    "sensor",
    [
        Sensor(blur_px=1.0), Sensor(noise=0.05), Sensor(banding=0.1), Sensor(exposure_drift=0.1),
        Sensor(jpeg_quality=30), Sensor(resolution_share=0.4),
    ],
    ids=["blur", "noise", "banding", "exposure_drift", "jpeg", "resolution"],
)  # fmt: skip
def test_an_artefact_changes_the_image_and_leaves_it_recognisable(sensor: Sensor) -> None:
    checks = (np.indices((32, 32)).sum(axis=0) // 4 % 2)[..., None] * np.ones(3) * 0.6 + 0.1
    frames = [frame_of(checks.astype(np.float32))] * 3
    clean = record_clip(np.random.default_rng(0), frames, Sensor()).astype(float)
    degraded = record_clip(np.random.default_rng(0), frames, sensor).astype(float)
    assert np.abs(degraded - clean).mean() > 0.4
    assert np.corrcoef(degraded.ravel(), clean.ravel())[0, 1] > 0.8


def test_motion_blur_acts_only_along_the_motion() -> None:
    stripe = np.zeros((33, 33, 3), np.float32)
    stripe[:, 16] = 1  # a vertical line
    flow = np.zeros((33, 33, 2), np.float32)
    flow[..., 0] = 8
    across = motion_blur(stripe, flow, 1.0)
    along = motion_blur(stripe, flow[..., ::-1].copy(), 1.0)
    assert across[16, 16, 0] < 0.5 and across[16, 13, 0] > 0.05
    np.testing.assert_allclose(along, stripe, atol=1e-5)
    np.testing.assert_array_equal(motion_blur(stripe, 0 * flow, 1.0), stripe)


def test_the_share_of_cameras_with_artefacts_is_as_requested() -> None:
    rng = np.random.default_rng(0)
    bad = [random_sensor(rng, 0.3).jpeg_quality > 0 for _ in range(2000)]
    assert abs(np.mean(bad) - 0.3 * 0.7) < 0.03
    assert not any(random_sensor(rng, 0.0).jpeg_quality for _ in range(200))
