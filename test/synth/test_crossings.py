# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Films of people who pass one another."""

import numpy as np
import pytest

from thfm_ros.synth import crossings, scenario_films
from thfm_ros.synth.crossings import render_crossing, visible_boxes
from thfm_ros.synth.scene.asset_choices import AssetChoices


def test_boxes_contain_the_visible_pixels_of_each_person() -> None:
    instances = np.zeros((20, 30), int)
    instances[4:9, 3:12] = 1
    instances[6:15, 10:14] = 3
    boxes, counts = visible_boxes(instances, 3)
    np.testing.assert_array_equal(boxes, [[3, 4, 12, 9], [0, 0, 0, 0], [10, 6, 14, 15]])
    np.testing.assert_array_equal(counts, [5 * 9 - 6, 0, 36])


def test_two_people_walk_past_each_other(
    choices: AssetChoices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenario_films, "SIZE", (96, 72))
    monkeypatch.setattr(crossings, "FRAMES", 12)
    images, frames = render_crossing(1, choices)
    assert len(images) == 12 and images[0].shape == (72, 96, 3)
    boxes = np.array([visible_boxes(each.labels.instances, 2)[0] for each in frames])
    seen = boxes[:, :, 2] > 0
    middles = (boxes[:, :, 0] + boxes[:, :, 2]) / 2
    first, second = (middles[seen[:, person], person] for person in (0, 1))
    assert np.sign(first[-1] - first[0]) == -np.sign(second[-1] - second[0]) != 0
