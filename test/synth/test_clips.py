# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Rendered clips: the same seed gives the same pixels, and labels agree with each other."""

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thfm_ros.skeleton import PART_NAMES, Joint
from thfm_ros.synth.clip import MAX_PEOPLE
from thfm_ros.synth.dataset import ShardError, read_about, read_shard
from thfm_ros.synth.generate import DatasetConfig, make_clips, missing_shards, render_all
from thfm_ros.synth.scene.asset_choices import AssetChoices

CONFIG = DatasetConfig(
    pack="", seed=3, split="all", view="crop", clips=6, shard=3, frames=(2, 1), size=64, samples=1,
    flow=True,
)  # fmt: skip
Clip = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def crops(choices: AssetChoices) -> list[Clip]:
    return list(make_clips(CONFIG, choices, range(6)))


@pytest.fixture(scope="module")
def frames(choices: AssetChoices) -> list[Clip]:
    config = replace(CONFIG, view="frame", frames=(1,), clips_per_group=1)
    return list(make_clips(config, choices, range(30)))


def frames_of(clips: list[Clip]) -> Iterator[tuple[Clip, int]]:
    for clip in clips:
        for index in range(len(clip["rgb"])):
            yield clip, index


def test_the_pixels_of_a_clip_depend_only_on_the_seed_and_its_number(
    crops: list[Clip], choices: AssetChoices
) -> None:
    (alone,) = make_clips(CONFIG, choices, range(4, 5))
    for name, values in alone.items():
        np.testing.assert_array_equal(values, crops[4][name], err_msg=name)


def test_another_seed_gives_different_pixels(crops: list[Clip], choices: AssetChoices) -> None:
    (other,) = make_clips(replace(CONFIG, seed=4), choices, range(1))
    assert (other["rgb"] != crops[0]["rgb"]).mean() > 0.5


def test_arrays_have_the_types_and_sizes_of_the_format(crops: list[Clip]) -> None:
    clip = crops[0]
    shapes = {name: (values.dtype.name, values.shape) for name, values in clip.items()}
    assert shapes == {
        "rgb": ("uint8", (2, 64, 64, 3)),
        "depth_m": ("float16", (2, 64, 64)),
        "normals": ("int8", (2, 64, 64, 3)),
        "parts": ("uint8", (2, 64, 64)),
        "instances": ("uint8", (2, 64, 64)),
        "dense_pose_uv": ("int8", (2, 64, 64, 3)),
        "keypoints2d": ("float32", (2, MAX_PEOPLE, 35, 2)),
        "keypoints3d": ("float32", (2, MAX_PEOPLE, 35, 3)),
        "visibility": ("uint8", (2, MAX_PEOPLE, 35)),
        "people": ("uint8", (2,)),
        "intrinsics": ("float32", (2, 4)),
        "extrinsics": ("float32", (2, 3, 4)),
        "flow": ("float16", (2, 64, 64, 2)),
        "depth_flow_m": ("float16", (2, 64, 64)),
        "clip_length": ("int16", (2,)),
        "frame_index": ("int16", (2,)),
        "scene": ("int32", (2,)),
        "view": ("uint8", (2,)),
    }


def test_pixels_of_people_have_a_part_a_uv_a_depth_and_a_normal(
    crops: list[Clip], frames: list[Clip]
) -> None:
    for clip, index in frames_of(crops + frames):
        person = clip["instances"][index] > 0
        np.testing.assert_array_equal(clip["parts"][index] > 0, person)
        assert (clip["depth_m"][index][person] > 0).all()
        uv = clip["dense_pose_uv"][index].astype(float) / 127
        assert (uv[~person] == 0).all()
        circle = np.hypot(uv[..., 0], uv[..., 1])[person]
        assert circle.size == 0 or abs(np.median(circle) - 1) < 0.02
        length = np.linalg.norm(clip["normals"][index].astype(float) / 127, axis=-1)
        assert (np.abs(length[person] - 1) < 0.02).all()


def test_normals_face_the_camera(crops: list[Clip], frames: list[Clip]) -> None:
    for clip, index in frames_of(crops + frames):
        fx, fy, cx, cy = clip["intrinsics"][index]
        height, width = clip["parts"].shape[1:]
        y, x = np.mgrid[:height, :width] + 0.5
        rays = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones_like(x)], axis=-1)
        towards = np.sum(clip["normals"][index] / 127.0 * rays, axis=-1)
        assert (towards < 0.03).all()


def test_keypoints_2d_are_the_projected_keypoints_3d(crops: list[Clip]) -> None:
    for clip, index in frames_of(crops):
        fx, fy, cx, cy = clip["intrinsics"][index]
        points = clip["keypoints3d"][index, 0]
        pixels = points[:, :2] / points[:, 2:] * [fx, fy] + [cx, cy]
        np.testing.assert_allclose(clip["keypoints2d"][index, 0], pixels, atol=0.01)


def test_a_visible_joint_lies_on_its_person_just_below_the_visible_surface(
    crops: list[Clip],
) -> None:
    on_person = []
    for clip, index in frames_of(crops):
        seen = np.flatnonzero(clip["visibility"][index, 0] == 2)
        x, y = np.floor(clip["keypoints2d"][index, 0, seen]).astype(int).T
        on_person.append(clip["instances"][index][y, x] == 1)
        depth = clip["depth_m"][index][y, x].astype(float)
        behind = clip["keypoints3d"][index, 0, seen, 2] - depth
        assert (behind[on_person[-1]] < 0.25).all()
    assert np.concatenate(on_person).mean() > 0.85


def test_unused_rows_have_no_joints(frames: list[Clip]) -> None:
    counts = set()
    for clip, index in frames_of(frames):
        count = int(clip["people"][index])
        counts.add(count)
        assert np.isnan(clip["keypoints3d"][index, count:]).all()
        assert np.isfinite(clip["keypoints3d"][index, :count]).all()
        assert (clip["visibility"][index, count:] == 0).all()
        assert clip["instances"][index].max() <= count
    assert {0, 1, 2, 3} <= counts, "thirty images show no person, one and several"


def test_the_target_of_a_crop_is_number_one_and_near_the_centre(crops: list[Clip]) -> None:
    for clip, index in frames_of(crops):
        target = clip["instances"][index] == 1
        assert target.mean() > 0.01
        y, x = np.nonzero(target)
        assert abs(x.mean() / 64 - 0.5) < 0.3 and abs(y.mean() / 64 - 0.5) < 0.35


def test_left_parts_are_near_left_joints(crops: list[Clip]) -> None:
    arm, joint = PART_NAMES.index("left_lower_arm"), Joint.LEFT_ELBOW
    distances = []
    for clip, index in frames_of(crops):
        if clip["visibility"][index, 0, joint] == 2:
            y, x = np.nonzero((clip["parts"][index] == arm) & (clip["instances"][index] == 1))
            point = clip["keypoints2d"][index, 0, joint]
            away = np.hypot(x + 0.5 - point[0], y + 0.5 - point[1])
            distances.append(away.min() if away.size else np.inf)
    assert np.median(distances) < 5


def test_flow_leads_to_the_same_joint_in_the_next_frame(choices: AssetChoices) -> None:
    """A joint near the surface moves with the pixel in front of it."""
    errors = []
    for clip in make_clips(replace(CONFIG, frames=(2,), artefacts=0.0), choices, range(8)):
        seen = np.flatnonzero((clip["visibility"][:, 0] == 2).all(axis=0))
        start, end = clip["keypoints2d"][:, 0, seen]
        x, y = np.floor(start).astype(int).T
        own = clip["instances"][0][y, x] == 1
        moved = clip["flow"][0][y, x].astype(float)
        errors.append(np.linalg.norm(start + moved - end, axis=1)[own])
    errors_px = np.concatenate(errors)
    assert np.median(errors_px) < 1.0  # a wrong sign would give 6 px: people move by 3 px or more


def test_flow_leads_to_the_same_part_uv_and_depth_in_the_next_frame(
    choices: AssetChoices,
) -> None:
    """Pixels are moved by the flow and compared with the labels of the next frame."""
    config = replace(CONFIG, frames=(2,), size=160, artefacts=0.0)
    depth_errors_m, same_part, uv_errors = [], [], []
    for clip in make_clips(config, choices, range(6)):
        y, x = np.nonzero(clip["instances"][0] == 1)
        moved = np.stack([x, y], axis=1) + 0.5 + clip["flow"][0][y, x].astype(float)
        to_x, to_y = np.floor(moved).astype(int).T
        stays = (to_x >= 0) & (to_x < 160) & (to_y >= 0) & (to_y < 160)
        x, y, to_x, to_y = x[stays], y[stays], to_x[stays], to_y[stays]
        expected = clip["depth_m"][0][y, x].astype(float) + clip["depth_flow_m"][0][y, x]
        error_m = np.abs(clip["depth_m"][1][to_y, to_x] - expected)
        unoccluded = error_m < 0.06  # the others are occluded in the next frame
        depth_errors_m.append(error_m[unoccluded])
        same_part.append((clip["parts"][0][y, x] == clip["parts"][1][to_y, to_x])[unoccluded])
        uv = clip["dense_pose_uv"].astype(float) / 127
        uv_error = np.linalg.norm(uv[0][y, x] - uv[1][to_y, to_x], axis=1)
        uv_errors.append(uv_error[unoccluded])
        assert unoccluded.mean() > 0.6
    assert np.median(np.concatenate(depth_errors_m)) < 0.004  # float16 has steps of 2 mm at 3 m
    assert np.concatenate(same_part).mean() > 0.95
    assert np.median(np.concatenate(uv_errors)) < 0.1


def test_normals_agree_with_the_gradient_of_the_depth(choices: AssetChoices) -> None:
    """Normals computed independently from the back-projected points of neighbouring pixels."""
    config = replace(CONFIG, size=160, frames=(1,))
    angles = []
    for clip in make_clips(config, choices, range(4)):
        depth = clip["depth_m"][0].astype(float)
        fx, fy, cx, cy = clip["intrinsics"][0]
        y, x = np.mgrid[:160, :160] + 0.5
        points = np.stack([(x - cx) / fx * depth, (y - cy) / fy * depth, depth], axis=-1)
        right, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
        slope = np.cross(down, right)
        slope /= np.linalg.norm(slope, axis=-1, keepdims=True) + 1e-9
        own = clip["instances"][0] == 1
        inner = own[1:-1, 1:-1] & own[1:-1, 2:] & own[1:-1, :-2] & own[2:, 1:-1] & own[:-2, 1:-1]
        near = np.maximum(np.abs(right[..., 2]), np.abs(down[..., 2])) < 0.05
        normals = clip["normals"][0, 1:-1, 1:-1] / 127.0
        cosine = np.clip(np.sum(slope * normals, axis=-1)[inner & near], -1, 1)
        angles.append(np.degrees(np.arccos(cosine)))
    assert np.median(np.concatenate(angles)) < 12


def test_interrupted_rendering_continues_with_the_missing_shards(
    pack_path: Path, tmp_path: Path
) -> None:
    config = replace(
        CONFIG, pack=str(pack_path), clips=3, shard=1, size=32, frames=(1,), flow=False
    )
    first = render_all(config, tmp_path, workers=1)
    assert next(first)[0] == 0
    first.close()  # type: ignore[attr-defined]
    (tmp_path / "crop-all-3-00001.npz.part").write_bytes(b"a partial shard")
    assert missing_shards(config, tmp_path) == [1, 2]
    before = config.path(tmp_path, 0).stat().st_mtime_ns
    assert [number for number, _ in render_all(config, tmp_path, workers=1)] == [1, 2]
    assert config.path(tmp_path, 0).stat().st_mtime_ns == before
    about = read_about(config.path(tmp_path, 2))
    assert (about["seed"], about["view"], about["frames_total"]) == (3, "crop", 1)
    assert read_shard(config.path(tmp_path, 2))["rgb"].shape == (1, 32, 32, 3)


def test_stopping_does_not_wait_for_the_shards_of_the_workers(
    pack_path: Path, tmp_path: Path
) -> None:
    config = replace(
        CONFIG, pack=str(pack_path), clips=5000, shard=1, size=32, frames=(1,), flow=False
    )
    before = set(multiprocessing.active_children())
    rendering = render_all(config, tmp_path, workers=2)
    next(rendering)
    workers = set(multiprocessing.active_children()) - before
    rendering.close()  # type: ignore[attr-defined]
    # The pool's own thread waits for its workers too. Between the end of a worker and the moment
    # when that thread has recorded it, the worker seems alive to other threads.
    until = time.monotonic() + 120
    while any(worker.is_alive() for worker in workers) and time.monotonic() < until:
        time.sleep(0.02)
    assert len(workers) == 2 and not any(worker.is_alive() for worker in workers)
    shards = list(tmp_path.glob("*.npz"))
    assert 1 <= len(shards) < 5000
    assert all(read_about(path)["seed"] == 3 for path in shards), "each is complete"


def test_a_damaged_shard_is_reported_and_rendered_again(
    pack_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(
        CONFIG, pack=str(pack_path), clips=1, shard=1, size=32, frames=(1,), flow=False
    )
    list(render_all(config, tmp_path, workers=1))
    good = config.path(tmp_path, 0).read_bytes()
    config.path(tmp_path, 0).write_bytes(good[:-100])
    assert [number for number, _ in render_all(config, tmp_path, workers=1)] == [0]
    assert config.path(tmp_path, 0).read_bytes() == good
    assert "crop-all-3-00000.npz is damaged and is rendered again" in caplog.text


def test_shards_with_other_options_are_refused(pack_path: Path, tmp_path: Path) -> None:
    config = replace(
        CONFIG, pack=str(pack_path), clips=1, shard=1, size=32, frames=(1,), flow=False
    )
    list(render_all(config, tmp_path, workers=1))
    with pytest.raises(ShardError, match=r"another samples"):
        missing_shards(replace(config, samples=2), tmp_path)


def test_shards_of_an_older_format_are_refused_and_kept(
    pack_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(
        CONFIG, pack=str(pack_path), clips=1, shard=1, size=32, frames=(1,), flow=False
    )
    with monkeypatch.context() as patch:
        patch.setattr("thfm_ros.synth.dataset.FORMAT", 1)
        list(render_all(config, tmp_path, workers=1))
    with pytest.raises(ShardError, match=r"format 1; .* reads format 2\. .*another --out"):
        missing_shards(config, tmp_path)
    assert config.path(tmp_path, 0).exists()
