# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Photographs with pseudo-labels, for self-training.

Rendered people are all that is labelled; real ones look otherwise. evaluation/pseudo_labels.py
finds some of them with the network itself, and these samples show them again, altered: whole
photographs for the detection read-out, and crops for a mean teacher (consistency.py).
"""

import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from thfm_ros.contract import PADDING_GREY, PerceptionError
from thfm_ros.geometry import area, intersection_over_min_area
from thfm_ros.training.augmentation.geometric import similarity
from thfm_ros.training.augmentation.photometric import apply_photometric, draw_photometric
from thfm_ros.training.detection_samples import (
    DetectionSample,
    is_large_enough,
    targets_of_boxes,
)

LABELS = "pseudo_labels.json"
"""In the folder of the photographs: for each relative path the lists of boxes of
`thfm_ros.evaluation.pseudo_labels.PseudoLabels`."""

EMPTY_LABELS = "empty/pseudo_labels.json"
"""The same for photographs without people, in a folder below; optional."""

EMPTY_PHOTO_SHARE = 0.4
"""Share of photographs without people, of those in which the network saw some."""

FAINT_PX = 12.0
"""Half the side of the square around the centre of a faint box in which nothing is learned, in
pixels of the sample: mostly no person is there, but one must not be unlearned."""

MIN_VISIBLE = 0.6
"""Share of a person's box inside the sample; less of it is ignored."""


CROP_MARGIN = 1.5
"""Side of a crop, in longer sides of the box that it is about."""

EMPTY_SHARE = 0.3
"""Share of the crops that are about a place without a person, where one is found."""

ATTEMPTS = 10
"""Random places per such crop, until one has no person."""

MAX_COVERED = 0.1
"""Overlap of such a place with a labelled or an ignored box, of the smaller area."""


class PhotoCrop(NamedTuple):
    """A crop around a person of a photograph: for the teacher, and altered for the student."""

    image: Float32[np.ndarray, "h w 3"]  # RGB in 0..255
    altered: Float32[np.ndarray, "h w 3"]  # the same geometry
    cue: Float32[np.ndarray, "5"]
    presence: float  # 1: the cue is a labelled person; 0: a place without one


def photos_with_people(folder: Path) -> list[tuple[str, dict[str, list[list[float]]]]]:
    """Relative path and pseudo-labels of each photograph below ``folder`` with people, sorted.

    Raises:
        PerceptionError: no pseudo-labels are there.
    """
    try:
        labels = json.loads((folder / LABELS).read_text())
    except (OSError, ValueError) as error:
        raise PerceptionError(
            f"{folder / LABELS} cannot be read ({error}). Write it with: "
            f"python -m thfm_ros.evaluation.pseudo_labels --photos {folder} --checkpoint FILE"
        ) from error
    return [(name, each) for name, each in sorted(labels.items()) if each["people"]]


class UnlabelledPhotos:
    """The photographs below a folder in which people were found.

    Raises:
        PerceptionError: no pseudo-labels are there, or they name no person.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._labels = photos_with_people(folder)
        if not self._labels:
            raise PerceptionError(f"{folder / LABELS} names no image with people.")
        self._empty = _hard_negatives(folder / EMPTY_LABELS)

    def __len__(self) -> int:
        return len(self._labels)

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> DetectionSample:
        """One photograph in an image of ``size`` (width, height): zoomed, shifted, mirrored."""
        bgr, labels = self._pick(rng)
        height, width = bgr.shape[:2]
        fitting = min(size[0] / width, size[1] / height)
        zoom = fitting * float(np.exp(rng.uniform(-0.2, 0.8)))
        middle = (np.array(size) - 1) / 2 + rng.normal(0, 0.12, 2) * size
        mirrored = bool(rng.random() < 0.5)
        matrix = similarity((width, height), middle, zoom, mirrored=mirrored)
        grey = (PADDING_GREY,) * 3
        image = cv2.warpAffine(bgr, matrix, size, flags=cv2.INTER_AREA, borderValue=grey)
        people, ignored = (
            [_moved(np.array(box), matrix) for box in labels[key]] for key in ("people", "ignored")
        )
        shown = [np.clip(box, 0, [*size, *size]) for box in people]
        complete = [
            area(part) >= MIN_VISIBLE * area(box) and is_large_enough(part, area(part))
            for part, box in zip(shown, people, strict=True)
        ]
        boxes = [part for part, is_complete in zip(shown, complete, strict=True) if is_complete]
        ignored += [
            part for part, is_complete in zip(shown, complete, strict=True) if not is_complete
        ]
        for box in labels["faint"]:
            moved = _moved(np.array(box, float), matrix)
            centre = (moved[:2] + moved[2:]) / 2
            ignored.append(np.concatenate([centre - FAINT_PX, centre + FAINT_PX]))
        altered = apply_photometric(
            image[..., ::-1].astype(np.float32), draw_photometric(rng, 0.8), rng
        )
        return DetectionSample(altered, targets_of_boxes(boxes, ignored, size))

    def draw_crop(self, rng: np.random.Generator, size: int) -> PhotoCrop:
        """A square crop of ``size`` pixels, mirrored or not, around a person or an empty place."""
        bgr, labels = self._pick(rng)
        height, width = bgr.shape[:2]
        people = labels["people"]
        wants_none = bool(people) and rng.random() < EMPTY_SHARE
        box = _empty_place(rng, labels, (width, height)) if wants_none else None
        present = bool(people) and box is None
        if box is None:
            shown = people or labels["false_positives"]
            box = np.array(shown[rng.integers(len(shown))], np.float64)
        side = CROP_MARGIN * float(max(box[2:] - box[:2])) * float(np.exp(rng.normal(0, 0.1)))
        middle = np.full(2, (size - 1) / 2) + rng.normal(0, 0.04, 2) * size
        mirrored = bool(rng.random() < 0.5)
        matrix = similarity((width, height), middle, size / side, mirrored=mirrored)
        # ``similarity`` puts the image's centre into the middle: move the box's there instead.
        centre = (np.array([width, height]) - 1) / 2
        matrix[:, 2] -= matrix[:, :2] @ ((box[:2] + box[2:]) / 2 - centre)
        grey = (PADDING_GREY,) * 3
        image = cv2.warpAffine(bgr, matrix, (size, size), flags=cv2.INTER_AREA, borderValue=grey)
        rgb = np.ascontiguousarray(image[..., ::-1], np.float32)
        cue = np.array([*(_moved(box, matrix) / size), 1], np.float32)
        return PhotoCrop(rgb, _altered(rgb, rng), cue, float(present))

    def _pick(
        self, rng: np.random.Generator
    ) -> tuple[UInt8[np.ndarray, "h w 3"], dict[str, list[list[float]]]]:
        """A random photograph as BGR, and its labels."""
        is_empty = bool(self._empty) and rng.random() < EMPTY_PHOTO_SHARE
        entries = self._empty if is_empty else self._labels
        name, labels = entries[rng.integers(len(entries))]
        bgr = cv2.imread(str(self._folder / name), cv2.IMREAD_COLOR)
        if bgr is None:
            raise PerceptionError(f"{self._folder / name} cannot be read as an image any more.")
        return np.asarray(bgr, np.uint8), labels


def _hard_negatives(labels: Path) -> list[tuple[str, dict[str, list[list[float]]]]]:
    """The photographs without people in which the network saw some; none if there is no file."""
    if not labels.exists():
        return []
    entries = json.loads(labels.read_text())
    folder = labels.parent.name
    return [
        (f"{folder}/{name}", each)
        for name, each in sorted(entries.items())
        if each["false_positives"]
    ]


def _altered(
    image: Float32[np.ndarray, "h w 3"], rng: np.random.Generator
) -> Float32[np.ndarray, "h w 3"]:
    """Strong photometric augmentation, and for half of the crops a grey occluder."""
    altered = apply_photometric(image.copy(), draw_photometric(rng, 1.0), rng)
    altered = np.ascontiguousarray(altered, np.float32)
    if rng.random() < 0.5:
        size = np.array(image.shape[:2])
        side = (rng.uniform(0.1, 0.35, 2) * size).astype(int)
        top, left = (rng.uniform(0, 1, 2) * (size - side)).astype(int)
        altered[top : top + side[0], left : left + side[1]] = rng.uniform(0, 255, 3)
    return altered


def _empty_place(
    rng: np.random.Generator, labels: dict[str, list[list[float]]], size: tuple[int, int]
) -> Float[np.ndarray, "4"] | None:
    """A box, upright mostly, that touches hardly any box of a photograph; None: none was found."""
    boxes = [np.array(box, float) for key in ("people", "ignored") for box in labels[key]]
    for _ in range(ATTEMPTS):
        tall = float(np.exp(rng.uniform(np.log(0.15), np.log(0.8)))) * size[1]
        side = np.array([tall * rng.uniform(0.25, 0.9), tall])
        low = rng.uniform(-0.1 * side, np.maximum(np.array(size) - 0.9 * side, 1))
        place = np.concatenate([low, low + side])
        if all(intersection_over_min_area(place, box) <= MAX_COVERED for box in boxes):
            return place
    return None


def _moved(box: Float[np.ndarray, "4"], matrix: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "4"]:
    """The box of a box's corners after an affine transform without rotation."""
    corners = box.reshape(2, 2) @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])
