# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The fit of the weights that join the evidence for a person."""

import numpy as np
from fake_engine import FakeEngine, Person, box_of, camera, image

from thfm_ros.config import config_from
from thfm_ros.evaluation.confirmation_fit import Example, Examples, Labelled, fit, table
from thfm_ros.perception.confirmation import Evidence

K = camera()


def test_the_weights_of_a_known_logistic_model_are_found() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal([1.0, -2.0], [3.0, 0.5], (20000, 2))
    labels = rng.random(20000) < 1 / (1 + np.exp(-(features @ [0.7, -1.5] - 2.0)))
    weights, bias = fit(features, labels)
    np.testing.assert_allclose([*weights, bias], [0.7, -1.5, -2.0], atol=0.15)


def test_examples_are_people_no_people_or_left_out() -> None:
    people = [Person(-1.0, 0.0, 4.0), Person(1.0, 0.0, 4.0), Person(0.0, 0.0, 5.0)]
    boxes = [box_of(person, K) for person in people]
    source = Examples(FakeEngine(K, lambda: people), config_from({}))
    found = list(source.of(7, Labelled(image(K), boxes[:1], boxes[1:2])))
    assert {each.person for each in found} == {0, -1}
    assert {each.image for each in found} == {7}
    assert len([each for each in found if each.person == -1]) == 1  # the third one


def test_the_table_counts_each_person_once_and_empty_images_apart() -> None:
    sure, doubtful = Evidence(*[0.99] * 4), Evidence(*[0.3] * 4)
    examples = [Example(0, sure, 0), Example(0, sure, 0), Example(0, sure, -1)]
    examples += [Example(0, doubtful, 1), Example(1, sure, -1), Example(2, doubtful, -1)]
    rows = table(examples, people=2, empty=range(1, 3))
    assert rows[2] == "| 0.5 | 0.500 | 0.500 | 0.500 |"
