"""Samples: labels stay on the person whatever is done to the image."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from painted_store import DISTANCE, FOCAL, SIZE, write_data

from thfm_ros.contract import Intrinsics, PixelMap
from thfm_ros.geometry import crop_view
from thfm_ros.skeleton import FLIP_PAIRS, Joint
from thfm_ros.synth.dataset import read_shard, write_shard
from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.augmentation.geometric import CropStyle, Move, draw_move
from thfm_ros.training.crop_samples import (
    HIPS,
    Sample,
    _Scene,
    crop_sample,
    plain_sample,
    votes_of,
)
from thfm_ros.training.frame_samples import Cutout, frame_sample, rendered_sample, turned
from thfm_ros.training.shard_store import (
    BACK_VIEWS,
    KEYS,
    LEGS_APART,
    LEGS_CROSSED,
    Store,
    astride,
    crossed,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def store(data: Path) -> Store:
    return Store(data / "train")


def test_a_plain_sample_keeps_every_joint_where_it_was_rendered(store: Store) -> None:
    ref = store.frames[3]
    sample = plain_sample(store, [ref], 96)
    np.testing.assert_allclose(sample.peaks[0], store.read("keypoints2d", ref)[0] / SIZE, atol=1e-5)
    assert sample.log_width[0] == pytest.approx(np.log(SIZE * DISTANCE / FOCAL), abs=1e-4)
    assert sample.relief[0][sample.instances[0] == 1].mean() == pytest.approx(0.1, abs=0.01)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_visible_joints_lie_on_the_person_after_any_disturbance(data: Path, seed: int) -> None:
    """The painted joints all lie inside the painted rectangle, so they must stay inside it."""
    store, backgrounds = Store(data / "train"), Backgrounds(data / "backgrounds.npy")
    rng = np.random.default_rng(seed)
    sample = crop_sample(store, [store.frames[seed % len(store)]], backgrounds, rng, CropStyle())
    mask = sample.instances[0] > 0
    for (x, y), seen in zip(sample.peaks[0], sample.visibility[0], strict=True):
        if seen == 2:
            row, column = int(y * mask.shape[0]), int(x * mask.shape[1])
            assert mask[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3].any()


@settings(max_examples=20, deadline=None)
@given(zoom=st.floats(0.5, 1.5), turn=st.floats(-0.7, 0.7), mirrored=st.booleans())
def test_space_and_image_are_moved_alike(
    data: Path, zoom: float, turn: float, mirrored: bool
) -> None:
    """The moved joints in space, projected by the moved camera, are the moved joints."""
    store = Store(data / "train")
    ref = store.frames[0]
    cos, sin = np.cos(turn) * zoom, np.sin(turn) * zoom
    matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])
    if mirrored:
        matrix = matrix @ np.array([[-1, 0, SIZE - 1], [0, 1, 0], [0, 0, 1.0]])
    centre = np.full(2, (SIZE - 1) / 2)
    matrix[:, 2] += centre - (matrix[:, :2] @ centre + matrix[:, 2])
    scene = _Scene.read(store, ref, Move(matrix, zoom, turn, mirrored), SIZE)
    flat = scene.positions[:, :2] * scene.focal_px / (scene.root_depth + scene.positions[:, 2:])
    hips = scene.peaks[HIPS].mean(0)
    np.testing.assert_allclose(scene.peaks - hips, flat - flat[HIPS].mean(0), atol=0.05)


def test_labels_are_in_the_axes_in_which_the_pipeline_reads_the_network(
    tmp_path: Path, data: Path
) -> None:
    """What the sample says, decoded as a network's answer would be, is what was rendered."""
    store = Store(data / "train")
    ref = store.frames[0]
    k = Intrinsics(FOCAL, FOCAL, SIZE / 2 - 90, SIZE / 2 + 40, SIZE, SIZE)  # 26 degrees off-axis
    space = store.read("keypoints3d", ref)[0] + np.array([90, -40, 0]) * DISTANCE / FOCAL
    changed = {key: np.array(store.read(key, ref))[None] for key in KEYS}
    changed |= {
        "intrinsics": np.array([[k.fx, k.fy, k.cx, k.cy]], np.float32),
        "keypoints3d": space[None, None].astype(np.float32),
        "clip_length": np.ones(1, np.int16),
        "frame_index": np.zeros(1, np.int16),
    }
    write_shard(tmp_path / "off_axis.npz", changed, {}, store="plain")
    off_axis = Store(tmp_path)
    sample = plain_sample(off_axis, off_axis.frames, SIZE)
    view = crop_view(PixelMap(1.0, 0.0, 0.0, SIZE, SIZE), k)
    root = space[HIPS].mean(0)
    np.testing.assert_allclose(sample.positions[0] @ view.rotation.T, space - root, atol=1e-4)
    along = np.exp(sample.log_width[0]) * view.focal_px / SIZE
    assert along == pytest.approx(view.rotation[:, 2] @ root, abs=1e-3)
    person = np.array([1.0, 0, 0]) * 0.6 + np.array([0, 0, -0.8])
    facing = sample.normals[0][sample.instances[0] == 1].mean(0)
    np.testing.assert_allclose(facing @ view.rotation.T, person, atol=0.01)
    # A pixel's depth, from its relief as maps.py computes it.
    row, column = np.argwhere(sample.instances[0] == 1)[40]
    x, y = (2 * column + 1 - k.cx) / k.fx, (2 * row + 1 - k.cy) / k.fy
    depth = (sample.relief[0][row, column] + view.rotation[:, 2] @ root) / (
        view.rotation[:, 2] @ np.array([x, y, 1])
    )
    assert depth == pytest.approx(DISTANCE + 0.1, abs=0.02)


def test_a_mirror_swaps_sides_and_mirrors_the_normals(store: Store) -> None:
    ref = store.frames[0]
    mirror = np.array([[-1.0, 0, SIZE - 1], [0, 1, 0]])
    plain = _Scene.read(store, ref, Move(np.eye(3)[:2], 1.0, 0.0, False), SIZE)
    mirrored = _Scene.read(store, ref, Move(mirror, 1.0, 0.0, True), SIZE)
    np.testing.assert_allclose(
        mirrored.positions[list(FLIP_PAIRS)], plain.positions * [-1, 1, 1], atol=1e-6
    )
    assert mirrored.normals[..., 0].min() == pytest.approx(-0.6, abs=0.01)
    assert plain.normals[..., 0].max() == pytest.approx(0.6, abs=0.01)
    left_wrist = Joint.LEFT_WRIST
    assert mirrored.peaks[left_wrist, 0] == pytest.approx(
        SIZE - plain.peaks[FLIP_PAIRS[left_wrist], 0], abs=1e-4
    )
    assert set(np.unique(mirrored.parts)) == {0, 4, 5}
    columns = np.flatnonzero((mirrored.parts == 5).any(0))
    others = np.flatnonzero((mirrored.parts == 4).any(0))
    assert columns.mean() < others.mean()  # the person's right arm is still on the left


def test_votes_of_a_person_end_in_the_middle_of_its_box() -> None:
    instances = np.zeros((20, 30), np.uint8)
    instances[2:8, 3:11] = 1
    instances[10:19, 20:25] = 2
    votes = votes_of(instances)
    y, x = np.mgrid[:20, :30]
    for number, centre in ((1, (6.5, 4.5)), (2, (22, 14))):
        mine = instances == number
        ends = np.stack([x[mine], y[mine]], -1) + votes[mine] * 30
        np.testing.assert_allclose(ends, np.broadcast_to(centre, ends.shape), atol=1e-4)
    assert not votes[instances == 0].any()


def test_a_composed_frame_says_nothing_of_what_it_cannot_know(data: Path) -> None:
    store, backgrounds = Store(data / "train"), Backgrounds(data / "backgrounds.npy")
    rng = np.random.default_rng(5)
    samples = [frame_sample(store, backgrounds, rng, (96, 64)) for _ in range(40)]
    crowds = [len(np.unique(s.instances)) - 1 for s in samples]
    assert max(crowds) >= 2 and min(crowds) == 0
    for sample in samples:
        assert sample.image.shape == (1, 64, 96, 3)
        assert not sample.relief_known.any()
        assert np.isnan(sample.presence).all() and np.isnan(sample.log_width).all()
        assert ((sample.parts[0] > 0) == (sample.instances[0] > 0)).all()


def test_clips_come_out_with_one_row_per_frame(data: Path) -> None:
    store, backgrounds = Store(data / "train"), Backgrounds(data / "backgrounds.npy")
    first, length = store.clips[0]
    refs = store.frames[first.row : first.row + length]
    sample: Sample = crop_sample(
        store, refs, backgrounds, np.random.default_rng(0), CropStyle(size=64)
    )
    assert length == 4
    assert sample.image.shape == (4, 64, 64, 3)
    assert sample.votes.shape == (4, 32, 32, 2)


def test_a_calm_clip_shows_what_was_rendered(data: Path) -> None:
    store, backgrounds = Store(data / "train"), Backgrounds(data / "backgrounds.npy")
    ref = store.frames[0]
    rgb = np.ascontiguousarray(store.read("rgb", ref))

    def unlike_the_render(calm: float, seed: int) -> float:
        style = CropStyle(size=64, calm=calm)
        move = draw_move(np.random.default_rng(seed), len(rgb), style)
        moved = cv2.warpAffine(rgb, move.matrix, (64, 64)).astype(float)
        inside = cv2.warpAffine(np.ones(rgb.shape[:2]), move.matrix, (64, 64)) == 1
        sample = crop_sample(store, [ref], backgrounds, np.random.default_rng(seed), style)
        apart = np.abs(sample.image[0] - moved)[inside].mean(1)
        return float((apart > 60).mean())  # lamps change less; what is pasted changes more

    calm, disturbed = (
        np.array([unlike_the_render(share, seed) for seed in range(24)]) for share in (1.0, 0.0)
    )
    assert np.median(calm) < 0.02
    assert np.mean(disturbed) > 3 * np.mean(calm)


def test_a_held_clip_trembles_and_its_labels_with_it(data: Path) -> None:
    store, backgrounds = Store(data / "train"), Backgrounds(data / "backgrounds.npy")
    ref, style = store.frames[0], CropStyle(size=64, calm=1.0)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        sample = crop_sample(store, [ref] * 4, backgrounds, rng, style)
        steps = np.diff(sample.peaks, axis=0) * 64
        inside = (sample.visibility > 0).all(0)
        assert (np.ptp(steps, axis=1) < 1e-3).all()  # everything by as much
        assert 0 < np.abs(steps).max() < 4 * 0.006 * 64
        assert np.abs(np.diff(sample.positions[:, inside], axis=0)).max(initial=0) < 0.03


def test_a_rendered_frame_keeps_parts_and_outline_together(store: Store) -> None:
    for seed in range(12):
        sample = rendered_sample(store, np.random.default_rng(seed), (96, 64))
        person = sample.instances[0] > 0
        assert person.any()
        assert ((sample.parts[0] > 0) == person).all()
        assert sample.normals[0][person][:, 2].mean() == pytest.approx(-0.8, abs=0.02)
        # The right arm (5) is painted on the left; a mirror moves and renames it.
        columns = [np.flatnonzero((sample.parts[0] == part).any(0)).mean() for part in (5, 4)]
        assert columns[0] < columns[1]


def test_people_seen_from_behind_are_drawn_more_often(tmp_path: Path) -> None:
    folder = write_data(tmp_path) / "train"
    arrays = read_shard(folder / "shard_0.npz", KEYS)
    joints = np.array(arrays["keypoints2d"])
    backs = np.arange(len(joints)) % 4 == 0
    for row, back in enumerate(backs):
        joints[row, 0, [Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER]] = [[90, 40], [30, 40]]
        joints[row, 0, HIPS] = [[70, 90], [50, 90]]
        if back:
            joints[row, 0] = joints[row, 0, list(FLIP_PAIRS)]
    write_shard(folder / "shard_0.npz", {**arrays, "keypoints2d": joints}, {}, store="plain")
    shutil.rmtree(folder / "shard_0.arrays", ignore_errors=True)
    store, rng = Store(folder), np.random.default_rng(0)
    drawn = np.mean([store.pick(rng).row % 4 == 0 for _ in range(2000)])
    assert drawn == pytest.approx(BACK_VIEWS / (BACK_VIEWS + 3), abs=0.05)
    clip = store.pick_clip(rng, 4)
    assert [ref.row - clip[0].row for ref in clip] == [0, 1, 2, 3] and clip[0].row % 4 == 0


def test_people_who_stride_past_are_drawn_more_often(tmp_path: Path) -> None:
    folder = write_data(tmp_path) / "train"
    arrays = read_shard(folder / "shard_0.npz", KEYS)
    joints = np.array(arrays["keypoints2d"])
    joints[:, 0, [Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER]] = [[61, 40], [59, 40]]
    joints[:, 0, HIPS] = [[61, 90], [59, 90]]
    joints[:, 0, [Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE]] = [[62, 120], [58, 120]]
    passing = np.arange(len(joints)) % 4 == 0
    joints[passing, 0, Joint.LEFT_ANKLE] = [95, 115]
    np.testing.assert_array_equal(astride(joints[:, 0]), passing)
    write_shard(folder / "shard_0.npz", {**arrays, "keypoints2d": joints}, {}, store="plain")
    shutil.rmtree(folder / "shard_0.arrays", ignore_errors=True)
    store, rng = Store(folder), np.random.default_rng(0)
    drawn = np.mean([store.pick(rng).row % 4 == 0 for _ in range(2000)])
    assert drawn == pytest.approx(LEGS_APART / (LEGS_APART + 3), abs=0.05)


def _some_with_crossed_legs(joints: np.ndarray) -> np.ndarray:
    """Everybody on straight legs, seen from the front, but for every fourth."""
    joints = joints.copy()
    joints[:, 0, [Joint.LEFT_SHOULDER, Joint.RIGHT_SHOULDER]] = [[75, 40], [45, 40]]
    joints[:, 0, HIPS] = [[68, 90], [52, 90]]
    joints[:, 0, [Joint.LEFT_KNEE, Joint.RIGHT_KNEE]] = [[66, 105], [54, 105]]
    joints[:, 0, [Joint.LEFT_ANKLE, Joint.RIGHT_ANKLE]] = [[68, 120], [52, 120]]
    joints[::4, 0, Joint.LEFT_ANKLE] = [40, 120]
    return joints


@given(turn=st.floats(-np.pi, np.pi))
def test_legs_cross_whichever_way_the_body_lies(turn: float) -> None:
    joints = _some_with_crossed_legs(np.zeros((8, 1, len(Joint), 2)))
    about = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    crossing = np.arange(8) % 4 == 0
    np.testing.assert_array_equal(crossed((joints - 64)[:, 0] @ about), crossing)


def test_people_whose_legs_cross_are_drawn_more_often(tmp_path: Path) -> None:
    folder = write_data(tmp_path) / "train"
    arrays = read_shard(folder / "shard_0.npz", KEYS)
    joints = _some_with_crossed_legs(np.array(arrays["keypoints2d"]))
    write_shard(folder / "shard_0.npz", {**arrays, "keypoints2d": joints}, {}, store="plain")
    shutil.rmtree(folder / "shard_0.arrays", ignore_errors=True)
    store, rng = Store(folder), np.random.default_rng(0)
    drawn = np.mean([store.pick(rng).row % 4 == 0 for _ in range(2000)])
    assert drawn == pytest.approx(LEGS_CROSSED / (LEGS_CROSSED + 3), abs=0.05)


def test_somebody_turned_by_a_quarter_faces_where_the_pixels_went() -> None:
    rgb = np.zeros((4, 2, 3), np.uint8)
    rgb[0] = 255  # the head
    normals = np.zeros((4, 2, 3), np.float32)
    normals[0] = (0, -1, 0)  # up, as the top of a head does
    normals[3] = (0.6, 0, 0.8)
    plain = np.ones((4, 2), np.uint8)
    person = Cutout(rgb, plain, plain, normals, normals, True)
    once = turned(person, 1)  # against the clock: the head lies on the left
    assert once.rgb.shape == (2, 4, 3) and (once.rgb[:, 0] == 255).all()
    np.testing.assert_allclose(once.normals[:, 0], [(-1, 0, 0)] * 2, atol=1e-6)
    np.testing.assert_allclose(once.normals[:, 3], [(0, -0.6, 0.8)] * 2, atol=1e-6)
    np.testing.assert_allclose(once.surface, np.rot90(normals), atol=1e-6)  # of the limb: stays
    back = turned(turned(turned(once, 1), 1), 1)
    np.testing.assert_allclose(back.normals, normals, atol=1e-6)
    np.testing.assert_array_equal(turned(person, 3).rgb, turned(turned(person, 2), 1).rgb)
