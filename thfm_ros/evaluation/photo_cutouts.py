# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Cut people out of photographs with pseudo-labels, to paste them into other images.

Run as ``python -m thfm_ros.evaluation.photo_cutouts --photos DIR --checkpoint FILE`` after
`thfm_ros.evaluation.pseudo_labels`; it writes RGBA images into ``DIR/people`` (read by
training/people_sources.py). The network's own mask of a person, refined by GrabCut (Rother et al.,
SIGGRAPH 2004), says what belongs to the person; no other network takes part. Copying people into
other places (as Ghiasi et al., CVPR 2021) separates them from the kind of photograph in which
they were found.
"""

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from tqdm import tqdm

from thfm_ros.config import config_from
from thfm_ros.contract import Clip, Frame, PerceptionError
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.engine.select import load_engine
from thfm_ros.geometry import intersection_over_min_area, iou, longer_side, mask_bounds
from thfm_ros.media.errors import VideoError
from thfm_ros.media.images import read_image
from thfm_ros.perception.crop_stream import CropDetector, CropInputs
from thfm_ros.perception.decoding import Detection, Proposal
from thfm_ros.perception.stage_timer import StageTimer
from thfm_ros.training.people_sources import CUT_OFF_SUFFIX, PHOTO_CUTOUTS
from thfm_ros.training.unlabelled_photos import photos_with_people

logger = logging.getLogger(__name__)

MIN_SIDE_PX = 48
"""Longer side of a box below which a person is not cut out."""

MAX_SIDE_PX = 320
"""Larger people are reduced to this height or width: a network image is not larger."""

MAX_OVERLAP = 0.15
"""With the box of another person, of the smaller area: their masks may be confused."""

MIN_BOX_IOU = 0.6
"""Between the labelled box and that of the mask."""

MIN_REFINED_IOU = 0.75
"""Between the network's mask and the refined one, which otherwise is not used."""

FILLED = (0.2, 0.9)
"""Share of a mask in its box: less is a fragment, more is mostly the background too."""

EDGE_SHARE = 0.02
"""Of the photograph's sides: a person so near to an edge counts as cut off by it."""


def person_mask(
    rgb: UInt8[np.ndarray, "h w 3"], box: Float[np.ndarray, "4"], detector: CropDetector
) -> Bool[np.ndarray, "h w"] | None:
    """The pixels of the person in ``box`` (pixels of the image); None: no crop shows one."""
    inputs = CropInputs(
        Clip((Frame(rgb, 0, "", None),), 0), True, StageTimer(("crop", "network", "decode"))
    )
    found = detector.detect_proposal(inputs, Proposal(np.asarray(box, np.float32), 1.0))
    if found is None or found.detection.mask is None or found.detection.target is None:
        return None
    coarse = _in_image(found.detection, rgb.shape[1::-1])
    refined = _refined(rgb, coarse)
    return refined if _mask_iou(refined, coarse) >= MIN_REFINED_IOU else coarse


def _in_image(detection: Detection, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """The target's mask in an image of ``size`` (width, height)."""
    assert detection.mask is not None and detection.target is not None
    near = cv2.dilate(detection.target.astype(np.uint8), np.ones((3, 3), np.uint8))
    probability = np.where(near > 0, detection.mask, 0).astype(np.float32)
    region = detection.region
    cell = region.scale * region.width / probability.shape[1]
    # Centres of cells and of pixels are at halves.
    offset = np.array([region.offset_x, region.offset_y]) + (cell - 1) / 2
    matrix = np.array([[cell, 0, offset[0]], [0, cell, offset[1]]])
    in_image: Float32[np.ndarray, "h w"] = cv2.warpAffine(probability, matrix, size)
    return np.asarray(in_image > 0.5)


def _refined(
    rgb: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]
) -> Bool[np.ndarray, "h w"]:
    """The mask with the edges of the image, by GrabCut around the mask's outline."""
    bounds = mask_bounds(mask)
    if bounds is None:
        return mask
    side = max(bounds[2] - bounds[0], bounds[3] - bounds[1])
    margin, width = side // 5 + 2, max(side // 25, 1)
    low = np.maximum(np.array(bounds[:2]) - margin, 0)
    part = (
        slice(low[1], bounds[3] + margin),
        slice(low[0], bounds[2] + margin),
    )
    inside = mask[part].astype(np.uint8)
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    trimap = np.full(inside.shape, cv2.GC_BGD, np.uint8)
    trimap[cv2.dilate(inside, kernel) > 0] = cv2.GC_PR_BGD
    trimap[inside > 0] = cv2.GC_PR_FGD
    trimap[cv2.erode(inside, kernel) > 0] = cv2.GC_FGD
    if not (trimap == cv2.GC_FGD).any() or not (trimap == cv2.GC_BGD).any():
        return mask
    models = np.zeros((1, 65)), np.zeros((1, 65))
    bgr = np.ascontiguousarray(rgb[part][..., ::-1])
    cv2.grabCut(bgr, trimap, None, *models, 2, cv2.GC_INIT_WITH_MASK)
    refined = np.zeros_like(mask)
    refined[part] = (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)
    return refined


def _mask_iou(a: Bool[np.ndarray, "h w"], b: Bool[np.ndarray, "h w"]) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def cutouts(
    rgb: UInt8[np.ndarray, "h w 3"], labels: dict[str, Any], detector: CropDetector
) -> Iterator[tuple[UInt8[np.ndarray, "h w 4"], bool]]:
    """The people of a photograph that can be cut out: RGBA, and whether an edge cuts them off.

    Args:
        rgb: the photograph.
        labels: its boxes; see `thfm_ros.evaluation.pseudo_labels.PseudoLabels`.
        detector: detects single persons in crops.
    """
    people = [np.array(box, np.float64) for box in labels["people"]]
    others = people + [np.array(box, np.float64) for box in labels["ignored"]]
    height, width = rgb.shape[:2]
    edge = EDGE_SHARE * np.array([width, height])
    for box in people:
        overlaps = [intersection_over_min_area(box, each) for each in others if each is not box]
        if longer_side(box) < MIN_SIDE_PX or max(overlaps, default=0.0) > MAX_OVERLAP:
            continue
        mask = person_mask(rgb, box, detector)
        bounds = None if mask is None else mask_bounds(mask)
        if mask is None or bounds is None or iou(np.array(bounds, float), box) < MIN_BOX_IOU:
            continue
        part = (slice(bounds[1], bounds[3]), slice(bounds[0], bounds[2]))
        if not FILLED[0] <= mask[part].mean() <= FILLED[1]:
            continue
        low, high = np.array(bounds[:2]), np.array([width, height]) - bounds[2:]
        rgba = np.dstack([rgb[part], mask[part].astype(np.uint8) * 255])
        scale = MAX_SIDE_PX / max(rgba.shape[:2])
        if scale < 1:
            rgba = cv2.resize(rgba, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        yield np.asarray(rgba, np.uint8), bool((low < edge).any() or (high < edge).any())


def write_cutouts(photos: Path, checkpoint: str) -> int:
    """Cut out the people of a folder of photographs; returns their number.

    Raises:
        PerceptionError: no pseudo-labels are there, or the checkpoint cannot be used.
    """
    labelled = photos_with_people(photos)
    config = config_from({"engine.checkpoint": checkpoint})
    detector = CropDetector(load_engine(find_checkpoint(checkpoint), config.engine), config)
    folder = photos / PHOTO_CUTOUTS
    folder.mkdir(exist_ok=True)
    count = 0
    for name, of_image in tqdm(labelled, unit="image"):
        try:
            rgb = read_image(photos / name)
        except VideoError as error:
            logger.warning("%s is left out: %s", name, error)
            continue
        for rgba, is_cut in cutouts(rgb, of_image, detector):
            file = folder / f"{count:05d}{CUT_OFF_SUFFIX if is_cut else ''}.png"
            cv2.imwrite(str(file), cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
            count += 1
    return count


def main() -> int:
    """Cut people out of a folder of photographs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder with pseudo-labels")
    parser.add_argument("--checkpoint", default="nano", help="'nano' (shipped) or a file")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        logger.info("%d people were cut out", write_cutouts(args.photos, args.checkpoint))
    except PerceptionError as error:
        logger.error("%s", error)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
