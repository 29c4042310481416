# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Images with annotations in COCO format: people with 17 keypoints, boxes and masks."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool

from thfm_ros.contract import PerceptionError
from thfm_ros.evaluation.matching import COCO_KEYPOINTS, GroundTruthPerson, is_large_enough
from thfm_ros.media.errors import VideoError
from thfm_ros.media.images import read_image
from thfm_ros.skeleton import JOINT_NAMES, Joint

FORMAT = (
    '{"images": [{"id", "file_name"}], "annotations": [{"image_id", "bbox": [x, y, width, '
    'height], "keypoints": [x, y, v] * 17, "segmentation"}]}'
)


class AnnotationError(PerceptionError):
    """An annotation file that is missing or invalid; the text says where and what it should be."""


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """One image and its ground truth.

    Masks are decoded when they are asked for: those of a large set would not fit into memory.
    """

    path: Path
    people: tuple[GroundTruthPerson, ...]
    has_all_masks: bool  # every person who is not a crowd has a segmentation
    _size: tuple[int, int]  # rows, columns
    _segmentations: tuple[Any, ...]  # of people, as in the file
    _crowds: tuple[Any, ...]

    def person_mask(self) -> Bool[np.ndarray, "h w"] | None:
        """The pixels of all people; None unless all of them have a segmentation."""
        return self._union(self._segmentations) if self.has_all_masks else None

    def ignore_mask(self) -> Bool[np.ndarray, "h w"]:
        """The pixels of crowds that belong to no person with a segmentation."""
        return np.asarray(self._union(self._crowds) & ~self._union(self._segmentations))

    def _union(self, segmentations: Sequence[Any]) -> Bool[np.ndarray, "h w"]:
        found = np.zeros(self._size, bool)
        for each in segmentations:
            mask = _mask(each, self._size, str(self.path))
            if mask is not None:
                found |= mask
        return found


def find_annotations(folder: Path, given: Path | None) -> Path:
    """The annotation file of a folder of images: ``given``, or the only .json file in it.

    Raises:
        AnnotationError: there is none, or there are several and none was given.
    """
    if given is not None:
        if not given.is_file():
            raise AnnotationError(f"There is no annotation file {given}.")
        return given
    if not folder.is_dir():
        raise AnnotationError(f"There is no folder {folder}.")
    files = sorted(folder.glob("*.json"))
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise AnnotationError(
            f"{folder} should hold one annotation file (*.json), and holds {names}. Name it with "
            f"--annotations FILE; its format is COCO's: {FORMAT}"
        )
    return files[0]


def read_annotations(folder: Path, file: Path) -> list[AnnotatedImage]:
    """All annotated images, sorted by name.

    Args:
        folder: of the images.
        file: the annotations in COCO format.

    Raises:
        AnnotationError: the file or an image in it is invalid.
    """
    content = _content(file)
    ids = _person_category(content, file)
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for number, each in enumerate(content["annotations"]):
        if not isinstance(each, dict) or "image_id" not in each:
            raise AnnotationError(f"{file}: annotation {number} has no image_id. Format: {FORMAT}")
        if ids is None or each.get("category_id", 1) in ids:
            by_image.setdefault(each["image_id"], []).append(each)
    found = []
    for image in content["images"]:
        if not isinstance(image, dict) or not {"id", "file_name"} <= image.keys():
            raise AnnotationError(f"{file}: an image lacks id or file_name: {image}")
        path = folder / str(image["file_name"])
        size = _size(path, file)
        where = f"{file}, image {image['file_name']}"
        found.append(_annotated_image(path, size, by_image.pop(image["id"], []), where))
    if by_image:
        lost = sorted(map(str, by_image))[:3]
        raise AnnotationError(f"{file}: annotations of unknown images: {', '.join(lost)}")
    return sorted(found, key=lambda each: each.path.name)


def _content(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise AnnotationError(f"{file} is no readable JSON: {error}") from error
    missing = [
        key
        for key in ("images", "annotations")
        if not isinstance(content, dict) or not isinstance(content.get(key), list)
    ]
    if missing:
        lists = " and no list ".join(missing)
        raise AnnotationError(f"{file} has no list {lists}. Format: {FORMAT}")
    if not content["images"]:
        raise AnnotationError(f"{file} lists no images.")
    result: dict[str, Any] = content
    return result


def _person_category(content: dict[str, Any], file: Path) -> set[Any] | None:
    """The ids of "person"; None where the file names no categories."""
    categories = content.get("categories")
    if not categories:
        return None
    people = [each for each in categories if each.get("name") == "person"]
    if not people:
        names = ", ".join(str(each.get("name")) for each in categories)
        raise AnnotationError(f"{file} has no category 'person', only: {names}")
    for each in people:
        names_of = tuple(each.get("keypoints") or JOINT_NAMES[:COCO_KEYPOINTS])
        if names_of != JOINT_NAMES[:COCO_KEYPOINTS]:
            raise AnnotationError(
                f"{file} orders its keypoints {', '.join(names_of)}; it must be COCO's order: "
                f"{', '.join(JOINT_NAMES[:COCO_KEYPOINTS])}"
            )
    return {each["id"] for each in people}


def _size(path: Path, file: Path) -> tuple[int, int]:
    try:
        image = read_image(path)
    except VideoError as error:
        raise AnnotationError(f"{file} lists an image that cannot be used: {error}") from error
    return int(image.shape[0]), int(image.shape[1])


def _annotated_image(
    path: Path, size: tuple[int, int], annotations: Sequence[dict[str, Any]], where: str
) -> AnnotatedImage:
    people: list[GroundTruthPerson] = []
    segmentations: list[Any] = []
    crowds: list[Any] = []
    for number, each in enumerate(annotations):
        segmentation = each.get("segmentation") or None
        # Decoded here too, so that errors in the file are found before the network runs.
        mask = _mask(segmentation, size, where)
        people.append(_person(number, each, mask, where))
        (crowds if each.get("iscrowd") else segmentations).append(segmentation)
    return AnnotatedImage(
        path,
        tuple(people),
        all(segmentation is not None for segmentation in segmentations),
        size,
        tuple(segmentations),
        tuple(crowds),
    )


def _person(
    number: int, each: dict[str, Any], mask: Bool[np.ndarray, "h w"] | None, where: str
) -> GroundTruthPerson:
    keypoints, labelled = _keypoints(each.get("keypoints"), where)
    bbox = each.get("bbox")
    if bbox is None:
        if not labelled.any():
            raise AnnotationError(
                f"{where}: annotation {number} has neither bbox nor labelled keypoints"
            )
        low, high = keypoints[labelled].min(0), keypoints[labelled].max(0)
        box = np.array([*low, *high])
    else:
        if not _numbers(bbox, 4):
            raise AnnotationError(f"{where}: bbox is {bbox}; it must be x, y, width, height")
        x, y, width, height = map(float, bbox)
        box = np.array([x, y, x + width, y + height])
    area = each.get("area") or (mask.sum() if mask is not None else 0)
    # COCO's masks fill about half of their boxes.
    area = float(area) or 0.5 * float(np.prod(box[2:] - box[:2]))
    ignore = bool(each.get("iscrowd")) or not is_large_enough(box)
    track_id = int(each.get("track_id", number))
    return GroundTruthPerson(track_id, box, area, keypoints, labelled, ignore)


def _keypoints(values: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    keypoints, labelled = np.zeros((len(Joint), 2)), np.zeros(len(Joint), bool)
    if values is not None:
        if not _numbers(values, 3 * COCO_KEYPOINTS):
            count = len(values) if isinstance(values, list) else values
            raise AnnotationError(
                f"{where}: keypoints must be {3 * COCO_KEYPOINTS} numbers (x, y, v for "
                f"{COCO_KEYPOINTS} keypoints in COCO's order), not {count}"
            )
        rows = np.array(values, float).reshape(COCO_KEYPOINTS, 3)
        labelled[:COCO_KEYPOINTS] = rows[:, 2] > 0
        keypoints[:COCO_KEYPOINTS] = rows[:, :2] * labelled[:COCO_KEYPOINTS, None]
    return keypoints, labelled


def _mask(segmentation: Any, size: tuple[int, int], where: str) -> Bool[np.ndarray, "h w"] | None:
    """Decode polygons or uncompressed run-length encoding; None without a segmentation."""
    if not segmentation:
        return None
    if isinstance(segmentation, list):
        return _polygons(segmentation, size, where)
    if not isinstance(segmentation, dict) or not {"counts", "size"} <= segmentation.keys():
        raise AnnotationError(f"{where}: segmentation must be polygons, or counts and size")
    runs = segmentation["counts"]
    if isinstance(runs, str):
        raise AnnotationError(
            f"{where}: segmentation is compressed RLE. Write polygons or uncompressed counts "
            "(pycocotools: mask.decode, then the lengths of its runs, column by column)"
        )
    if tuple(segmentation["size"]) != size or sum(runs) != size[0] * size[1]:
        raise AnnotationError(
            f"{where}: runs of {sum(runs)} pixels and size {segmentation['size']}, but the image "
            f"has {size[0]} rows and {size[1]} columns"
        )
    values = np.arange(len(runs)) % 2 == 1  # background and person alternate
    return np.asarray(np.repeat(values, runs).reshape(size, order="F"))


def _polygons(
    segmentation: list[Any], size: tuple[int, int], where: str
) -> Bool[np.ndarray, "h w"]:
    mask = np.zeros(size, np.uint8)
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise AnnotationError(f"{where}: a polygon must be a list x, y, x, y, ... of 3 points")
        # OpenCV counts pixel centres from 0 and fills the border too: sixteenths of a pixel.
        corners = np.round((np.array(polygon, float).reshape(-1, 2) - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(mask, [corners], 1, shift=4)
    return mask > 0


def _numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(isinstance(value, int | float) for value in values)
    )
