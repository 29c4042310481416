# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Where people are placed in composed images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.training import placements
from thfm_ros.training.cutouts import Cutout, cutout_of_photograph
from thfm_ros.training.people_sources import PeopleSource
from thfm_ros.training.placements import draw_close_ups, draw_people
from thfm_ros.training.shard_store import Store

SIZE = (160, 96)


@pytest.fixture
def source(store: Store) -> PeopleSource:
    return PeopleSource(store)


def plain_person(height: int, width: int, *, whole: bool) -> Cutout:
    """A black rectangle."""
    shape = (height, width)
    rgb, mask = np.zeros((*shape, 3), np.uint8), np.ones(shape, np.uint8)
    return cutout_of_photograph(rgb, mask, whole=whole)


def test_groups_stand_on_one_ground(source: PeopleSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placements, "LYING_SHARE", 0.0)
    monkeypatch.setattr(placements, "GROUP_SHARE", 1.0)
    monkeypatch.setattr(placements, "CROWD", (0, 0, 0, 0, 1.0))
    for seed in range(10):
        people = draw_people(source, np.random.default_rng(seed), SIZE)
        heights = np.array([each.height for each in people])
        feet = np.array([each.top + each.height for each in people])
        assert len(people) == 4 and (np.diff(heights) >= 0).all()  # farthest first
        assert np.ptp(feet) < 0.25 * heights.max()
        assert np.ptp(heights) < 0.5 * heights.max()


def test_a_person_much_wider_than_the_image_is_placed_across_it(
    source: PeopleSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lying people of more than five image widths once ended training in the middle of a run."""
    height, width = 20, 400
    wide = plain_person(height, width, whole=True)
    monkeypatch.setattr(source, "draw", lambda _: wide)
    monkeypatch.setattr(placements, "LYING_SHARE", 0.0)
    monkeypatch.setattr(placements, "GROUP_SHARE", 0.0)
    spans = []
    for seed in range(60):
        for person in draw_people(source, np.random.default_rng(seed), SIZE):
            spans.append((person.left, person.left + person.height * width / height))
    assert any(right - left > 5 * SIZE[0] for left, right in spans)
    assert all(left < SIZE[0] and right > 0 for left, right in spans)


class OnePerson(PeopleSource):
    """Always the same person."""

    def __init__(self, person: Cutout) -> None:
        self.person = person

    def draw(self, rng: np.random.Generator) -> Cutout:
        return self.person


@given(seed=st.integers(0, 10_000), whole=st.booleans())
def test_a_close_up_is_taller_than_the_image_and_partly_in_view(seed: int, whole: bool) -> None:
    source = OnePerson(plain_person(60, 25, whole=whole))
    for each in draw_close_ups(source, np.random.default_rng(seed), SIZE):
        wide = each.height * 25 / 60
        assert each.height > SIZE[1]
        assert each.left < SIZE[0] and each.left + wide > 0
        assert each.top < SIZE[1] and each.top + each.height > 0


@given(seed=st.integers(0, 10_000))
def test_the_cut_of_a_person_without_legs_lies_below_the_image(seed: int) -> None:
    source = OnePerson(plain_person(60, 25, whole=False))
    for each in draw_close_ups(source, np.random.default_rng(seed), SIZE):
        assert each.top + each.height >= SIZE[1]
