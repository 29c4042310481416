# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
import numpy as np
import pytest

from thfm_ros.synth.shading.camera import crop_camera, frame_camera, look_at


def body_points() -> np.ndarray:
    rng = np.random.default_rng(0)
    cloud = rng.normal(0, [0.2, 0.15, 0.45], (400, 3)) + np.array([0, 0, 0.95])
    return np.broadcast_to(cloud, (4, 400, 3))


def test_the_optical_axis_points_at_the_target_and_the_image_is_upright() -> None:
    rotation = look_at(np.array([3.0, -2.0, 1.5]), np.array([0.0, 0.0, 1.0]))
    in_camera = rotation @ (np.array([0, 0, 1.0]) - np.array([3.0, -2.0, 1.5]))
    np.testing.assert_allclose(in_camera[:2], 0, atol=1e-9)
    assert in_camera[2] > 0 and (rotation @ [0, 0, 1.0])[1] < 0  # y is down
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) > 0


@pytest.mark.parametrize("seed", range(25))
def test_a_person_fills_the_crop(seed: int) -> None:
    body = body_points()
    middle, hips = np.array([0, 0, 1.1]), np.array([0, 0, 0.9])
    trajectory = crop_camera(np.random.default_rng(seed), body, middle, hips, (128, 128), 10.0)
    assert trajectory is not None
    points = (body[2] - trajectory.positions[2]) @ trajectory.rotations[2].T
    pixels = points[:, :2] / points[:, 2:] * trajectory.intrinsics[:2] + trajectory.intrinsics[2:]
    span = np.ptp(pixels, axis=0).max() / 128
    inside = ((pixels >= 0) & (pixels < 128)).all(axis=1).mean()
    assert 0.2 < span < 4 and inside > 0.12  # head and shoulders are a quarter of a body
    assert trajectory.extrinsics.shape == (4, 3, 4)
    from_extrinsics = body[2] @ trajectory.extrinsics[2, :, :3].T + trajectory.extrinsics[2, :, 3]
    np.testing.assert_allclose(from_extrinsics, points, atol=1e-9)


def test_cameras_of_whole_frames_cover_heights_distances_and_fields_of_view() -> None:
    people = np.array([[0.0, 0.0, 1.0]])
    trajectories = [
        frame_camera(np.random.default_rng(s), people, 2, (192, 144), 10.0) for s in range(300)
    ]
    heights = np.array([trajectory.positions[0, 2] for trajectory in trajectories])
    distances = np.array(
        [np.linalg.norm(trajectory.positions[0, :2]) for trajectory in trajectories]
    )
    fields_of_view = np.degrees(
        2 * np.arctan(96 / np.array([trajectory.intrinsics[0] for trajectory in trajectories]))
    )
    assert heights.min() < 0.4 and heights.max() > 2.6
    assert distances.min() < 1.2 and distances.max() > 7
    assert fields_of_view.min() < 50 and fields_of_view.max() > 95
    static = [np.ptp(trajectory.positions, axis=0).max() < 1e-6 for trajectory in trajectories]
    assert 0.1 < np.mean(static) < 0.6, "some cameras are static, some move"


def test_a_whole_frame_may_be_without_people() -> None:
    trajectory = frame_camera(np.random.default_rng(0), np.zeros((0, 3)), 1, (192, 144), 10.0)
    assert np.isfinite(trajectory.extrinsics).all()
