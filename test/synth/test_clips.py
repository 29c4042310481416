"""What comes out of the generator: same seed same pixels, and labels that agree with each other."""

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thfm_ros.skeleton import PART_NAMES, Joint
from thfm_ros.synth.clip import PEOPLE
from thfm_ros.synth.dataset import ShardError, read_about, read_shard
from thfm_ros.synth.generate import Order, make_clips, missing, render_all
from thfm_ros.synth.scene.asset_choices import Choices

ORDER = Order(
    pack="", seed=3, split="all", view="crop", clips=6, shard=3, frames=(2, 1), size=64, samples=1,
    flow=True,
)  # fmt: skip
Clip = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def crops(choices: Choices) -> list[Clip]:
    return list(make_clips(ORDER, choices, range(6)))


@pytest.fixture(scope="module")
def images(choices: Choices) -> list[Clip]:
    order = replace(ORDER, view="frame", frames=(1,), reuse=1)
    return list(make_clips(order, choices, range(30)))


def frames_of(clips: list[Clip]) -> Iterator[tuple[Clip, int]]:
    for clip in clips:
        for index in range(len(clip["rgb"])):
            yield clip, index


def test_the_same_seed_gives_the_same_pixels_whatever_was_made_before(
    crops: list[Clip], choices: Choices
) -> None:
    (alone,) = make_clips(ORDER, choices, range(4, 5))
    for name, values in alone.items():
        np.testing.assert_array_equal(values, crops[4][name], err_msg=name)


def test_another_seed_gives_other_pixels(crops: list[Clip], choices: Choices) -> None:
    (other,) = make_clips(replace(ORDER, seed=4), choices, range(1))
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
        "surface": ("int8", (2, 64, 64, 3)),
        "keypoints2d": ("float32", (2, PEOPLE, 35, 2)),
        "keypoints3d": ("float32", (2, PEOPLE, 35, 3)),
        "visibility": ("uint8", (2, PEOPLE, 35)),
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


def test_a_pixel_of_a_person_has_a_part_a_place_on_it_a_depth_and_a_normal(
    crops: list[Clip], images: list[Clip]
) -> None:
    for clip, index in frames_of(crops + images):
        person = clip["instances"][index] > 0
        np.testing.assert_array_equal(clip["parts"][index] > 0, person)
        assert (clip["depth_m"][index][person] > 0).all()
        surface = clip["surface"][index].astype(float) / 127
        assert (surface[~person] == 0).all()
        circle = np.hypot(surface[..., 0], surface[..., 1])[person]
        assert circle.size == 0 or abs(np.median(circle) - 1) < 0.02
        length = np.linalg.norm(clip["normals"][index].astype(float) / 127, axis=-1)
        assert (np.abs(length[person] - 1) < 0.02).all()


def test_normals_face_the_camera(crops: list[Clip], images: list[Clip]) -> None:
    for clip, index in frames_of(crops + images):
        fx, fy, cx, cy = clip["intrinsics"][index]
        height, width = clip["parts"].shape[1:]
        y, x = np.mgrid[:height, :width] + 0.5
        rays = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones_like(x)], axis=-1)
        towards = np.sum(clip["normals"][index] / 127.0 * rays, axis=-1)
        assert (towards < 0.03).all()


def test_joints_in_pixels_are_the_projected_joints_in_metres(crops: list[Clip]) -> None:
    for clip, index in frames_of(crops):
        fx, fy, cx, cy = clip["intrinsics"][index]
        points = clip["keypoints3d"][index, 0]
        pixels = points[:, :2] / points[:, 2:] * [fx, fy] + [cx, cy]
        np.testing.assert_allclose(clip["keypoints2d"][index, 0], pixels, atol=0.01)


def test_a_visible_joint_lies_on_its_person_near_the_surface_that_is_seen(
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


def test_people_who_are_not_there_have_no_joints(images: list[Clip]) -> None:
    counts = set()
    for clip, index in frames_of(images):
        count = int(clip["people"][index])
        counts.add(count)
        assert np.isnan(clip["keypoints3d"][index, count:]).all()
        assert np.isfinite(clip["keypoints3d"][index, :count]).all()
        assert (clip["visibility"][index, count:] == 0).all()
        assert clip["instances"][index].max() <= count
    assert {0, 1, 2, 3} <= counts, "thirty images show nobody, one and several people"


def test_the_target_of_a_crop_is_number_one_and_in_its_middle(crops: list[Clip]) -> None:
    for clip, index in frames_of(crops):
        target = clip["instances"][index] == 1
        assert target.mean() > 0.01
        y, x = np.nonzero(target)
        assert abs(x.mean() / 64 - 0.5) < 0.3 and abs(y.mean() / 64 - 0.5) < 0.35


def test_the_parts_of_the_left_are_where_the_joints_of_the_left_are(crops: list[Clip]) -> None:
    hand, joint = PART_NAMES.index("left_lower_arm"), Joint.LEFT_ELBOW
    distances = []
    for clip, index in frames_of(crops):
        if clip["visibility"][index, 0, joint] == 2:
            y, x = np.nonzero((clip["parts"][index] == hand) & (clip["instances"][index] == 1))
            point = clip["keypoints2d"][index, 0, joint]
            away = np.hypot(x + 0.5 - point[0], y + 0.5 - point[1])
            distances.append(away.min() if away.size else np.inf)
    assert np.median(distances) < 5


def test_flow_leads_to_the_same_joint_in_the_next_frame(choices: Choices) -> None:
    """A joint near the surface moves as the pixel over it does."""
    errors = []
    for clip in make_clips(replace(ORDER, frames=(2,), artefacts=0.0), choices, range(8)):
        seen = np.flatnonzero((clip["visibility"][:, 0] == 2).all(axis=0))
        start, end = clip["keypoints2d"][:, 0, seen]
        x, y = np.floor(start).astype(int).T
        own = clip["instances"][0][y, x] == 1
        moved = clip["flow"][0][y, x].astype(float)
        errors.append(np.linalg.norm(start + moved - end, axis=1)[own])
    errors_px = np.concatenate(errors)
    still_px = 1.0  # what a wrong sign would exceed by far: people move 3 px and more here
    assert np.median(errors_px) < still_px


def test_flow_leads_to_the_same_place_on_the_body_at_the_depth_that_it_says(
    choices: Choices,
) -> None:
    """Each pixel is carried to the next frame, where labels of that frame's own are waiting."""
    order = replace(ORDER, frames=(2,), size=160, artefacts=0.0)
    away_m, same_part, apart = [], [], []
    for clip in make_clips(order, choices, range(6)):
        y, x = np.nonzero(clip["instances"][0] == 1)
        there = np.stack([x, y], axis=1) + 0.5 + clip["flow"][0][y, x].astype(float)
        to_x, to_y = np.floor(there).astype(int).T
        stays = (to_x >= 0) & (to_x < 160) & (to_y >= 0) & (to_y < 160)
        x, y, to_x, to_y = x[stays], y[stays], to_x[stays], to_y[stays]
        expected = clip["depth_m"][0][y, x].astype(float) + clip["depth_flow_m"][0][y, x]
        off = np.abs(clip["depth_m"][1][to_y, to_x] - expected)
        seen = off < 0.06  # the others are hidden in the next frame
        away_m.append(off[seen])
        same_part.append((clip["parts"][0][y, x] == clip["parts"][1][to_y, to_x])[seen])
        surface = clip["surface"].astype(float) / 127
        apart.append(np.linalg.norm(surface[0][y, x] - surface[1][to_y, to_x], axis=1)[seen])
        assert seen.mean() > 0.6
    assert np.median(np.concatenate(away_m)) < 0.004  # half floats step by 2 mm at 3 m
    assert np.concatenate(same_part).mean() > 0.95
    assert np.median(np.concatenate(apart)) < 0.1


def test_normals_agree_with_the_slope_of_the_depth(choices: Choices) -> None:
    """An independent way to the same thing: neighbours' points span the surface."""
    order = replace(ORDER, size=160, frames=(1,))
    angles = []
    for clip in make_clips(order, choices, range(4)):
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


def test_interrupted_rendering_goes_on_where_it_stopped(pack_path: Path, tmp_path: Path) -> None:
    order = replace(ORDER, pack=str(pack_path), clips=3, shard=1, size=32, frames=(1,), flow=False)
    first = render_all(order, tmp_path, workers=1)
    assert next(first)[0] == 0
    first.close()  # type: ignore[attr-defined]
    (tmp_path / "crop-all-3-00001.npz.part").write_bytes(b"what was being written")
    assert missing(order, tmp_path) == [1, 2]
    before = order.path(tmp_path, 0).stat().st_mtime_ns
    assert [number for number, _ in render_all(order, tmp_path, workers=1)] == [1, 2]
    assert order.path(tmp_path, 0).stat().st_mtime_ns == before
    about = read_about(order.path(tmp_path, 2))
    assert (about["seed"], about["view"], about["frames_total"]) == (3, "crop", 1)
    assert read_shard(order.path(tmp_path, 2))["rgb"].shape == (1, 32, 32, 3)


def test_who_stops_many_workers_does_not_wait_for_their_shards(
    pack_path: Path, tmp_path: Path
) -> None:
    order = replace(ORDER, pack=str(pack_path), clips=60, shard=1, size=32, frames=(1,), flow=False)
    before = set(multiprocessing.active_children())
    rendering = render_all(order, tmp_path, workers=2)
    next(rendering)
    workers = set(multiprocessing.active_children()) - before
    rendering.close()  # type: ignore[attr-defined]
    # The pool's own thread waits for its workers too. For the instant in which it has been told
    # that one has ended and has not yet noted it, that one seems alive to everybody else.
    until = time.monotonic() + 5
    while any(worker.is_alive() for worker in workers) and time.monotonic() < until:
        time.sleep(0.02)
    assert len(workers) == 2 and not any(worker.is_alive() for worker in workers)
    shards = list(tmp_path.glob("*.npz"))
    assert 1 <= len(shards) < 60
    assert all(read_about(path)["seed"] == 3 for path in shards), "each is whole"


def test_a_damaged_shard_is_named_and_rendered_again(
    pack_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    order = replace(ORDER, pack=str(pack_path), clips=1, shard=1, size=32, frames=(1,), flow=False)
    list(render_all(order, tmp_path, workers=1))
    good = order.path(tmp_path, 0).read_bytes()
    order.path(tmp_path, 0).write_bytes(good[:-100])
    assert [number for number, _ in render_all(order, tmp_path, workers=1)] == [0]
    assert order.path(tmp_path, 0).read_bytes() == good
    assert "crop-all-3-00000.npz is damaged and is rendered again" in caplog.text


def test_shards_of_another_recipe_are_not_mixed_in(pack_path: Path, tmp_path: Path) -> None:
    order = replace(ORDER, pack=str(pack_path), clips=1, shard=1, size=32, frames=(1,), flow=False)
    list(render_all(order, tmp_path, workers=1))
    with pytest.raises(ShardError, match=r"another samples"):
        missing(replace(order, samples=2), tmp_path)
