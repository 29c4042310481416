# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Labels of photographs by the network itself."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_engine import FakeEngine, Person, box_of, camera, encoded_boxes, image, region_of

from thfm_ros.config import config_from
from thfm_ros.evaluation.pseudo_labels import (
    PseudoLabels,
    label_again,
    label_empty_image,
    label_image,
    main,
)
from thfm_ros.geometry import iou
from thfm_ros.model.outputs import DetectionOutputs, RawOutputs
from thfm_ros.perception.crop_stream import CropDetector

K = camera()
PEOPLE = [Person(-0.8, 0.0, 4.0), Person(0.8, 0.0, 4.0)]


class WithAnEmptyPlace(FakeEngine):
    """Proposes the people, and a place where there is none. In crops of the mirrored image it sees
    the mirrored world; ``only_as_it_is``: there it sees no one."""

    def __init__(self, people: list[Person], *, only_as_it_is: bool = False) -> None:
        super().__init__(K, lambda: people)
        mirrored = [] if only_as_it_is else [replace(each, x=-each.x) for each in people]
        self.mirror = FakeEngine(replace(K, cx=K.width - K.cx), lambda: mirrored)

    def detect(self, image: np.ndarray) -> DetectionOutputs:
        world, seen = self.world_of(image)
        region = region_of(seen, world.k)
        places = [box_of(each, world.k) for each in [*world.scene(), Person(0.0, 0.0, 4.0)]]
        corners = [(p.reshape(2, 2) - [region.offset_x, region.offset_y]) for p in places]
        boxes = [(each / region.scale).reshape(4) for each in corners]
        limits = [region.width, region.height] * 2
        inside = [each for each in boxes if (each >= 0).all() and (each <= limits).all()]
        return encoded_boxes(inside, region.width, region.height)

    def step(
        self,
        crop: np.ndarray,
        state: object | None,
        *,
        dense: bool,
        target_box: np.ndarray | None = None,
    ) -> tuple[RawOutputs, object]:
        world, seen = self.world_of(crop)
        if world is self:
            return super().step(seen, state, dense=dense, target_box=target_box)
        return world.step(seen, state, dense=dense, target_box=target_box)

    def world_of(self, crop: np.ndarray) -> tuple[FakeEngine, np.ndarray]:
        """The engine of the crop's world, and the crop with that world's colours."""
        rows, columns = np.nonzero(crop[..., 2] == 255)
        if np.corrcoef(columns, crop[rows, columns, 0])[0, 1] > 0:
            return self, crop
        seen = crop.copy()
        seen[rows, columns, 0] = 255 - seen[rows, columns, 0]
        return self.mirror, seen


def test_each_person_of_an_image_and_its_tiles_is_labelled_once() -> None:
    engine = WithAnEmptyPlace(PEOPLE)
    labels = label_image(image(K), engine, CropDetector(engine, config_from({})))
    assert len(labels.people) == 2
    for person in PEOPLE:
        assert max(iou(box_of(person, K), box) for box in labels.people) > 0.9


@pytest.mark.parametrize("people", [[], PEOPLE[:1]])
def test_a_place_without_a_person_is_not_labelled(people: list[Person]) -> None:
    engine = WithAnEmptyPlace(people)
    labels = label_image(image(K), engine, CropDetector(engine, config_from({})))
    assert len(labels.people) == len(people)


def test_a_person_whom_the_mirror_image_denies_is_ignored() -> None:
    engine = WithAnEmptyPlace(PEOPLE, only_as_it_is=True)
    labels = label_image(image(K), engine, CropDetector(engine, config_from({})))
    assert len(labels.people) == 0
    for person in PEOPLE:
        assert max(iou(box_of(person, K), box) for box in labels.ignored) > 0.5


def test_in_an_image_without_people_each_detection_is_a_hard_negative() -> None:
    engine = WithAnEmptyPlace(PEOPLE[:1])
    labels = label_empty_image(image(K), engine, CropDetector(engine, config_from({})))
    assert len(labels.people) == len(labels.ignored) == 0
    assert len(labels.false_positives) == 1
    assert iou(box_of(PEOPLE[0], K), labels.false_positives[0]) > 0.9


def test_boxes_of_an_earlier_run_are_verified_and_placed_anew() -> None:
    engine = WithAnEmptyPlace(PEOPLE)
    detector = CropDetector(engine, config_from({}))
    person, other = (box_of(each, K) for each in PEOPLE)
    rough = person + np.array([-12, 8, 10, 15], np.float32)
    empty = box_of(Person(0.0, 0.0, 4.0), K)
    faint = np.array([[1, 2, 3, 4]], np.float32)
    earlier = PseudoLabels(np.stack([rough, empty]), other[None], faint, np.zeros((0, 4)))
    labels = label_again(image(K), earlier, detector)
    assert len(labels.people) == 2
    for expected in (person, other):
        assert max(iou(expected, box) for box in labels.people) > 0.9
    np.testing.assert_array_equal(labels.faint, faint)


@pytest.mark.parametrize("content", [None, "not json", "[1]", '{"a.png": [1]}'])
def test_verifying_again_without_labels_says_what_to_type(
    content: str | None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if content is not None:
        (tmp_path / "pseudo_labels.json").write_text(content)
    monkeypatch.setattr("sys.argv", ["pseudo_labels", "--photos", str(tmp_path), "--again"])
    assert main() == 2
    assert "without --again" in caplog.text
