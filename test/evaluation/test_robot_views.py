# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Groups of composed images have the difficulty that names them, and are counted right."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from thfm_ros.contract import PerceptionError
from thfm_ros.evaluation.robot_view_images import GROUPS, SIZE, Composed, Group, compose
from thfm_ros.evaluation.robot_views import GroupResult, main, rows_of
from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.cutouts import Cutout, cutout_of_photograph
from thfm_ros.training.people_sources import PeopleSource

W, H = SIZE
BY_TITLE = {group.title: group for group in GROUPS}


class OnePerson:
    """The same white figure each time, twice as tall as wide."""

    def draw(self, rng: np.random.Generator) -> Cutout | None:
        return cutout_of_photograph(
            np.full((200, 100, 3), 255, np.uint8), np.ones((200, 100), np.uint8), whole=True
        )


class NoPerson:
    def draw(self, rng: np.random.Generator) -> Cutout | None:
        return None


@pytest.fixture(scope="module")
def backgrounds(tmp_path_factory: pytest.TempPathFactory) -> Backgrounds:
    path = tmp_path_factory.mktemp("data") / "backgrounds.npy"
    np.save(path, np.full((2, 120, 160, 3), 90, np.uint8))
    return Backgrounds(path)


def images_of(title: str, backgrounds: Backgrounds, count: int = 12) -> list[Composed]:
    group = next(each for name, each in BY_TITLE.items() if title in name)
    source, rng = cast("PeopleSource", OnePerson()), np.random.default_rng(3)
    return [compose(group, source, backgrounds, rng) for _ in range(count)]


def heights(images: list[Composed]) -> np.ndarray:
    return np.array([box[3] - box[1] for image in images for box in image.people])


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.title)
def test_every_group_shows_people_inside_its_images(group: Group, backgrounds: Backgrounds) -> None:
    images = images_of(group.title, backgrounds, 4)
    assert any(len(image.people) for image in images) == (group.title != "no person")
    for image in images:
        assert image.rgb.shape == (H, W, 3) and image.rgb.dtype == np.uint8
        assert (image.people >= 0).all() and (image.people <= [W, H, W, H]).all()


def test_whole_people_touch_no_edge(backgrounds: Backgrounds) -> None:
    for image in images_of("in plain view", backgrounds):
        ((x0, y0, x1, y1),) = image.people
        assert x0 > 0 and y0 >= 0 and x1 < W and y1 <= H and y1 - y0 >= 0.49 * H


def test_small_people_have_24_to_64_pixels(backgrounds: Backgrounds) -> None:
    found = heights(images_of("24 to 64 pixels", backgrounds))
    assert (found >= 22).all() and (found <= 66).all()


def test_people_cut_by_an_edge_reach_it(backgrounds: Backgrounds) -> None:
    for image in images_of("left or right edge", backgrounds):
        ((x0, _, x1, _),) = image.people
        assert x0 == 0 or x1 == W
    assert all(image.people[0][3] == H for image in images_of("lower edge", backgrounds))
    assert all(image.people[0][1] == 0 for image in images_of("upper edge", backgrounds))


def test_close_ups_fill_most_of_the_height(backgrounds: Backgrounds) -> None:
    images = images_of("as tall as the image", backgrounds)
    assert (heights(images) >= 0.6 * H).all()
    assert all(image.people[0][3] == H for image in images)


def test_a_table_hides_the_lower_part(backgrounds: Backgrounds) -> None:
    images = images_of("behind a table", backgrounds, 20)
    aspects = [(y1 - y0) / (x1 - x0) for image in images for x0, y0, x1, y1 in image.people]
    assert np.median(aspects) < 1.4  # of 2; some tables end beside the person, or are narrow


def test_people_in_rows_overlap_and_who_lies_is_wide(backgrounds: Backgrounds) -> None:
    for image in images_of("row of three", backgrounds):
        people = image.people[np.argsort(image.people[:, 0])]
        assert len(people) >= 2 and (people[1:, 0] <= people[:-1, 2]).all()
    for image in images_of("lying", backgrounds):
        ((x0, y0, x1, y1),) = image.people
        assert x1 - x0 > 1.5 * (y1 - y0)


def test_darkness_and_fog_change_the_light(backgrounds: Backgrounds) -> None:
    dark, fog, plain = (
        float(np.mean([image.rgb.mean() for image in images_of(title, backgrounds)]))
        for title in ("dark", "fog", "in plain view")
    )
    assert dark < 0.15 * plain and fog > 1.5 * plain


def test_crops_without_a_person_who_stands_are_refused(backgrounds: Backgrounds) -> None:
    source = cast("PeopleSource", NoPerson())
    with pytest.raises(PerceptionError, match="no whole person who stands"):
        compose(GROUPS[0], source, backgrounds, np.random.default_rng(0))


def test_rows_give_recall_beside_the_mean_box_and_no_recall_without_people() -> None:
    results = [
        (GROUPS[0], GroupResult(10, 8, 1, 2, 10)),
        (BY_TITLE["no person"], GroupResult(0, 0, 0, 3, 10)),
    ]
    assert rows_of(iter(results)) == [
        [GROUPS[0].title, "10", "0.800 (0.100)", "0.200"],
        ["no person", "0", "not measured (not measured)", "0.300"],
    ]


def test_a_folder_without_data_is_an_error_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.argv", ["robot_views", "--data", str(tmp_path)])
    assert main() == 2
    assert len(caplog.text.strip().splitlines()) == 1
