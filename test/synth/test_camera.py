import numpy as np
import pytest

from thfm_ros.synth.shading.camera import crop_shot, frame_shot, look_at


def a_body() -> np.ndarray:
    rng = np.random.default_rng(0)
    cloud = rng.normal(0, [0.2, 0.15, 0.45], (400, 3)) + np.array([0, 0, 0.95])
    return np.broadcast_to(cloud, (4, 400, 3))


def test_a_camera_looks_at_its_target_with_the_sky_up() -> None:
    rotation = look_at(np.array([3.0, -2.0, 1.5]), np.array([0.0, 0.0, 1.0]))
    seen = rotation @ (np.array([0, 0, 1.0]) - np.array([3.0, -2.0, 1.5]))
    np.testing.assert_allclose(seen[:2], 0, atol=1e-9)
    assert seen[2] > 0 and (rotation @ [0, 0, 1.0])[1] < 0  # y is down
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) > 0


@pytest.mark.parametrize("seed", range(25))
def test_a_crop_is_filled_by_its_person(seed: int) -> None:
    body = a_body()
    middle, hips = np.array([0, 0, 1.1]), np.array([0, 0, 0.9])
    shot = crop_shot(np.random.default_rng(seed), body, middle, hips, (128, 128), 10.0)
    assert shot is not None
    points = (body[2] - shot.positions[2]) @ shot.rotations[2].T
    pixels = points[:, :2] / points[:, 2:] * shot.lens[:2] + shot.lens[2:]
    span = np.ptp(pixels, axis=0).max() / 128
    inside = ((pixels >= 0) & (pixels < 128)).all(axis=1).mean()
    assert 0.2 < span < 4 and inside > 0.12  # a bust is a quarter of its body
    assert shot.extrinsics.shape == (4, 3, 4)
    from_extrinsics = body[2] @ shot.extrinsics[2, :, :3].T + shot.extrinsics[2, :, 3]
    np.testing.assert_allclose(from_extrinsics, points, atol=1e-9)


def test_whole_frames_are_taken_from_the_floor_to_the_ceiling_near_and_far() -> None:
    people = np.array([[0.0, 0.0, 1.0]])
    shots = [frame_shot(np.random.default_rng(s), people, 2, (192, 144), 10.0) for s in range(300)]
    heights = np.array([shot.positions[0, 2] for shot in shots])
    away = np.array([np.linalg.norm(shot.positions[0, :2]) for shot in shots])
    fields = np.degrees(2 * np.arctan(96 / np.array([shot.lens[0] for shot in shots])))
    assert heights.min() < 0.4 and heights.max() > 2.6
    assert away.min() < 1.2 and away.max() > 7
    assert fields.min() < 50 and fields.max() > 95
    still = [np.ptp(shot.positions, axis=0).max() < 1e-6 for shot in shots]
    assert 0.1 < np.mean(still) < 0.6, "some cameras stand, some move"


def test_nobody_is_needed_for_a_whole_frame() -> None:
    shot = frame_shot(np.random.default_rng(0), np.zeros((0, 3)), 1, (192, 144), 10.0)
    assert np.isfinite(shot.extrinsics).all()
