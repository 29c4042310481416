# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Scenario files: what is read, and the message about what is wrong."""

import random
import string
from pathlib import Path
from typing import Any

import property_tests  # noqa: F401 (settings)
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.contract import PerceptionError
from thfm_ros.evaluation.scenario.contents import Kind, Scenario, ScenarioError
from thfm_ros.evaluation.scenario.reader import find_scenario, read_scenario, shipped_scenarios

VALID = """\
film: film.mp4
description: A person walks by.
hfov_deg: 60
parameters: {decode.min_score: 0.5}
people:
  walker:
    - {at_s: 0, box: [0, 0, 10, 20], distance_m: 4}
    - {at_s: 2, box: [20, 0, 30, 20], distance_m: 2}
    - {at_s: 2.5, out_of_view: true}
    - {from_s: 4, until_s: 5, box: [5, 5, 15, 25], distance_m: 3}
zones:
  door: [100, 0, 150, 200]
  corner: [[0, 0], [50, 0], [0, 50]]
conditions:
  - found: walker
    pass_rate: 0.9
  - distance: all
    tolerance: 0.1
    pass_rate: 0.8
  - empty: door
    pass_rate: 0.95
    known_failure: a coat hangs there
  - occupied: corner
    from_s: 1
    until_s: 2
  - max_ids: 3
  - max_id_changes: 1
    people: [walker]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "film.mp4").write_bytes(b"")
    (tmp_path / "images").mkdir()
    return tmp_path


def read(folder: Path, text: str) -> Scenario:
    path = folder / "site.yaml"
    path.write_text(text, "utf-8")
    return read_scenario(path)


def test_a_valid_file_is_read(folder: Path) -> None:
    scenario = read(folder, VALID)
    assert scenario.name == "site" and scenario.film == folder / "film.mp4"
    assert scenario.hfov_deg == 60 and scenario.parameters == {"decode.min_score": 0.5}
    assert [each.kind for each in scenario.conditions] == [
        *(Kind.FOUND, Kind.DISTANCE, Kind.EMPTY, Kind.OCCUPIED, Kind.MAX_IDS),
        Kind.MAX_ID_CHANGES,
    ]
    assert scenario.conditions[1].people == ("walker",)
    assert scenario.conditions[2].known_failure == "a coat hangs there"
    assert scenario.zones["door"].shape == (4, 2) and scenario.zones["corner"].shape == (3, 2)


def test_boxes_move_linearly_between_key_times_and_are_unknown_out_of_view(folder: Path) -> None:
    walker = read(folder, VALID).people["walker"]
    halfway = walker.at(1.0)
    assert halfway is not None
    assert halfway.box.tolist() == [10, 0, 20, 20] and halfway.distance_m == 3
    assert walker.at(2.2) is None and walker.at(3.9) is None and walker.at(5.1) is None
    last = walker.at(4.5)
    assert last is not None and last.box.tolist() == [5, 5, 15, 25]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("pass_rate: 0.9\n", "pas_rate: 0.9\n", "conditions[0]: unknown key 'pas_rate'; did you"),
        ("  - found:", "  - fuond:", "'fuond'; did you mean 'found'"),
        ("zones:", "zone:", "unknown key 'zone'; did you mean 'zones'"),
        ("film: film.mp4\n", "", "the key 'film' is missing"),
        ("film.mp4", "flim.mp4", "film: there is no file or folder"),
        ("film.mp4", "images", "fps: is missing; a folder of images"),
        ("hfov_deg: 60", "fps: 10", "fps: a video or a bag has its own times"),
        ("hfov_deg: 60\n", "", "conditions[1].distance: needs hfov_deg"),
        ("hfov_deg: 60", "hfov_deg: 360", "hfov_deg: 360 must be a number from 1 to 170"),
        ("hfov_deg: 60", "hfov_deg: .nan", "hfov_deg: nan must be a number"),
        ("hfov_deg: 60", "hfov_deg: true", "hfov_deg: True must be a number"),
        ("pass_rate: 0.9\n", "pass_rate: 90\n", "pass_rate: 90 must be a number from 0.01 to 1"),
        ("pass_rate: 0.9\n", "pass_rate: 0\n", "pass_rate: 0 must be a number from 0.01 to 1"),
        ("max_ids: 3", "max_ids: 2.5", "max_ids: 2.5 must be a whole number"),
        ("found: walker", "found: wlaker", "no person 'wlaker'; did you mean 'walker'?"),
        ("empty: door", "empty: wall", "there is no zone 'wall'. The file has: door, corner."),
        ("found: walker", "found: walker\n    empty: door", "give exactly one of found, dist"),
        ("found: walker", "found: walker\n    tolerance: 1", "unknown key 'tolerance'"),
        ("at_s: 2, box", "at_s: 0, box", "people.walker[1]: 0 s is not after 0 s before it"),
        ("until_s: 5, box", "until_s: 3, box", "people.walker[3]: until_s must be after from_s"),
        ("[5, 5, 15, 25]", "[5, 5, 5, 25]", "[5, 5, 5, 25] is empty"),
        ("[5, 5, 15, 25]", "[5, 5, 15]", "must be [x_min, y_min, x_max, y_max]"),
        ("[100, 0, 150, 200]", "[[0, 0], [1, 1]]", "at least three corners"),
        ("distance_m: 3}", "}", "people.walker: a box has no distance_m"),
        ("at_s: 2, box: [20, 0, 30, 20]", "at_s: 2, box: [2, 0, 3, 2], until_s: 3", "give at_s"),
        ("    - {at_s: 2, box: [20, 0, 30, 20], distance_m: 2}\n", "", "no neighbour to move to"),
        ("hfov_deg: 60\n", "hfov_deg: 60\nhfov_deg: 70\n", "the key 'hfov_deg' comes twice"),
        ("[5, 5, 15, 25]", "[5, 5, 15, 25", "the file is not valid YAML"),
        ("film: film.mp4", "film: !!python/object/apply:os.getcwd []", "not valid YAML"),
        ("until_s: 2\n", "until_s: 1\n", "conditions[3]: until_s must be after from_s"),
        ("known_failure: a coat hangs there", "known_failure: true", "True must be a text"),
        ("{decode.min_score: 0.5}", "[1]", "parameters: must be a mapping"),
        ("decode.min_score: 0.5", "engine.cache_dir: x", "'engine.cache_dir' is none of window.*"),
        ("film: film.mp4", "film: ~no_such_user/film.mp4", "film: '~no_such_user/film.mp4'"),
        ("film: film.mp4", 'film: "a\\nb.mp4"', "film: there is no file or folder"),
        ("film: film.mp4", "film: 5", "film: 5 must be a text"),
        ("  corner:", '  "a\\nb":', "is no name"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    folder: Path, old: str, new: str, words: str
) -> None:
    assert old in VALID
    with pytest.raises(ScenarioError) as error:
        read(folder, VALID.replace(old, new, 1))
    assert str(folder / "site.yaml") in str(error.value) and words in str(error.value)
    assert len(str(error.value)) < 600 and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "- 1\n", "hello\n", "conditions: []\nfilm: film.mp4\n", "\0"])
def test_other_files_are_refused(folder: Path, text: str) -> None:
    with pytest.raises(ScenarioError):
        read(folder, text)


def test_a_bomb_of_aliases_and_a_huge_file_are_refused_at_once(folder: Path) -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    with pytest.raises(ScenarioError, match="unknown key"):
        read(folder, "a0: &a0 [x, x]\n" + "\n".join(levels))
    with pytest.raises(ScenarioError, match="not valid YAML"):
        read(folder, "film: " + "[" * 3_000)
    with pytest.raises(ScenarioError, match="more than"):
        read(folder, "#" * 1_000_001)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.floats(), max_size=5),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(seed=st.integers(0, 2**32), value=VALUES)
def test_any_value_in_any_place_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, seed: int, value: Any
) -> None:
    folder = tmp_path_factory.getbasetemp() / "mutated"
    folder.mkdir(exist_ok=True)
    (folder / "film.mp4").write_bytes(b"")
    tree = yaml.safe_load(VALID)
    rng = random.Random(seed)
    place: Any = tree
    while True:
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.2:
            break
        place = place[key]
    place[key] = value
    try:
        assert read(folder, yaml.safe_dump(tree, allow_unicode=True)).conditions
    except ScenarioError as error:
        assert "\n" not in str(error)


def test_a_film_with_spaces_in_its_name_is_found(folder: Path) -> None:
    (folder / "my  film.mp4").write_bytes(b"")
    assert read(folder, VALID.replace("film.mp4", '"my  film.mp4"')).film.name == "my  film.mp4"


def test_random_bytes_are_no_scenario(folder: Path) -> None:
    rng = random.Random(1)
    for _ in range(50):
        text = "".join(rng.choice(string.printable) for _ in range(rng.randint(0, 80)))
        with pytest.raises(PerceptionError):
            read(folder, text)


def test_a_wrong_name_is_answered_with_the_nearest_shipped_one(tmp_path: Path) -> None:
    assert find_scenario("street").name == "street.yaml"
    with pytest.raises(ScenarioError, match="did you mean 'street'"):
        find_scenario("steet")
    with pytest.raises(ScenarioError, match="is a folder"):
        find_scenario(str(tmp_path))


def test_six_scenarios_ship_and_are_valid() -> None:
    scenarios = [read_scenario(path) for path in shipped_scenarios()]
    assert len(scenarios) == 6
    for scenario in scenarios:
        assert scenario.description and scenario.film.is_file()
        assert scenario.film.name == "street.mp4" or scenario.film.stat().st_size < 400_000
