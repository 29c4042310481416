"""From frame to frame: names that change, joints that tremble, sides that are exchanged."""

from dataclasses import replace

import numpy as np
import pytest
from perceived import a_flat_body

from thfm_ros.evaluation.matching import ImageMatches, Person
from thfm_ros.evaluation.tracking_metrics import over_time
from thfm_ros.metrics import pose as metrics
from thfm_ros.skeleton import FLIP_PAIRS, Joint


def followed(names: list[str], noise: float = 0.0, move: float = 0.0) -> list[ImageMatches]:
    """One person of 100 pixels, frame by frame under these names."""
    rng = np.random.default_rng(0)
    joints, box = rng.uniform(0, 100, (len(Joint), 2)), np.array([0.0, 0, 100, 100])
    found = []
    for frame, name in enumerate(names):
        there = joints + frame * move
        person = Person(7, box, 5e3, there, np.ones(len(Joint), bool), True)
        said = there + 9 + rng.normal(0, noise, there.shape)
        pair = ((0, 0),)
        seen = (a_flat_body(name, [0, 0, 100, 100], said),)
        found.append(ImageMatches(0, 200, (person,), seen, pair, (), np.nan, np.nan))
    return found


def test_a_new_name_for_the_same_person_is_a_switch() -> None:
    scores = over_time(followed(["a", "a", "b", "b", "b"]))
    assert scores["followed"] == 4 and scores["switches"] == 0.25
    assert scores["switches_by_place"] == 0.0
    assert np.isnan(over_time(followed(["a"]))["switches"])
    # Frames of different clips have nothing to do with each other.
    first, second = followed(["a", "b"])
    assert over_time([first, replace(second, clip=1)])["followed"] == 0


def test_jitter_is_what_changes_in_the_error_of_somebody_who_stands_still() -> None:
    names = ["a"] * 30
    assert over_time(followed(names))["jitter"] == pytest.approx(0, abs=1e-6)
    # Two axes of 3 pixels each, of 100.
    assert over_time(followed(names, 3.0))["jitter"] == pytest.approx(0.03 * 2**0.5, rel=0.1)
    assert over_time(followed(names, 3.0))["still"] == 29
    assert over_time(followed(names, move=2.0))["still"] == 0


def test_pairs_that_fit_better_exchanged_are_swaps_where_that_can_be_seen() -> None:
    truth = np.random.default_rng(1).uniform(0, 100, (1, len(Joint), 2))
    truth[0, Joint.LEFT_KNEE] = truth[0, Joint.RIGHT_KNEE] + 1  # one behind the other
    labelled = np.ones((1, len(Joint)), bool)
    labelled[0, Joint.LEFT_WRIST] = False
    mirrored = truth[:, list(FLIP_PAIRS)]
    exchanged, decidable = metrics.exchanged_pairs(mirrored, truth, labelled)
    here = [
        left.name for (left, _), known in zip(metrics.PAIRS, decidable[0], strict=True) if known
    ]
    assert set(here) <= {"LEFT_SHOULDER", "LEFT_ELBOW", "LEFT_HIP", "LEFT_ANKLE"} and len(here) >= 3
    np.testing.assert_array_equal(exchanged, decidable)
    assert not metrics.exchanged_pairs(truth, truth, labelled)[0].any()


def test_the_baseline_of_swaps_names_everybody_as_if_they_faced_the_camera() -> None:
    truth = np.zeros((2, len(Joint), 2))
    truth[:, Joint.NOSE, 1] = 100
    left, right = np.array(metrics.PAIRS).T
    truth[0, left, 0] = truth[1, right, 0] = 10  # the first faces the camera, the second not
    labelled = np.ones((2, len(Joint)), bool)
    np.testing.assert_allclose(metrics.facing(truth, labelled), [0.1, -0.1])
    faced = metrics.as_if_facing(truth, labelled)
    assert (faced[:, left, 0] == 10).all() and (faced[:, right, 0] == 0).all()
    labelled[:, [Joint.LEFT_SHOULDER, Joint.RIGHT_HIP]] = False
    assert np.isnan(metrics.facing(truth, labelled)).all()
