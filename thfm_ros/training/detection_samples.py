# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Training samples of the detection read-out: rendered frames, and people pasted into others.

Labels are the bounding boxes of each person's visible pixels, from the instance map at full size.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from thfm_ros.contract import PADDING_GREY
from thfm_ros.geometry import mask_bounds
from thfm_ros.model.detection import STRIDE
from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.augmentation.busy_surfaces import draw_busy_surfaces
from thfm_ros.training.augmentation.geometric import similarity
from thfm_ros.training.augmentation.occluders import draw_counter, draw_occluders
from thfm_ros.training.augmentation.photometric import apply_photometric, draw_photometric
from thfm_ros.training.cutouts import paste
from thfm_ros.training.people_sources import PeopleSource
from thfm_ros.training.placements import CLOSE_UP_SHARE, draw_close_ups, draw_people
from thfm_ros.training.shard_store import Store

PASTED_OBJECT_SHARE = 0.5
"""Share of the composed images with pieces of other images, pasted in the way people are."""

PLAIN_SHARE = 0.4
"""Share of the composed images with nothing but people, and perhaps a counter, on a photograph or
a rendered place: everyday images are less busy than the others."""

OCCLUDER_SHARE = 0.3
"""Share of the other composed images with flat shapes in front of everything."""

COUNTER_SHARE = 0.15
"""Share of the composed images in which a table or a counter hides the lower part of people."""

MIN_SIDE, MIN_PIXELS = 9, 30
"""People with a shorter box (longer side) or fewer visible pixels become ignore regions."""

POSITIVE_ABOVE = 0.55
"""Value of a person's centre map above which the edges of the box are learned."""


class DetectionTargets(NamedTuple):
    """Labels of one image; ``h w`` count cells of STRIDE pixels."""

    centres: Float32[np.ndarray, "h w"]  # 1 at the centre of a box, a Gaussian around it
    edges: Float32[np.ndarray, "4 h w"]  # cells from the cell's centre to left, top, right, bottom
    positive: Bool[np.ndarray, "h w"]  # where ``edges`` are labelled
    ignored: Bool[np.ndarray, "h w"]  # people that are too small; neither wanted nor wrong


class DetectionSample(NamedTuple):
    """One image with its labels."""

    image: UInt8[np.ndarray, "H W 3"]
    targets: DetectionTargets


def rendered_detection(
    frames: Store, rng: np.random.Generator, size: tuple[int, int]
) -> DetectionSample:
    """One rendered whole frame of ``size`` (width, height), zoomed, shifted and mirrored."""
    ref = frames.frames[rng.integers(len(frames))]
    rgb = np.ascontiguousarray(frames.read("rgb", ref))
    instances = np.ascontiguousarray(frames.read("instances", ref))
    zoom = size[1] / rgb.shape[0] * float(np.exp(rng.uniform(-0.3, 0.6)))
    middle = (np.array(size) - 1) / 2 + rng.normal(0, 0.1, 2) * size
    mirrored = bool(rng.random() < 0.5)
    if instances.any() and rng.random() < CLOSE_UP_SHARE:
        matrix = _close_up(instances, rng, size, mirrored=mirrored)
    else:
        matrix = similarity((rgb.shape[1], rgb.shape[0]), middle, zoom, mirrored=mirrored)
    grey = (PADDING_GREY,) * 3
    image = cv2.warpAffine(rgb, matrix, size, flags=cv2.INTER_AREA, borderValue=grey)
    image = image.astype(np.float32)
    instances = cv2.warpAffine(instances, matrix, size, flags=cv2.INTER_NEAREST)
    if rng.random() < 0.15:
        background = image.copy()
        draw_busy_surfaces(rng, background)
        image = np.where(instances[..., None] > 0, image, background)
    return finished(image, instances, rng)


def _close_up(
    instances: UInt8[np.ndarray, "h w"],
    rng: np.random.Generator,
    size: tuple[int, int],
    *,
    mirrored: bool,
) -> Float[np.ndarray, "2 3"]:
    """A transform in which one person is about as tall as the image, or taller."""
    bounds = mask_bounds(instances == rng.choice(np.unique(instances[instances > 0])))
    assert bounds is not None
    low, high = np.array(bounds[:2], float), np.array(bounds[2:], float)
    zoom = min(size[1] * float(np.exp(rng.uniform(-0.1, 0.8))) / (high[1] - low[1]), 5.0)
    height, width = instances.shape
    shown = low + rng.uniform(0.2, 0.8, 2) * (high - low) - (np.array([width, height]) - 1) / 2
    middle = (np.array(size) - 1) / 2 - shown * [-zoom if mirrored else zoom, zoom]
    return similarity((width, height), middle, zoom, mirrored=mirrored)


def composed_detection(
    source: PeopleSource, backgrounds: Backgrounds, rng: np.random.Generator, size: tuple[int, int]
) -> DetectionSample:
    """People of several images, and objects that are pasted alike, on one background."""
    width, height = size
    plain = rng.random() < PLAIN_SHARE
    image = (backgrounds.draw_plain if plain else backgrounds.draw)(rng, width, height)
    instances = np.zeros((height, width), np.uint8)
    if not plain and rng.random() < PASTED_OBJECT_SHARE:
        image = with_pasted_objects(image, backgrounds, rng)
    close_up = rng.random() < CLOSE_UP_SHARE
    if close_up and rng.random() < 0.6:  # a lens that is focused on the person
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 3))
    draw = draw_close_ups if close_up else draw_people
    for number, place in enumerate(draw(source, rng, size), start=1):
        pasted = paste(place.person, place.height, place.left, place.top, size)
        alpha = pasted.alpha[..., None]
        image = image * (1 - alpha) + pasted.rgb * alpha
        instances[pasted.mask] = number
    occluders = draw_occluders(rng, width, backgrounds, 0.0 if plain else OCCLUDER_SHARE)
    if rng.random() < COUNTER_SHARE:
        occluders += draw_counter(rng, width, _counter_top(instances, rng), backgrounds)
    for occluder in occluders:
        mask = occluder.mask(width, 0)[:height]
        fill = occluder.fill if occluder.fill.ndim == 1 else occluder.fill[:height]
        image = np.where(mask[..., None] > 0, fill, image)
        instances[mask > 0] = 0
    return finished(image, instances, rng)


def _counter_top(instances: UInt8[np.ndarray, "H W"], rng: np.random.Generator) -> float:
    """The y of a counter's edge, pixels: below the shoulders of one of the people, if there are."""
    numbers = np.unique(instances[instances > 0])
    if not len(numbers):
        return float(rng.uniform(0.3, 0.9) * len(instances))
    bounds = mask_bounds(instances == rng.choice(numbers))
    assert bounds is not None
    return float(bounds[1] + rng.uniform(0.3, 0.75) * (bounds[3] - bounds[1]))


def with_pasted_objects(
    image: np.ndarray, backgrounds: Backgrounds, rng: np.random.Generator
) -> np.ndarray:
    """Paste upright pieces of other images with soft edges: not all that is pasted is a person."""
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        tall = float(np.exp(rng.uniform(np.log(0.1), np.log(0.8)))) * height
        wide = tall * rng.uniform(0.2, 0.9)
        x, y = rng.uniform(0, width), rng.uniform(0.1, 1) * height
        mask = np.zeros((height, width), np.float32)
        radii = rng.uniform(0.6, 1.0, 9)[:, None]
        angle = np.linspace(0, 2 * np.pi, 9, endpoint=False)
        outline = np.stack([np.cos(angle) * wide / 2, np.sin(angle) * tall / 2], 1) * radii
        cv2.fillPoly(mask, [(outline + np.array([x, y])).astype(np.int32)], 1.0)
        mask = cv2.GaussianBlur(mask, (0, 0), 0.6)[..., None]
        image = image * (1 - mask) + backgrounds.draw(rng, width, height) * mask
    return image


def finished(
    image: np.ndarray, instances: UInt8[np.ndarray, "H W"], rng: np.random.Generator
) -> DetectionSample:
    """Photometric augmentation, letterbox bars for some, and the labels."""
    image = apply_photometric(image.astype(np.float32), draw_photometric(rng, 0.8), rng)
    if rng.random() < 0.2:
        height = len(instances)
        bar = int(rng.uniform(0.02, 0.2) * height)
        for rows in (slice(0, bar), slice(height - bar, height)):
            image[rows], instances[rows] = PADDING_GREY, 0
    return DetectionSample(image, detection_targets(instances))


def detection_targets(instances: UInt8[np.ndarray, "H W"]) -> DetectionTargets:
    """Labels for an instance map."""
    boxes: list[Float[np.ndarray, "4"]] = []
    ignored: list[Float[np.ndarray, "4"]] = []
    for number in np.unique(instances[instances > 0]):
        mask = instances == number
        box = np.array(mask_bounds(mask), np.float64)
        (boxes if is_large_enough(box, int(mask.sum())) else ignored).append(box)
    height, width = instances.shape
    return targets_of_boxes(boxes, ignored, (width, height))


def is_large_enough(box: Float[np.ndarray, "4"], pixels: float) -> bool:
    """Whether a person of this box and so many visible pixels is to be detected."""
    return max(box[2:] - box[:2]) >= MIN_SIDE and pixels >= MIN_PIXELS


def targets_of_boxes(
    boxes: Sequence[Float[np.ndarray, "4"]],
    ignored_boxes: Sequence[Float[np.ndarray, "4"]],
    size: tuple[int, int],
) -> DetectionTargets:
    """Labels for boxes; where people overlap, smaller boxes are on top.

    Args:
        boxes: of the people, x_min, y_min, x_max, y_max in pixels.
        ignored_boxes: places of which nothing is learned.
        size: width and height of the image.
    """
    w, h = size[0] // STRIDE, size[1] // STRIDE
    centres, edges = np.zeros((h, w), np.float32), np.zeros((4, h, w), np.float32)
    positive, ignored = np.zeros((h, w), bool), np.zeros((h, w), bool)
    y, x = np.mgrid[:h, :w] + 0.5
    for box in ignored_boxes:
        low, high = np.floor(box[:2] / STRIDE).astype(int), np.ceil(box[2:] / STRIDE).astype(int)
        ignored[max(low[1], 0) : max(high[1], 0), max(low[0], 0) : max(high[0], 0)] = True
    in_cells = [np.asarray(box, np.float64) / STRIDE for box in boxes]
    for box in sorted(in_cells, key=lambda b: -float(np.prod(b[2:] - b[:2]))):
        centre, side = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], 1.0)
        sigma = np.maximum(0.1 * side, 0.45)
        column, row = np.minimum(centre.astype(int), [w - 1, h - 1])
        gaussian = np.exp(
            -0.5 * (((x - column - 0.5) / sigma[0]) ** 2 + ((y - row - 0.5) / sigma[1]) ** 2)
        )
        centres = np.maximum(centres, gaussian.astype(np.float32))
        near = gaussian > POSITIVE_ABOVE
        positive |= near
        ignored[row, column] = False
        distances = np.stack([x - box[0], y - box[1], box[2] - x, box[3] - y])
        edges[:, near] = distances[:, near]
    return DetectionTargets(centres, edges, positive, ignored)
