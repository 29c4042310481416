# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The annotated street: its annotations, and the tables of ids."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
from perceived import a_body, a_perception

from thfm_ros.config import Config, WindowConfig
from thfm_ros.contract import Clip, Perception, PerceptionError, Task, TrackState
from thfm_ros.evaluation import film_identities
from thfm_ros.evaluation.film_identities import (
    CLIP,
    CLIP_BEGIN,
    SIZE,
    TrackedFilm,
    main,
    read_annotations,
    report,
    tracked_film,
)
from thfm_ros.evaluation.identity_causes import (
    ABSENT,
    ALONE,
    BEHIND_SIGN,
    OVERLAP,
    cause_of,
    cause_table,
)
from thfm_ros.evaluation.identity_metrics import IdentityEvent, Outcome
from thfm_ros.evaluation.matching import GroundTruthPerson
from thfm_ros.loading import Pipeline
from thfm_ros.media.video import Video, VideoFrame

FRAMES = range(0, 795, 10)


def test_every_tenth_frame_is_annotated_and_each_person_at_most_once() -> None:
    people = read_annotations()
    assert sorted(people) == list(FRAMES)
    for frame in people.values():
        numbers = [each.track_id for each in frame]
        assert len(numbers) == len(set(numbers))
    everyone = {each.track_id for frame in people.values() for each in frame}
    assert everyone == set(range(1, 13))


def test_annotated_boxes_lie_in_the_image_and_small_people_are_ignored() -> None:
    for each in itertools.chain(*read_annotations().values()):
        x_min, y_min, x_max, y_max = each.box
        assert 0 <= x_min < x_max <= SIZE[0] and 0 <= y_min < y_max <= SIZE[1]
        assert each.ignore or y_max - y_min >= 20


def test_annotated_people_move_no_further_than_people_can() -> None:
    people = read_annotations()
    for first, second in itertools.pairwise(FRAMES):
        before = {each.track_id: each.box for each in people[first]}
        for each in people[second]:
            if each.track_id in before:
                sides = [box[3] - box[1] for box in (before[each.track_id], each.box)]
                shift = np.abs(before[each.track_id] - each.box)[[0, 2]].min()
                assert shift < 2 * max(sides), (first, each.track_id)


def test_the_annotations_are_of_the_frames_of_the_clip() -> None:
    images = [each.rgb.astype(np.int16) for each in itertools.islice(Video(CLIP), 0, None, 10)]
    assert len(images) == 20
    background = np.median(images, axis=0)
    people = read_annotations()
    shares = []
    for number, image in enumerate(images):
        moved = np.abs(image - background).max(axis=2) > 80
        inside = np.zeros(moved.shape, bool)
        for each in people[CLIP_BEGIN + 10 * number]:
            x_min, y_min, x_max, y_max = each.box.astype(int)
            inside[y_min:y_max, x_min:x_max] = True
        shares.append(moved[inside].sum() / moved.sum())
    assert min(shares) > 0.9  # 0.7 and less with the boxes of a frame ten earlier or later


def a_tracked_film(begin: int = 0, length: int = 795) -> TrackedFilm:
    """Everyone with their own id in the annotated frames, no one in the others."""
    people = read_annotations()
    frames = [
        {f"p{each.track_id}": each.box for each in people.get(number, [])}
        for number in range(begin, begin + length)
    ]
    return TrackedFilm(frames, length / 600)


def test_the_tables_show_all_trackers_and_a_perfect_one_has_no_errors() -> None:
    film = a_tracked_film()
    text = report({"perfect": film, "IoU alone": film.linked_by_iou()}, read_annotations(), 0)
    assert "80 of them annotated, with 12 people in 483 boxes" in text
    assert "| perfect | 1.000 | 1.000 | 1.000 | 1.000 | 1.000 | 1.000 | 0 | 0 |" in text
    assert "| perfect | 14 / 0 / 0 | 0 / 0 / 0 | 0 | 12 | 9.1 |" in text
    assert "| IoU alone | 0 / 14 / 0 |" in text
    assert "* frame" not in text


def test_the_clip_is_measured_with_the_annotations_from_its_first_frame_on() -> None:
    film = a_tracked_film(CLIP_BEGIN, 200)
    scores = film.scores(read_annotations(), CLIP_BEGIN)
    assert (scores.idf1, scores.recall) == (1, 1)
    shifted = a_tracked_film(CLIP_BEGIN - 10, 200).scores(read_annotations(), CLIP_BEGIN)
    assert shifted.recall < 0.3


class TwoPeople:
    """Stands for the pipeline: one person is tracked, others are tentative, lost, or predicted."""

    config = Config()

    def step(self, clip: Clip, tasks: frozenset[Task]) -> Perception:
        states = {"aaaaa": TrackState.TRACKED, "bbbbb": TrackState.TENTATIVE,
                  "ccccc": TrackState.LOST, "ddddd": TrackState.PREDICTED}  # fmt: skip
        return a_perception(*(a_body(name, state=state) for name, state in states.items()))


class ShortFilm:
    """Three images of which the second has the time of the first, and is left out."""

    width, height, length, fps, one_clip = 64, 48, 3, 10.0, True

    def __iter__(self) -> Iterator[VideoFrame]:
        for index, stamp_ns in enumerate((0, 0, 100_000_000)):
            yield VideoFrame(np.zeros((48, 64, 3), np.uint8), index, stamp_ns, "")

    def window(self, config: WindowConfig) -> WindowConfig:
        return config


def test_only_confirmed_people_who_are_detected_count_and_frames_keep_their_numbers() -> None:
    film = tracked_film(cast(Pipeline, TwoPeople()), ShortFilm(), frozenset({Task.BODIES}))
    assert [list(each) for each in film.frames] == [["aaaaa"], [], ["aaaaa"]]
    assert film.frames[0]["aaaaa"].tolist() == [20, 4, 50, 44]
    assert (film.ids, film.minutes) == ({"aaaaa"}, 3 / 600)


def test_a_film_of_another_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    image = tmp_path / "small.png"
    cv2.imwrite(str(image), np.zeros((48, 64, 3), np.uint8))
    monkeypatch.setattr("sys.argv", ["film_identities", "--film", str(image)])
    assert main() == 2
    assert "64x48 pixels, but the annotated film 768x576" in caplog.text


def test_the_tables_of_the_clip_are_written_into_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    page = tmp_path / "page.md"
    monkeypatch.setattr("sys.argv", ["film_identities", "--page", str(page)])
    films = {"perfect": a_tracked_film(CLIP_BEGIN, 200)}
    monkeypatch.setattr(film_identities, "all_trackers", lambda *_: films)
    assert main() == 2 and "There is no page" in caplog.text
    page.write_text("<!-- clip: begin -->\n<!-- clip: end -->\n")
    assert main() == 0
    assert "200 frames, 20.0 s; 20 of them annotated, with 8 people" in page.read_text()
    assert "| perfect | 1.000 | 1.000 |" in page.read_text()


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "boxes.csv"
    file.write_text("frame,id\n0,1\n")
    with pytest.raises(PerceptionError, match="must have the columns frame, person"):
        read_annotations(file)
    file.write_text("frame,person,x_min,y_min,x_max,y_max,ignored\n0,1,2,3,x,5,0\n")
    with pytest.raises(PerceptionError, match="cannot be read as annotations"):
        read_annotations(file)
    with pytest.raises(PerceptionError, match="cannot be read as annotations"):
        read_annotations(tmp_path / "missing.csv")


def at(x: float, number: int, y: float = 300) -> GroundTruthPerson:
    box = np.array([x, y, x + 30, y + 80], float)
    return GroundTruthPerson(number, box, 1.0, np.zeros((0, 2)), np.zeros(0, bool), False)


@pytest.mark.parametrize(
    ("since", "frame", "cause"),
    [(0, 10, ALONE), (10, 20, OVERLAP), (20, 40, ABSENT), (40, 50, BEHIND_SIGN)],
)
def test_the_cause_of_a_wrong_id_is_what_happened_since_the_last_match(
    since: int, frame: int, cause: str
) -> None:
    people = {0: [at(0, 1)], 10: [at(20, 1), at(100, 2)], 20: [at(40, 1), at(60, 2)],
              30: [at(60, 2)], 40: [at(100, 1)], 50: [at(430, 1, y=180)]}  # fmt: skip
    event = IdentityEvent(frame, 1, Outcome.REFUSED, "b", "a", since)
    assert cause_of(event, people) == cause
    assert f"| {cause} | 0 | 1 | 0 |" in cause_table([event], people)
