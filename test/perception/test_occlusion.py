# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Whom the crops of people show who pass one another."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from a_detection import a_detection

from thfm_ros.perception.decoding import Detection
from thfm_ros.perception.image_motion import Surprise
from thfm_ros.perception.occlusion import Explanations, one_person, shown_people

HERE, BESIDE, AWAY = a_detection(0.0), a_detection(0.15), a_detection(1.2)
ASIDE = np.array([0.6, 0.0, 0.0])


def explained(
    distances: Mapping[str, float], clothes: Mapping[str, float] | None = None
) -> Explanations:
    """Each track is so far from all detections, and its clothes speak so much for them."""
    return Explanations(
        lambda track_id, _: Surprise(distances[track_id], distances[track_id] / 2),
        lambda track_id, _: (clothes or {}).get(track_id, 0.0),
    )


@pytest.mark.parametrize(
    ("distances", "clothes", "keeps"),
    [
        ({"old": 4.0, "new": 1.0}, {}, "new"),
        ({"old": 1.0, "new": 4.0}, {}, "old"),
        ({"old": 2.0, "new": 2.0}, {}, "old"),
        ({"old": 2.0, "new": 3.0}, {"old": -10.0, "new": 10.0}, "new"),
        ({"old": 2.0, "new": 24.0}, {"old": -10.0, "new": 10.0}, "old"),
    ],
)
def test_one_person_in_two_crops_is_whom_motion_and_clothes_explain_better(
    distances: dict[str, float], clothes: dict[str, float], keeps: str
) -> None:
    tracked = {"old": HERE, "new": HERE}
    assert list(shown_people(tracked, explained(distances, clothes))) == [keeps]


def test_two_people_whose_pelvises_differ_stay_two_though_one_mask_spans_both() -> None:
    assert one_person(HERE, HERE)
    both = replace(BESIDE, root_m=HERE.root_m + ASIDE)
    assert not one_person(HERE, both)
    assert one_person(HERE, replace(HERE, root_m=np.full(3, np.nan)))
    kept = shown_people({"a": HERE, "b": both}, explained({"a": 1.0, "b": 1.0}))
    assert list(kept) == ["a", "b"]


def distances_to(own: float, other: float) -> Explanations:
    """Of the detection in the crop of "a", to "a" and to "b"; "b" explains its own."""

    def motion(track_id: str, detection: Detection) -> Surprise:
        if detection is BESIDE:
            return Surprise(0.0, 0.0)
        return Surprise(own, own / 2) if track_id == "a" else Surprise(other, other / 2)

    return Explanations(motion, lambda _, __: 0.0)


def test_who_cannot_have_moved_to_a_detection_that_another_explains_is_hidden() -> None:
    tracked = {"a": replace(HERE, root_m=HERE.root_m + ASIDE), "b": BESIDE}
    assert list(shown_people(tracked, distances_to(60.0, 5.0))) == ["b"]
    assert list(shown_people(tracked, distances_to(10.0, 5.0))) == ["a", "b"]


def test_when_the_camera_moves_everyone_is_far_off_and_no_one_hidden() -> None:
    tracked = {"a": replace(HERE, root_m=HERE.root_m + ASIDE), "b": BESIDE}
    assert list(shown_people(tracked, distances_to(60.0, 90.0))) == ["a", "b"]


def test_who_overlaps_no_one_is_shown_however_they_moved() -> None:
    tracked = {"a": AWAY, "b": BESIDE}
    assert list(shown_people(tracked, distances_to(500.0, 5.0))) == ["a", "b"]
