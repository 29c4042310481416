# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Films of shipped scenarios: what is staged is in the image where the scenario file says."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from thfm_ros.evaluation.scenario.reader import SHIPPED, read_scenario
from thfm_ros.synth import scenario_films
from thfm_ros.synth.scenario_films import FILMS, TO_THE_RIGHT, Film, Stage, people_yaml, render_film
from thfm_ros.synth.scene.asset_choices import AssetChoices

WALK = Film(1, {"walker": (3, (Stage(5, "walk", TO_THE_RIGHT, (0.0, 0.0), 12),))}, frames=12)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenario_films, "SIZE", (96, 72))
    monkeypatch.setattr(scenario_films, "MIN_PIXELS", 10)


@pytest.mark.usefixtures("small")
def test_a_person_walks_to_the_right_in_the_boxes_that_are_written(choices: AssetChoices) -> None:
    images, frames = render_film(WALK, choices)
    assert len(images) == 12 and images[0].shape == (72, 96, 3) and images[0].dtype == np.uint8
    keys = yaml.safe_load(people_yaml(WALK, frames))["people"]["walker"]
    assert [key["at_s"] for key in keys] == [0, 0.5, 1]
    lefts = [key["box"][0] for key in keys]
    assert lefts == sorted(set(lefts))
    for key, index in zip(keys, (0, 5, 10), strict=True):
        x0, y0, x1, y1 = key["box"]
        person = frames[index].labels.instances == 1
        assert person[y0:y1, x0:x1].sum() == person.sum() > 0
        assert 3.5 < key["distance_m"] < 6


@pytest.mark.usefixtures("small")
def test_the_same_film_has_the_same_pixels(choices: AssetChoices) -> None:
    film = Film(2, {}, props=((0.0, 0.5),), frames=1)
    np.testing.assert_array_equal(render_film(film, choices)[0], render_film(film, choices)[0])


def test_shipped_files_name_the_people_of_their_films() -> None:
    for name, film in FILMS.items():
        scenario = read_scenario(Path(SHIPPED / f"{name}.yaml"))
        assert set(scenario.people) == set(film.people)
        assert scenario.film.stem == name
