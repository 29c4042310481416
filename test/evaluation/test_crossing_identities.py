# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Ids of rendered people who pass one another: who counts, and what the table says."""

from pathlib import Path

import numpy as np
import pytest

from thfm_ros.contract import PerceptionError
from thfm_ros.evaluation.crossing_identities import (
    Crossing,
    annotated,
    crossings,
    main,
    report,
    scores_of,
)
from thfm_ros.evaluation.film_identities import TrackedFilm

FRAMES = 20


def a_crossing(hidden: range = range(9, 12)) -> Crossing:
    """Two people pass; the second one is hidden for some frames."""
    x = np.linspace(0, 300, FRAMES)
    zeros = np.zeros(FRAMES)
    first = np.stack([x, zeros + 50, x + 60, zeros + 200], axis=1)
    second = np.stack([300 - x, zeros + 60, 350 - x, zeros + 180], axis=1)
    visible = np.full((FRAMES, 2), 4000)
    visible[hidden, 1] = 500
    return Crossing(Path("crossing_00.mp4"), annotated(np.stack([first, second], 1), visible))


def a_film(crossing: Crossing, *, swapped: bool = False) -> TrackedFilm:
    """Perfect boxes; the ids may be swapped in the middle."""
    names = {False: ("a", "b"), True: ("b", "a")}
    frames = [
        {
            names[swapped and index >= 10][person.track_id]: person.box
            for person in people
            if not person.ignore
        }
        for index, people in enumerate(crossing.people)
    ]
    return TrackedFilm(frames, FRAMES / 600)


def test_people_of_whom_little_is_visible_are_ignored_and_those_out_of_view_left_out() -> None:
    people = a_crossing().people
    assert [each.ignore for each in people[0]] == [False, False]
    assert [each.ignore for each in people[10]] == [False, True]
    gone = annotated(np.ones((2, 1, 4)), np.array([[100], [0]]))
    assert [len(each) for each in gone] == [1, 0]


def test_the_table_tells_ids_that_were_kept_from_ids_that_were_swapped() -> None:
    scenes = [a_crossing(), a_crossing(range(0))]
    kept = [a_film(each) for each in scenes]
    mixed = [a_film(scenes[0]), a_film(scenes[1], swapped=True)]
    text = report({"kept": kept, "swapped": mixed}, scenes)
    assert "| kept | 1.000 | 1.000 | 1.000 | 1.000 | 0 | 0 | 4 / 4 |" in text
    assert "| swapped | 0.740 | 0.740 | 1.000 | 1.000 | 2 |" in text


def test_equal_ids_of_two_films_are_not_one() -> None:
    scenes = [a_crossing(), a_crossing()]
    scores = scores_of([a_film(each) for each in scenes], scenes)
    assert scores.idf1 == 1 and scores.switches == 0


def test_films_are_chosen_by_number_and_damage_is_told(tmp_path: Path) -> None:
    for number in (3, 12):
        boxes, visible = np.ones((2, 1, 4)), np.ones((2, 1), int)
        np.savez(tmp_path / f"crossing_{number:02d}.npz", boxes=boxes, visible_px=visible)
    assert [each.path.name for each in crossings(tmp_path, 10, 20)] == ["crossing_12.mp4"]
    with pytest.raises(PerceptionError, match=r"synth\.crossings"):
        crossings(tmp_path, 4, 12)
    (tmp_path / "crossing_05.npz").write_bytes(b"PK damaged")
    with pytest.raises(PerceptionError, match=r"crossing_05.*Render it"):
        crossings(tmp_path, 4, 12)


def test_a_missing_folder_ends_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sys.argv", ["crossing_identities", str(tmp_path / "none")])
    assert main() == 2
