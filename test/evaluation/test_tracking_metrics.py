# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Identity switches, jitter and left-right swaps from frame to frame."""

from dataclasses import replace

import numpy as np
import pytest
from perceived import a_flat_body

from thfm_ros.evaluation.matching import GroundTruthPerson, ImageMatches, Match
from thfm_ros.evaluation.tracking_metrics import tracking_scores
from thfm_ros.metrics import pose as metrics
from thfm_ros.metrics.score import Score
from thfm_ros.skeleton import FLIP_PAIRS, Joint


def tracked(ids: list[str], noise: float = 0.0, move: float = 0.0) -> list[ImageMatches]:
    """One person of 100 pixels, detected frame by frame under these ids."""
    rng = np.random.default_rng(0)
    keypoints, box = rng.uniform(0, 100, (len(Joint), 2)), np.array([0.0, 0, 100, 100])
    labelled = np.ones(len(Joint), bool)
    found = []
    for frame, body_id in enumerate(ids):
        truth = keypoints + frame * move
        predicted = truth + 9 + rng.normal(0, noise, truth.shape)
        person = GroundTruthPerson(7, box, 5e3, truth, labelled, ignore=False)
        body = a_flat_body(body_id, [0, 0, 100, 100], predicted)
        pairs = (Match(0, 0),)
        found.append(ImageMatches(0, 300, 200, (person,), (body,), pairs, (), Score(np.nan)))
    return found


def test_a_new_id_of_the_same_person_is_an_identity_switch() -> None:
    scores = tracking_scores(tracked(["a", "a", "b", "b", "b"]))
    assert scores.steps == 4 and scores.id_switches == Score(0.25, 0.0)
    assert np.isnan(tracking_scores(tracked(["a"])).id_switches.value)
    # Frames of different clips are not compared.
    first, second = tracked(["a", "b"])
    assert tracking_scores([first, replace(second, clip=1)]).steps == 0


def test_jitter_is_the_change_of_the_error_of_people_who_stand_still() -> None:
    ids = ["a"] * 30
    assert tracking_scores(tracked(ids)).jitter.value == pytest.approx(0, abs=1e-6)
    # Two axes of 3 pixels each, of 100.
    shaky = tracking_scores(tracked(ids, 3.0))
    assert shaky.jitter.value == pytest.approx(0.03 * 2**0.5, rel=0.1)
    assert shaky.still_steps == 29
    assert tracking_scores(tracked(ids, move=2.0)).still_steps == 0


def test_swapped_pairs_are_found_where_they_can_be_decided() -> None:
    truth = np.random.default_rng(1).uniform(0, 100, (1, len(Joint), 2))
    truth[0, Joint.LEFT_KNEE] = truth[0, Joint.RIGHT_KNEE] + 1  # one behind the other
    labelled = np.ones((1, len(Joint)), bool)
    labelled[0, Joint.LEFT_WRIST] = False
    flipped = truth[:, list(FLIP_PAIRS)]
    swapped, decidable = metrics.swapped_pairs(flipped, truth, labelled)
    names = {
        left.name
        for (left, _), known in zip(metrics.LIMB_PAIRS, decidable[0], strict=True)
        if known
    }
    assert names <= {"LEFT_SHOULDER", "LEFT_ELBOW", "LEFT_HIP", "LEFT_ANKLE"} and len(names) >= 3
    np.testing.assert_array_equal(swapped, decidable)
    assert not metrics.swapped_pairs(truth, truth, labelled)[0].any()


def test_the_baseline_of_swaps_takes_all_people_to_face_the_camera() -> None:
    truth = np.zeros((2, len(Joint), 2))
    truth[:, Joint.NOSE, 1] = 100
    left, right = np.array(metrics.LIMB_PAIRS).T
    truth[0, left, 0] = truth[1, right, 0] = 10  # the first faces the camera, the second does not
    labelled = np.ones((2, len(Joint)), bool)
    np.testing.assert_allclose(metrics.frontal_offset(truth, labelled), [0.1, -0.1])
    frontal = metrics.sides_as_if_frontal(truth, labelled)
    assert (frontal[:, left, 0] == 10).all() and (frontal[:, right, 0] == 0).all()
    labelled[:, [Joint.LEFT_SHOULDER, Joint.RIGHT_HIP]] = False
    assert np.isnan(metrics.frontal_offset(truth, labelled)).all()
