# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Crops without a person: backgrounds of rendered frames, and hard negatives."""

from pathlib import Path

import numpy as np
import pytest

from thfm_ros.contract import PADDING_GREY
from thfm_ros.training import negative_crops
from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.negative_crops import NegativeCrops, hard_negative_sample, negative_sample
from thfm_ros.training.shard_store import Store
from thfm_ros.training.target_cues import NO_CUE_SHARE


def test_a_negative_crop_is_labelled_as_without_a_person(store: Store) -> None:
    for seed in range(20):
        sample = negative_sample(store, np.random.default_rng(seed), 64)
        assert sample.image.shape == (1, 64, 64, 3) and sample.image.dtype == np.uint8
        assert sample.presence.tolist() == [0.0]
        assert not sample.instances.any() and not sample.parts.any()
        assert not sample.visibility.any() and np.isnan(sample.positions).all()


def test_a_negative_crop_shows_no_person(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """painted_store paints backgrounds darker than 80, and people with 200 of red."""
    monkeypatch.setattr(
        negative_crops, "apply_photometric", lambda image, *_: image.astype(np.uint8)
    )
    monkeypatch.setattr(negative_crops, "draw_thin_objects", lambda *_: None)
    monkeypatch.setattr(negative_crops, "draw_busy_surfaces", lambda *_: None)
    for seed in range(20):
        red = negative_sample(store, np.random.default_rng(seed), 64).image[..., 0]
        assert red.max() < 90 or np.unique(red).tolist() == [PADDING_GREY]


def test_hard_negatives_are_labelled_as_without_a_person(
    store: Store, backgrounds: Backgrounds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hard negatives are green; painted_store paints no green."""
    monkeypatch.setattr(negative_crops, "BACKGROUND_SHARE", 0.0)
    green = np.zeros((3, 128, 128, 3), np.uint8) + np.array([0, 200, 0], np.uint8)
    np.save(tmp_path / "hard_negatives.npy", green)
    source = NegativeCrops(store, backgrounds, tmp_path / "hard_negatives.npy")
    samples = [source.draw(np.random.default_rng(seed), 64) for seed in range(60)]
    is_green = [bool(each.image[..., 1].mean() > 2 * each.image[..., 0].mean()) for each in samples]
    assert np.mean(is_green) == pytest.approx(negative_crops.HARD_NEGATIVE_SHARE, abs=0.15)
    for sample in samples:
        assert sample.image.shape == (1, 64, 64, 3) and sample.presence.tolist() == [0.0]
        assert not sample.instances.any()


def test_an_empty_file_of_hard_negatives_is_as_none(
    store: Store, backgrounds: Backgrounds, tmp_path: Path
) -> None:
    np.save(tmp_path / "none.npy", np.zeros((0, 128, 128, 3), np.uint8))
    empty = NegativeCrops(store, backgrounds, tmp_path / "none.npy")
    without = NegativeCrops(store, backgrounds)
    for seed in range(8):
        one, other = (each.draw(np.random.default_rng(seed), 64) for each in (empty, without))
        np.testing.assert_array_equal(one.image, other.image)


def test_negative_crops_have_the_cues_of_false_positives(
    store: Store, backgrounds: Backgrounds
) -> None:
    source = NegativeCrops(store, backgrounds)
    cues = np.array([source.draw(np.random.default_rng(seed), 64).cue[0] for seed in range(100)])
    given = cues[:, 4] == 1
    assert given.mean() == pytest.approx(1 - NO_CUE_SHARE, abs=0.12)
    assert not cues[~given].any()
    middle = (cues[given, :2] + cues[given, 2:4]) / 2
    np.testing.assert_allclose(middle, 0.5, atol=0.25)
    longer = (cues[given, 2:4] - cues[given, :2]).max(1)
    assert longer.min() > 0.55 and longer.max() < 1


def test_a_hard_negative_stays_in_the_middle_of_its_crop() -> None:
    """A white post in the middle of a black crop, whatever mirror, zoom and shift."""
    crop = np.zeros((128, 128, 3), np.uint8)
    crop[:, 56:72] = 255
    for seed in range(20):
        image = hard_negative_sample(crop, np.random.default_rng(seed), 64).image[0]
        columns = image.astype(float).mean((0, 2))
        assert abs(int(columns.argmax()) - 31.5) < 16
