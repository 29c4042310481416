"""What training shows where nobody is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from painted_store import write_data

from thfm_ros.training import frame_samples as frames
from thfm_ros.training import negative_crops as nobody
from thfm_ros.training.augmentation.busy_surfaces import MOTIFS, Motif, draw_facades
from thfm_ros.training.augmentation.thin_objects import THINGS, draw_sticks
from thfm_ros.training.crop_samples import PADDING
from thfm_ros.training.frame_samples import rendered_sample
from thfm_ros.training.negative_crops import Nobody, mistaken_sample, nobody_sample
from thfm_ros.training.shard_store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(write_data(tmp_path_factory.mktemp("data")) / "train")


def test_a_place_without_people_says_that_nobody_is_there(store: Store) -> None:
    for seed in range(20):
        sample = nobody_sample(store, np.random.default_rng(seed), 64)
        assert sample.image.shape == (1, 64, 64, 3) and sample.image.dtype == np.uint8
        assert sample.presence.tolist() == [0.0]
        assert not sample.instances.any() and not sample.parts.any()
        assert not sample.visibility.any() and np.isnan(sample.positions).all()


def test_no_person_is_in_the_pixels_of_a_place_without_people(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """painted_store paints places darker than 80, and people with 200 of red."""
    monkeypatch.setattr(nobody, "apply_photometric", lambda image, *_: image.astype(np.uint8))
    monkeypatch.setattr(nobody, "draw_sticks", lambda *_: None)
    monkeypatch.setattr(nobody, "draw_facades", lambda *_: None)
    for seed in range(20):
        red = nobody_sample(store, np.random.default_rng(seed), 64).image[..., 0]
        assert red.max() < 90 or np.unique(red).tolist() == [PADDING]


def test_what_was_taken_for_a_person_is_shown_as_nobody(store: Store, tmp_path: Path) -> None:
    """Green images are mistakes; painted_store paints no green."""
    green = np.zeros((3, 128, 128, 3), np.uint8) + np.array([0, 200, 0], np.uint8)
    np.save(tmp_path / "mistakes.npy", green)
    with_mistakes = Nobody(store, tmp_path / "mistakes.npy")
    samples = [with_mistakes.draw(np.random.default_rng(seed), 64) for seed in range(60)]
    shown = [bool(each.image[..., 1].mean() > 2 * each.image[..., 0].mean()) for each in samples]
    assert sum(shown) / 60 == pytest.approx(nobody.MINED, abs=0.15)
    for sample in samples:
        assert sample.image.shape == (1, 64, 64, 3) and sample.presence.tolist() == [0.0]
        assert not sample.instances.any()


def test_without_mistakes_only_places_are_shown(store: Store, tmp_path: Path) -> None:
    np.save(tmp_path / "none.npy", np.zeros((0, 128, 128, 3), np.uint8))
    for nobody_there in (Nobody(store), Nobody(store, tmp_path / "none.npy")):
        sample = nobody_there.draw(np.random.default_rng(3), 64)
        same = nobody_sample(store, np.random.default_rng(3), 64)
        np.testing.assert_array_equal(sample.image, same.image)


def test_a_mistake_stays_in_the_middle_of_its_crop() -> None:
    """A white post in the middle of a black crop, whatever mirror, zoom and shift."""
    taken = np.zeros((128, 128, 3), np.uint8)
    taken[:, 56:72] = 255
    for seed in range(20):
        image = mistaken_sample(taken, np.random.default_rng(seed), 64).image[0]
        columns = image.astype(float).mean((0, 2))
        assert abs(int(columns.argmax()) - 31.5) < 16


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.__name__.strip("_"))
def test_every_thing_has_lines_of_about_its_height(thing: object) -> None:
    assert callable(thing)
    for seed in range(20):
        lines = thing(np.random.default_rng(seed))
        heights = np.concatenate([np.array(line)[:, 1] for line in lines])
        assert heights.min() < 0.2 and 0.85 <= heights.max() <= 1.01


def drawn(
    draw: Callable[[np.random.Generator, np.ndarray], None], count: int
) -> Iterator[np.ndarray]:
    """Grey images into which ``draw`` has drawn; no value may leave 0..255."""
    for seed in range(count):
        image = np.full((96, 128, 3), 128, np.float32)
        draw(np.random.default_rng(seed), image)
        assert image.min() >= 0 and image.max() <= 255
        yield image


def test_sticks_change_a_part_of_the_image_and_stay_in_its_range() -> None:
    changed = [float((image != 128).any(-1).mean()) for image in drawn(draw_sticks, 30)]
    assert max(changed) < 0.7 and np.median(changed) > 0.005


@pytest.mark.parametrize("motif", MOTIFS, ids=lambda motif: motif.__name__.strip("_"))
@given(height=st.integers(8, 60), width=st.integers(8, 80), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_every_busy_surface_fits_patches_of_any_size(
    motif: Motif, height: int, width: int, seed: int
) -> None:
    patch = np.full((height, width, 3), 128, np.uint8)
    motif(np.random.default_rng(seed), patch)
    assert patch.shape == (height, width, 3)


def test_busy_surfaces_have_more_edges_than_what_they_cover() -> None:
    steps = (np.abs(np.diff(image[..., 0], axis=1)) for image in drawn(draw_facades, 20))
    edges = [float((step > 8).mean()) for step in steps]
    assert np.median(edges) > 0.02


def test_busy_surfaces_stand_behind_people_and_not_before_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """painted_store paints people with 200 of red; the surface is white here."""
    monkeypatch.setattr(frames, "apply_photometric", lambda image, *_: image.astype(np.uint8))
    monkeypatch.setattr(frames, "draw_facades", lambda _, image: image.fill(255))
    monkeypatch.setattr(frames, "BUSY", 1.0)
    for seed in range(10):
        sample = rendered_sample(store, np.random.default_rng(seed), (64, 48))
        person = sample.instances[0] > 0
        white = (sample.image[0] == 255).all(-1).reshape(24, 2, 32, 2).sum((1, 3))
        assert (white[person] <= 2).all() and (white[~person] > 2).all()
