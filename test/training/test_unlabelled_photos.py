# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Self-training samples: labels move with the pixels, and nothing is learned where it is unsure."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from thfm_ros.contract import PerceptionError
from thfm_ros.model.detection import STRIDE
from thfm_ros.model.network import NanoNetwork
from thfm_ros.training.collate import collate_photo_crops
from thfm_ros.training.consistency import consistency_losses
from thfm_ros.training.unlabelled_photos import (
    EMPTY_LABELS,
    EMPTY_PHOTO_SHARE,
    LABELS,
    PhotoCrop,
    UnlabelledPhotos,
)

PERSON, UNSURE, FAINT = (60, 40, 120, 180), (200, 50, 250, 150), (130, 80, 180, 130)
RED, BLUE = (0, 0, 255), (255, 0, 0)  # BGR


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A red person, a blue unsure one, and a photograph without people."""
    image = np.full((240, 320, 3), 90, np.uint8)
    for box, colour in ((PERSON, RED), (UNSURE, BLUE)):
        cv2.rectangle(image, box[:2], (box[2] - 1, box[3] - 1), colour, -1)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    labels = {
        "a.png": {"people": [PERSON], "ignored": [UNSURE], "faint": [FAINT]},
        "b.png": {"people": [], "ignored": [], "faint": []},
    }
    (tmp_path / LABELS).write_text(json.dumps(labels))
    return tmp_path


def redness(image: np.ndarray) -> np.ndarray:
    image = image.astype(np.float32)
    return np.asarray(image[..., 0] - image[..., 1:].max(axis=-1))


def test_the_centre_of_a_photographs_person_lies_on_the_person(folder: Path) -> None:
    photos = UnlabelledPhotos(folder)
    seen = 0
    for seed in range(40):
        sample = photos.draw(np.random.default_rng(seed), (320, 240))
        rows, columns = np.nonzero(sample.targets.centres == 1)
        assert len(rows) <= 1
        for row, column in zip(rows, columns, strict=True):
            y, x = (row * STRIDE, column * STRIDE)
            patch = sample.image[y : y + STRIDE, x : x + STRIDE]
            other = np.median(redness(sample.image))
            saturated = np.ptp(sample.image.reshape(-1, 3).mean(0)) > 2  # not turned grey or blue
            seen += bool(saturated and redness(patch).mean() > other)
    assert seen >= 20


def test_unsure_people_are_ignored_and_not_background(folder: Path) -> None:
    photos = UnlabelledPhotos(folder)
    ignored = [
        photos.draw(np.random.default_rng(seed), (320, 240)).targets.ignored.any()
        for seed in range(20)
    ]
    assert np.mean(ignored) > 0.6  # of some samples the unsure person is outside


def test_of_a_faint_proposal_only_the_centre_is_ignored(folder: Path) -> None:
    labels = {"a.png": {"people": [PERSON], "ignored": [], "faint": [FAINT]}}
    (folder / LABELS).write_text(json.dumps(labels))
    photos = UnlabelledPhotos(folder)
    drawn = [photos.draw(np.random.default_rng(seed), (320, 240)).targets for seed in range(30)]
    whole = [int(each.ignored.sum()) for each in drawn if (each.centres == 1).any()]
    assert len(whole) >= 10  # in the others the labelled person is cut, and ignored as a whole
    assert max(whole) <= 16
    assert np.median(whole) >= 9


def test_photographs_without_people_are_not_drawn(folder: Path) -> None:
    assert len(UnlabelledPhotos(folder)) == 1


def test_a_crop_shows_the_person_where_the_cue_says(folder: Path) -> None:
    for crop in drawn_crops(folder, 20):
        if not crop.presence:
            continue
        rows, columns = np.nonzero(redness(crop.image) > 100)
        found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 128
        np.testing.assert_allclose(found, crop.cue[:4], atol=0.03)
        assert crop.cue[4] == 1
        assert not np.array_equal(crop.image, crop.altered)


def test_some_crops_are_about_a_place_without_a_labelled_or_unsure_person(folder: Path) -> None:
    empty = [crop for crop in drawn_crops(folder, 40) if not crop.presence]
    assert 4 <= len(empty) <= 24
    for crop in empty:
        x0, y0, x1, y1 = (np.clip(crop.cue[:4], 0, 1) * 128).round().astype(int)
        inside = crop.image[y0:y1, x0:x1]
        colourful = np.abs(inside[..., 0] - inside[..., 2]) > 100  # the red or the blue person
        assert colourful.mean() < 0.15


def test_hard_negatives_of_photographs_without_people_are_drawn_as_such(folder: Path) -> None:
    (folder / "empty").mkdir()
    place = (40, 30, 100, 200)
    image = np.full((240, 320, 3), 90, np.uint8)
    cv2.rectangle(image, place[:2], (place[2] - 1, place[3] - 1), RED, -1)
    cv2.imwrite(str(folder / "empty" / "pole.png"), image)
    keys = ("people", "ignored", "faint", "false_positives")
    none: dict[str, list[Any]] = {key: [] for key in keys}
    labels = {"pole.png": none | {"false_positives": [place]}, "wall.png": none}
    (folder / EMPTY_LABELS).write_text(json.dumps(labels))
    photos, empty = UnlabelledPhotos(folder), 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        sample = photos.draw(rng, (320, 240))
        has_people = sample.targets.positive.any() or sample.targets.ignored.any()
        empty += not has_people
        crop = photos.draw_crop(np.random.default_rng(seed), 128)
        if np.random.default_rng(seed).random() < EMPTY_PHOTO_SHARE:
            assert crop.presence == 0
            x0, y0, x1, y1 = (np.clip(crop.cue[:4], 0, 1) * 128).round().astype(int)
            assert (redness(crop.image[y0:y1, x0:x1]) > 100).mean() > 0.9
    assert 10 <= empty <= 45


def drawn_crops(folder: Path, count: int) -> list[PhotoCrop]:
    photos = UnlabelledPhotos(folder)
    return [photos.draw_crop(np.random.default_rng(seed), 128) for seed in range(count)]


@pytest.mark.parametrize("text", [None, "{", '{"b.png": {"people": [], "ignored": []}}'])
def test_missing_or_empty_pseudo_labels_are_an_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / LABELS).write_text(text)
    with pytest.raises(PerceptionError, match=r"pseudo_labels"):
        UnlabelledPhotos(tmp_path)


def test_consistency_is_lowest_for_a_student_that_agrees_with_a_sure_teacher(folder: Path) -> None:
    torch.manual_seed(0)
    network = NanoNetwork((8, 8, 8), 32, depth=1, refine=1, detect_depth=1).eval()
    rng = np.random.default_rng(0)
    batch = collate_photo_crops([UnlabelledPhotos(folder).draw_crop(rng, 64) for _ in range(2)])
    with torch.no_grad():
        teacher = network(batch.image, cue=batch.cue)
    sure = teacher._replace(
        **{name: 8 * value for name, value in teacher._asdict().items() if value is not None}
    )
    present = torch.ones(2)
    sure = sure._replace(presence=torch.full((2,), 9.0))
    agreeing = consistency_losses(sure, sure, present)
    other = network(batch.altered.flip(-1), cue=batch.cue)
    disagreeing = consistency_losses(other, sure, present)
    assert agreeing.keys() == disagreeing.keys()
    for name, value in agreeing.items():
        assert value < disagreeing[name], name
    total = torch.stack(list(disagreeing.values())).sum()
    total.backward()
    assert network.tokens.grad is not None
    assert network.tokens.grad.isfinite().all()


def test_a_place_without_a_person_has_no_target_whatever_the_teacher_says(folder: Path) -> None:
    torch.manual_seed(0)
    network = NanoNetwork((8, 8, 8), 32, depth=1, refine=1, detect_depth=1).eval()
    batch = collate_photo_crops(drawn_crops(folder, 1))
    with torch.no_grad():
        teacher = network(batch.image, cue=batch.cue)
    assert teacher.dense is not None
    absent = torch.zeros(1)
    denying = teacher._replace(
        presence=torch.full((1,), -9.0), dense=teacher.dense - 20 * torch.ones(1)
    )
    for name in ("presence", "target_mask"):
        of_teacher = consistency_losses(teacher, teacher, absent)[name]
        assert consistency_losses(denying, teacher, absent)[name] < 0.1 * of_teacher
    assert consistency_losses(teacher, teacher, absent)["heatmap"] == 0
