"""Crops without a person: backgrounds of rendered frames, and hard negatives."""

from pathlib import Path

import numpy as np
import pytest
from painted_store import write_data

from thfm_ros.contract import PADDING_GREY
from thfm_ros.training import negative_crops
from thfm_ros.training.negative_crops import NegativeCrops, hard_negative_sample, negative_sample
from thfm_ros.training.shard_store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(write_data(tmp_path_factory.mktemp("data")) / "train")


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


def test_hard_negatives_are_labelled_as_without_a_person(store: Store, tmp_path: Path) -> None:
    """The hard negatives are green; painted_store paints no green."""
    green = np.zeros((3, 128, 128, 3), np.uint8) + np.array([0, 200, 0], np.uint8)
    np.save(tmp_path / "hard_negatives.npy", green)
    source = NegativeCrops(store, tmp_path / "hard_negatives.npy")
    samples = [source.draw(np.random.default_rng(seed), 64) for seed in range(60)]
    is_green = [bool(each.image[..., 1].mean() > 2 * each.image[..., 0].mean()) for each in samples]
    assert np.mean(is_green) == pytest.approx(negative_crops.HARD_NEGATIVE_SHARE, abs=0.15)
    for sample in samples:
        assert sample.image.shape == (1, 64, 64, 3) and sample.presence.tolist() == [0.0]
        assert not sample.instances.any()


def test_without_hard_negatives_all_crops_are_backgrounds(store: Store, tmp_path: Path) -> None:
    np.save(tmp_path / "none.npy", np.zeros((0, 128, 128, 3), np.uint8))
    for source in (NegativeCrops(store), NegativeCrops(store, tmp_path / "none.npy")):
        sample = source.draw(np.random.default_rng(3), 64)
        same = negative_sample(store, np.random.default_rng(3), 64)
        np.testing.assert_array_equal(sample.image, same.image)


def test_a_hard_negative_stays_in_the_middle_of_its_crop() -> None:
    """A white post in the middle of a black crop, whatever mirror, zoom and shift."""
    crop = np.zeros((128, 128, 3), np.uint8)
    crop[:, 56:72] = 255
    for seed in range(20):
        image = hard_negative_sample(crop, np.random.default_rng(seed), 64).image[0]
        columns = image.astype(float).mean((0, 2))
        assert abs(int(columns.argmax()) - 31.5) < 16
