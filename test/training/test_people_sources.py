# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""People from renders and from photographs."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from thfm_ros.contract import PerceptionError
from thfm_ros.training.people_sources import PeopleSource
from thfm_ros.training.shard_store import Store


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A red person, whose left half alone is opaque, and a green one who is cut off."""
    for name, colour in (("00000", (0, 0, 200)), ("00001_cut", (0, 200, 0))):
        bgra = np.zeros((30, 12, 4), np.uint8)
        bgra[..., :3] = colour
        bgra[:, :6, 3] = 255
        cv2.imwrite(str(tmp_path / f"{name}.png"), bgra)
    return tmp_path


def test_people_of_photographs_have_their_colours_and_masks(store: Store, photos: Path) -> None:
    source = PeopleSource(store, photos, photo_share=1.0)
    seen = set()
    for seed in range(20):
        person = source.draw(np.random.default_rng(seed))
        assert person is not None and person.mask.shape == (30, 12)
        left, right = person.mask[:, :6].all(), person.mask[:, 6:].all()
        assert left != right  # mirrored or not
        colour = "red" if person.rgb[0, 0, 0] == 200 else "green"
        assert person.whole == (colour == "red")
        assert np.isnan(person.joints).all() and not person.visibility.any()
        seen.add((colour, left))
    assert len(seen) == 4


def test_some_people_are_rendered_and_some_are_photographed(store: Store, photos: Path) -> None:
    source = PeopleSource(store, photos, photo_share=0.5)
    drawn = [source.draw(np.random.default_rng(seed)) for seed in range(30)]
    photographed = [each is not None and bool(np.isnan(each.joints).all()) for each in drawn]
    assert 5 < sum(photographed) < 25


def test_without_a_folder_all_people_are_rendered(store: Store) -> None:
    source = PeopleSource(store, None, photo_share=1.0)
    person = source.draw(np.random.default_rng(0))
    assert person is not None and not np.isnan(person.joints).all()


def test_a_folder_without_images_is_an_error_that_names_it(store: Store, tmp_path: Path) -> None:
    with pytest.raises(PerceptionError, match=str(tmp_path)):
        PeopleSource(store, tmp_path, photo_share=0.5)


def test_an_image_without_an_alpha_channel_is_an_error_that_names_it(
    store: Store, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "plain.png"), np.zeros((30, 12, 3), np.uint8))
    source = PeopleSource(store, tmp_path, photo_share=1.0)
    with pytest.raises(PerceptionError, match=r"plain\.png"):
        source.draw(np.random.default_rng(0))
