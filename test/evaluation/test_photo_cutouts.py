# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""People cut out of photographs by the network's own masks."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_engine import FakeEngine, Person, box_of, camera, image

from thfm_ros.config import config_from
from thfm_ros.contract import PerceptionError
from thfm_ros.evaluation import photo_cutouts
from thfm_ros.evaluation.photo_cutouts import cutouts, person_mask, write_cutouts
from thfm_ros.geometry import iou, mask_bounds
from thfm_ros.perception.crop_stream import CropDetector
from thfm_ros.training.people_sources import PeopleSource
from thfm_ros.training.shard_store import Store

K = camera()
PEOPLE = [Person(-0.8, 0.0, 4.0), Person(0.8, 0.0, 4.0)]
BOXES = [box_of(person, K) for person in PEOPLE]


@pytest.fixture
def detector() -> CropDetector:
    return CropDetector(FakeEngine(K, lambda: PEOPLE), config_from({}))


def labels(people: list[np.ndarray], ignored: list[np.ndarray] | None = None) -> dict[str, object]:
    boxes = {"people": people, "ignored": ignored or []}
    return {name: [box.tolist() for box in some] for name, some in boxes.items()}


def test_the_mask_of_a_person_lies_in_the_box(detector: CropDetector) -> None:
    for box in BOXES:
        mask = person_mask(image(K), box, detector)
        assert mask is not None
        bounds = mask_bounds(mask)
        assert bounds is not None and iou(np.array(bounds, float), box) > 0.85


def test_a_mask_is_refined_along_the_edges_of_the_image() -> None:
    rgb = np.full((120, 100, 3), (40, 90, 200), np.uint8)
    truth = np.zeros((120, 100), bool)
    truth[20:100, 30:70] = True
    rgb[truth] = (220, 60, 40)
    rough = np.zeros_like(truth)
    rough[21:98, 32:71] = True
    refined = photo_cutouts._refined(rgb, rough)
    wrong, before = (refined != truth).sum(), (rough != truth).sum()
    assert wrong < 0.2 * before


def test_each_person_is_cut_out_with_its_own_box(
    detector: CropDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_cutouts, "FILLED", (0.2, 1.0))  # people of this engine are boxes
    found = list(cutouts(image(K), labels(BOXES), detector))
    assert len(found) == 2
    for (rgba, is_cut), box in zip(found, BOXES, strict=True):
        height, width = rgba.shape[:2]
        assert height == pytest.approx(box[3] - box[1], rel=0.1)
        assert width == pytest.approx(box[2] - box[0], rel=0.1)
        assert set(np.unique(rgba[..., 3])) <= {0, 255} and not is_cut


def test_people_who_overlap_or_are_small_or_are_mostly_background_are_left_out(
    detector: CropDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not list(cutouts(image(K), labels(BOXES), detector))  # full boxes: nothing is cut away
    monkeypatch.setattr(photo_cutouts, "FILLED", (0.2, 1.0))
    assert not list(cutouts(image(K), labels(BOXES[:1], [BOXES[0] + 5.0]), detector))
    monkeypatch.setattr(photo_cutouts, "MIN_SIDE_PX", 1000)
    assert not list(cutouts(image(K), labels(BOXES), detector))


def test_a_person_at_an_edge_of_the_photograph_counts_as_cut_off(
    detector: CropDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_cutouts, "FILLED", (0.2, 1.0))
    monkeypatch.setattr(photo_cutouts, "EDGE_SHARE", 0.4)
    assert all(is_cut for _, is_cut in cutouts(image(K), labels(BOXES), detector))


def test_large_people_are_reduced(detector: CropDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_cutouts, "FILLED", (0.2, 1.0))
    monkeypatch.setattr(photo_cutouts, "MAX_SIDE_PX", 50)
    for rgba, _ in cutouts(image(K), labels(BOXES), detector):
        assert max(rgba.shape[:2]) == 50


def test_what_is_written_is_a_source_of_people(
    tmp_path: Path, detector: CropDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_cutouts, "FILLED", (0.2, 1.0))
    monkeypatch.setattr(photo_cutouts, "load_engine", lambda *_: None)
    monkeypatch.setattr(photo_cutouts, "CropDetector", lambda *_: detector)
    cv2.imwrite(str(tmp_path / "a.png"), image(K)[..., ::-1])
    (tmp_path / "broken.png").write_text("no image")
    of_image = labels(BOXES)
    every = {"a.png": of_image, "broken.png": of_image, "empty.png": labels([])}
    (tmp_path / "pseudo_labels.json").write_text(json.dumps(every))
    assert write_cutouts(tmp_path, "nano") == 2
    nothing = Store.__new__(Store)  # no render is read
    source = PeopleSource(nothing, tmp_path / "people", photo_share=1.0)
    person = source.draw(np.random.default_rng(0))
    assert person is not None and person.whole and person.mask.mean() > 0.8


def test_without_pseudo_labels_the_error_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(PerceptionError, match=r"evaluation\.pseudo_labels --photos"):
        write_cutouts(tmp_path, "nano")
