# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Labels of photographs by the network itself."""

import numpy as np
import pytest
from fake_engine import FakeEngine, Person, box_of, camera, encoded_boxes, image, region_of

from thfm_ros.config import config_from
from thfm_ros.evaluation.pseudo_labels import label_image
from thfm_ros.geometry import iou
from thfm_ros.model.outputs import DetectionOutputs
from thfm_ros.perception.crop_stream import CropDetector

K = camera()
PEOPLE = [Person(-0.8, 0.0, 4.0), Person(0.8, 0.0, 4.0)]


class WithAnEmptyPlace(FakeEngine):
    """Proposes the people, and a place where there is none."""

    def detect(self, image: np.ndarray) -> DetectionOutputs:
        region = region_of(image, self.k)
        places = [box_of(each, self.k) for each in [*self.scene(), Person(0.0, 0.0, 4.0)]]
        corners = [(p.reshape(2, 2) - [region.offset_x, region.offset_y]) for p in places]
        boxes = [(each / region.scale).reshape(4) for each in corners]
        limits = [region.width, region.height] * 2
        inside = [each for each in boxes if (each >= 0).all() and (each <= limits).all()]
        return encoded_boxes(inside, region.width, region.height)


def test_each_person_of_an_image_and_its_tiles_is_labelled_once() -> None:
    engine = WithAnEmptyPlace(K, lambda: PEOPLE)
    labels = label_image(image(K), engine, CropDetector(engine, config_from({})))
    assert len(labels.people) == 2
    for person in PEOPLE:
        assert max(iou(box_of(person, K), box) for box in labels.people) > 0.9


@pytest.mark.parametrize("people", [[], PEOPLE[:1]])
def test_a_place_without_a_person_is_not_labelled(people: list[Person]) -> None:
    engine = WithAnEmptyPlace(K, lambda: people)
    labels = label_image(image(K), engine, CropDetector(engine, config_from({})))
    assert len(labels.people) == len(people)
