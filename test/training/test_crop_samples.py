# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Crop samples: labels follow the person through every augmentation."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from painted_store import DISTANCE, FOCAL, ROWS, SIZE

from thfm_ros.contract import Intrinsics, PixelMap
from thfm_ros.geometry import crop_view
from thfm_ros.synth.dataset import write_shard
from thfm_ros.training import crop_samples
from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.augmentation.geometric import CropStyle, CropTransform, draw_transform
from thfm_ros.training.crop_samples import crop_sample, draw_neighbours, plain_sample, votes_of
from thfm_ros.training.rendered_crop import HIPS, RenderedLayers
from thfm_ros.training.shard_store import KEYS, Store
from thfm_ros.training.target_cues import CueChoice


def test_a_plain_sample_keeps_every_joint_where_it_was_rendered(store: Store) -> None:
    ref = store.frames[3]
    sample = plain_sample(store, [ref], 96)
    np.testing.assert_allclose(sample.peaks[0], store.read("keypoints2d", ref)[0] / SIZE, atol=1e-5)
    assert sample.log_width[0] == pytest.approx(np.log(SIZE * DISTANCE / FOCAL), abs=1e-4)
    assert sample.relative_depth[0][sample.instances[0] == 1].mean() == pytest.approx(0.1, abs=0.01)
    assert sample.presence.tolist() == [1.0] and not sample.cue.any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_visible_joints_lie_on_a_person_after_any_augmentation(data: Path, seed: int) -> None:
    """The painted joints all lie inside the painted rectangle, so they must stay inside it."""
    store, backgrounds = Store(data / "train"), Backgrounds(data / "backgrounds.npy")
    rng = np.random.default_rng(seed)
    sample = crop_sample(store, [store.frames[seed % len(store)]], backgrounds, rng, CropStyle())
    mask = sample.instances[0] > 0
    for (x, y), seen in zip(sample.peaks[0], sample.visibility[0], strict=True):
        if seen == 2:
            row, column = int(y * mask.shape[0]), int(x * mask.shape[1])
            assert mask[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3].any()


def test_labels_are_in_the_axes_in_which_the_pipeline_decodes_the_network(
    tmp_path: Path, store: Store
) -> None:
    """A sample's labels, decoded as the network's outputs would be, are what was rendered."""
    ref = store.frames[0]
    k = Intrinsics(FOCAL, FOCAL, SIZE / 2 - 90, SIZE / 2 + 40, SIZE, SIZE)  # 26 degrees off-axis
    points = store.read("keypoints3d", ref)[0] + np.array([90, -40, 0]) * DISTANCE / FOCAL
    changed = {key: np.array(store.read(key, ref))[None] for key in KEYS}
    changed |= {
        "intrinsics": np.array([[k.fx, k.fy, k.cx, k.cy]], np.float32),
        "keypoints3d": np.stack([points] * ROWS)[None].astype(np.float32),
        "clip_length": np.ones(1, np.int16),
        "frame_index": np.zeros(1, np.int16),
    }
    write_shard(tmp_path / "off_axis.npz", changed, {}, store="plain")
    off_axis = Store(tmp_path)
    sample = plain_sample(off_axis, off_axis.frames, SIZE)
    view = crop_view(PixelMap(1.0, 0.0, 0.0, SIZE, SIZE), k)
    root = points[HIPS].mean(0)
    np.testing.assert_allclose(sample.positions[0] @ view.rotation.T, points - root, atol=1e-4)
    root_depth = np.exp(sample.log_width[0]) * view.focal_px / SIZE
    assert root_depth == pytest.approx(view.rotation[:, 2] @ root, abs=1e-3)
    painted_normal = np.array([0.6, 0, -0.8])
    normal = sample.normals[0][sample.instances[0] == 1].mean(0)
    np.testing.assert_allclose(normal @ view.rotation.T, painted_normal, atol=0.01)
    # A pixel's depth along the optical axis, computed as in perception/dense_maps.py.
    row, column = np.argwhere(sample.instances[0] == 1)[40]
    x, y = (2 * column + 1 - k.cx) / k.fx, (2 * row + 1 - k.cy) / k.fy
    depth = (sample.relative_depth[0][row, column] + view.rotation[:, 2] @ root) / (
        view.rotation[:, 2] @ np.array([x, y, 1])
    )
    assert depth == pytest.approx(DISTANCE + 0.1, abs=0.02)


def test_votes_of_a_person_end_in_the_middle_of_the_box() -> None:
    instances = np.zeros((20, 30), np.uint8)
    instances[2:8, 3:11] = 1
    instances[10:19, 20:25] = 2
    votes = votes_of(instances)
    y, x = np.mgrid[:20, :30]
    for number, centre in ((1, (6.5, 4.5)), (2, (22, 14))):
        mask = instances == number
        ends = np.stack([x[mask], y[mask]], -1) + votes[mask] * 30
        np.testing.assert_allclose(ends, np.broadcast_to(centre, ends.shape), atol=1e-4)
    assert not votes[instances == 0].any()


def test_samples_of_clips_have_one_row_per_frame(store: Store, backgrounds: Backgrounds) -> None:
    first, length = store.clips[0]
    refs = store.frames[first.row : first.row + length]
    sample = crop_sample(store, refs, backgrounds, np.random.default_rng(0), CropStyle(size=64))
    assert length == 4
    assert sample.image.shape == (4, 64, 64, 3)
    assert sample.votes.shape == (4, 32, 32, 2)
    assert {len(values) for values in sample} == {4}


def test_a_clean_clip_shows_what_was_rendered(
    store: Store, backgrounds: Backgrounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crop_samples, "NEIGHBOUR_SHARE", 0.0)
    ref = store.frames[0]
    rgb = np.ascontiguousarray(store.read("rgb", ref))

    def changed_pixels(clean_share: float, seed: int) -> float:
        style = CropStyle(size=64, clean_share=clean_share)
        transform = draw_transform(np.random.default_rng(seed), len(rgb), style)
        expected = cv2.warpAffine(rgb, transform.matrix, (64, 64)).astype(float)
        inside = cv2.warpAffine(np.ones(rgb.shape[:2]), transform.matrix, (64, 64)) == 1
        sample = crop_sample(store, [ref], backgrounds, np.random.default_rng(seed), style)
        difference = np.abs(sample.image[0] - expected)[inside].mean(1)
        return float((difference > 60).mean())  # photometry changes less, pasted images more

    clean, augmented = (
        np.array([changed_pixels(share, seed) for seed in range(24)]) for share in (1.0, 0.0)
    )
    assert np.median(clean) < 0.02
    assert np.mean(augmented) > 3 * np.mean(clean)


def test_in_a_static_clip_image_and_labels_shake_alike(
    store: Store, backgrounds: Backgrounds
) -> None:
    ref, style = store.frames[0], CropStyle(size=64, clean_share=1.0)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        sample = crop_sample(store, [ref] * 4, backgrounds, rng, style)
        if np.isnan(sample.positions).all():
            continue  # the target is a pasted neighbour, who does not shake
        steps = np.diff(sample.peaks, axis=0) * 64
        inside = (sample.visibility > 0).all(0)
        assert (np.ptp(steps, axis=1) < 1e-3).all()  # all keypoints by the same
        assert 0 < np.abs(steps).max() < 4 * 0.006 * 64
        assert np.abs(np.diff(sample.positions[:, inside], axis=0)).max(initial=0) < 0.03


def test_neighbours_are_about_as_tall_as_the_target_and_overlap_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crop_samples, "NEIGHBOUR_SHARE", 1.0)
    transform = CropTransform(np.eye(3)[:2], 1.0, 0.0, False)
    layers = RenderedLayers.read(store, store.frames[0], transform, SIZE)
    counts, heights = [], []
    for seed in range(20):
        neighbours = draw_neighbours(store, layers, np.random.default_rng(seed))
        counts.append(len(neighbours))
        for neighbour in neighbours:
            rows = np.flatnonzero(neighbour.pasted.mask.any(1))
            heights.append(len(rows) / 90)  # painted_store paints 90 rows
    assert set(counts) == {1, 2}
    assert np.median(heights) == pytest.approx(1, abs=0.2)


def labelled_with(store: Store, cue: CueChoice, empty: bool = False) -> crop_samples.CropSample:
    """A render of one painted person, and the sample that a cue makes of it."""
    transform = CropTransform(np.eye(3)[:2], 1.0, 0.0, False)
    crop = RenderedLayers.read(store, store.frames[0], transform, SIZE).at_half_size()
    hidden = np.zeros((SIZE, SIZE), np.uint8)
    return crop_samples.labelled(crop, crop.rgb, hidden, empty, cue)


def test_a_cue_without_a_person_makes_a_sample_without_a_target(store: Store) -> None:
    box = np.array([0.8, 0.1, 1.0, 0.9])
    sample = labelled_with(store, CueChoice(True, 0, np.zeros(4), box))
    np.testing.assert_allclose(sample.cue[0], [*box, 1])
    assert sample.presence.tolist() == [0.0]
    assert set(np.unique(sample.instances)) == {0, crop_samples.OTHER}
    assert (sample.parts[0] > 0).any()  # the dense tasks see all people
    assert not sample.visibility.any() and not sample.depth_known.any()


def test_an_empty_sample_has_the_cue_of_a_person_who_is_not_there(store: Store) -> None:
    choice = CueChoice(True, 1, np.zeros(4), np.zeros(4))
    sample = labelled_with(store, choice, empty=True)
    np.testing.assert_array_equal(sample.cue, labelled_with(store, choice).cue)
    assert sample.presence.tolist() == [0.0] and sample.cue[0, 4] == 1
    assert not sample.instances.any() and not sample.parts.any() and not sample.visibility.any()
