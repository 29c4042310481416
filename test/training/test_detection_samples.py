# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Detection samples: targets that are read back to the boxes, and what images are made of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.model.detection import STRIDE
from thfm_ros.training import detection_samples
from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.detection_samples import (
    MIN_SIDE,
    DetectionSample,
    DetectionTargets,
    composed_detection,
    detection_targets,
    finished,
    rendered_detection,
)
from thfm_ros.training.people_sources import PeopleSource
from thfm_ros.training.shard_store import Store

SIZE = (160, 96)
Box = tuple[int, int, int, int]


def instances_of(*boxes: Box) -> np.ndarray:
    """A map of SIZE with filled boxes, in pixels; later ones are in front."""
    instances = np.zeros(SIZE[::-1], np.uint8)
    for number, (x0, y0, x1, y1) in enumerate(boxes, start=1):
        instances[y0:y1, x0:x1] = number
    return instances


def read_back(targets: DetectionTargets) -> list[list[float]]:
    """The boxes in pixels at all cells that are centres."""
    boxes = []
    for row, column in np.argwhere(targets.centres == 1):
        left, top, right, bottom = targets.edges[:, row, column] * STRIDE
        x, y = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
        boxes.append([x - left, y - top, x + right, y + bottom])
    return sorted(boxes)


@given(
    x=st.integers(0, 140), y=st.integers(0, 70), wide=st.integers(4, 150), tall=st.integers(10, 90)
)
def test_the_targets_of_one_person_are_its_box(x: int, y: int, wide: int, tall: int) -> None:
    box = (x, y, min(x + wide, SIZE[0]), min(y + tall, SIZE[1]))
    targets = detection_targets(instances_of(box))
    np.testing.assert_allclose(read_back(targets), [box], atol=1e-4)
    assert targets.positive[targets.centres == 1].all()
    assert not targets.ignored.any()


def test_all_positive_cells_of_a_person_have_the_edges_of_the_same_box() -> None:
    targets = detection_targets(instances_of((20, 8, 100, 90)))
    assert targets.positive.sum() > 3
    for row, column in np.argwhere(targets.positive):
        left, top, right, bottom = targets.edges[:, row, column]
        box = np.array(
            [column + 0.5 - left, row + 0.5 - top, column + 0.5 + right, row + 0.5 + bottom]
        )
        np.testing.assert_allclose(box * STRIDE, [20, 8, 100, 90], atol=1e-4)


def test_neighbours_keep_their_own_boxes() -> None:
    left, right = (16, 10, 56, 90), (64, 10, 104, 90)
    np.testing.assert_allclose(
        read_back(detection_targets(instances_of(left, right))), [left, right], atol=1e-4
    )


def test_a_child_in_front_of_an_adult_keeps_its_box() -> None:
    adult, child = (40, 4, 104, 94), (64, 40, 80, 90)
    targets = detection_targets(instances_of(adult, child))
    row, column = (40 + 90) // 2 // STRIDE, (64 + 80) // 2 // STRIDE
    left, top, right, bottom = targets.edges[:, row, column] * STRIDE
    assert (left + right, top + bottom) == pytest.approx((16, 50))


def test_a_box_is_that_of_the_visible_pixels() -> None:
    behind, in_front = (20, 10, 60, 90), (40, 10, 100, 90)
    boxes = read_back(detection_targets(instances_of(behind, in_front)))
    np.testing.assert_allclose(boxes, [(20, 10, 40, 90), in_front], atol=1e-4)


def test_too_small_people_are_ignore_regions() -> None:
    small, large = (17, 17, 22, 17 + MIN_SIDE - 1), (80, 10, 120, 90)
    targets = detection_targets(instances_of(small, large))
    np.testing.assert_allclose(read_back(targets), [large], atol=1e-4)
    assert targets.ignored.sum() == 2 and targets.ignored[2:4, 2].all()


def test_the_centre_of_a_large_person_is_not_ignored() -> None:
    large, small = (40, 8, 88, 88), (64, 48, 68, 52)
    targets = detection_targets(instances_of(large, small))
    assert not targets.ignored[targets.centres == 1].any()


def test_an_image_without_people_has_no_targets() -> None:
    targets = detection_targets(instances_of())
    assert not targets.centres.any() and not targets.positive.any() and not targets.ignored.any()


def check(sample: DetectionSample) -> None:
    """Shapes, and that all labels are where the people are."""
    cells = (SIZE[1] // STRIDE, SIZE[0] // STRIDE)
    assert sample.image.shape == (SIZE[1], SIZE[0], 3) and sample.image.dtype == np.uint8
    assert sample.targets.edges.shape == (4, *cells)
    assert (sample.targets.centres[sample.targets.positive] > 0.5).all()


@pytest.fixture(scope="module")
def people(store: Store) -> PeopleSource:
    return PeopleSource(store)


def test_a_rendered_image_has_the_box_of_its_person(store: Store) -> None:
    for seed in range(12):
        sample = rendered_detection(store, np.random.default_rng(seed), SIZE)
        check(sample)
        assert len(read_back(sample.targets)) == 1


def test_composed_images_have_as_many_boxes_as_visible_people(
    people: PeopleSource, backgrounds: Backgrounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def watched(
        image: np.ndarray, instances: np.ndarray, rng: np.random.Generator
    ) -> DetectionSample:
        seen.append(instances)  # letterbox bars are drawn into it
        return finished(image, instances, rng)

    monkeypatch.setattr(detection_samples, "finished", watched)
    counts = []
    for seed in range(40):
        sample = composed_detection(people, backgrounds, np.random.default_rng(seed), SIZE)
        check(sample)
        visible = np.unique(seen[-1][seen[-1] > 0])
        counts.append(len(visible))
        assert len(read_back(sample.targets)) <= len(visible)
        if not len(visible):
            assert not sample.targets.centres.any()
    assert max(counts) >= 3 and min(counts) == 0


def test_a_plain_image_is_a_place_with_people_and_nothing_else(
    people: PeopleSource, backgrounds: Backgrounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("something else was drawn")

    monkeypatch.setattr(detection_samples, "PLAIN_SHARE", 1.0)
    monkeypatch.setattr(detection_samples, "COUNTER_SHARE", 0.0)
    monkeypatch.setattr(detection_samples, "with_pasted_objects", refused)
    monkeypatch.setattr(backgrounds, "draw", refused)
    boxes = 0
    for seed in range(10):
        sample = composed_detection(people, backgrounds, np.random.default_rng(seed), SIZE)
        boxes += len(read_back(sample.targets))
    assert boxes


def test_a_counter_shortens_the_boxes_of_those_behind_it(
    people: PeopleSource, backgrounds: Backgrounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection_samples, "PLAIN_SHARE", 1.0)
    monkeypatch.setattr(detection_samples, "CLOSE_UP_SHARE", 0.0)

    def areas(share: float) -> list[float]:
        monkeypatch.setattr(detection_samples, "COUNTER_SHARE", share)
        images = [
            composed_detection(people, backgrounds, np.random.default_rng(seed), SIZE)
            for seed in range(20)
        ]
        return [float(image.targets.positive.sum()) for image in images]

    behind, free = areas(1.0), areas(0.0)
    assert sum(behind) < 0.9 * sum(free)


def test_a_close_up_of_a_rendered_person_has_a_box_that_the_image_cuts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection_samples, "CLOSE_UP_SHARE", 1.0)
    tall = 0
    for seed in range(12):
        sample = rendered_detection(store, np.random.default_rng(seed), SIZE)
        check(sample)
        for box in read_back(sample.targets):
            assert min(box) >= -0.01 and box[2] <= SIZE[0] + 0.01 and box[3] <= SIZE[1] + 0.01
            tall += box[3] - box[1] >= 0.7 * SIZE[1]
    assert tall >= 6
