# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Training samples of person crops, with all labels, from rendered clips.

A crop is transformed, augmented, and often gets neighbours: people of other renders. Labels have
half the image's size, as the network's outputs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from thfm_ros.contract import PADDING_GREY
from thfm_ros.geometry import mask_bounds
from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.augmentation.geometric import (
    CLOSE_UP_ZOOM,
    CropStyle,
    CropTransform,
    draw_transform,
    with_camera_shake,
)
from thfm_ros.training.augmentation.occluders import (
    draw_border,
    draw_counter,
    draw_occluders,
    draw_window,
)
from thfm_ros.training.augmentation.photometric import apply_photometric, draw_photometric
from thfm_ros.training.cutouts import paste, read_cutout
from thfm_ros.training.label_downsampling import covers_most, downsampled, representatives
from thfm_ros.training.rendered_crop import Neighbour, RenderedCrop, RenderedLayers
from thfm_ros.training.shard_store import FrameRef, Store
from thfm_ros.training.target_cues import UNCUED, CueChoice, cue_input, draw_cue

CLEAN_STRENGTH = 0.6
"""Strength of the photometric augmentation of clean clips; see CropStyle."""

NEIGHBOUR_SHARE = 0.35
"""Share of the samples into which one or two neighbours are pasted."""

EMPTY_SHARE = 0.06
"""Share of the samples, clean ones apart, that show only a background."""

COUNTER_SHARE = 0.06
"""Share of the samples, clean ones apart, with a table or a counter in front of the people."""

OTHER = 99
"""Instance number of the person in the middle if the cue does not point there."""

MAX_RELATIVE_DEPTH_M = 1.6
"""Farther from the hips, depth is not labelled."""


class CropSample(NamedTuple):
    """A clip of ``t`` frames; ``h w`` is half the image's size, ``k`` counts joints."""

    image: UInt8[np.ndarray, "t H W 3"]
    instances: UInt8[np.ndarray, "t h w"]  # 0 background, 1 the target, 2.. other people
    parts: UInt8[np.ndarray, "t h w"]
    relative_depth: Float32[np.ndarray, "t h w"]  # metres behind the target's hips
    depth_known: Bool[np.ndarray, "t h w"]
    normals: Float32[np.ndarray, "t h w 3"]  # axes of the crop's view
    dense_pose: Float32[np.ndarray, "t h w 3"]
    votes: Float32[np.ndarray, "t h w 2"]  # see `votes_of`
    peaks: Float32[np.ndarray, "t k 2"]  # keypoints in 0..1 of the image's width and height
    visibility: UInt8[np.ndarray, "t k"]  # 0 outside the image, 1 occluded, 2 visible
    positions: Float32[np.ndarray, "t k 3"]  # metres from the middle of the hips; NaN: unknown
    log_width: Float32[np.ndarray, " t"]  # ln of the longer side in metres; NaN: unknown
    presence: Float32[np.ndarray, " t"]  # 1 there is a target, 0 there is not, NaN not labelled
    cue: Float32[np.ndarray, "t 5"]  # see model.target_cue


def single_frame(**labels: np.ndarray | np.float32) -> CropSample:
    """A sample of one frame, from its arrays without the leading axis."""
    return CropSample(**{name: np.asarray(value)[None] for name, value in labels.items()})


def joined(frames: Sequence[CropSample]) -> CropSample:
    """One clip of all these frames."""
    return CropSample(*(np.concatenate(values) for values in zip(*frames, strict=True)))


def votes_of(instances: UInt8[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w 2"]:
    """From each pixel of a person to the centre of the person's box, in the map's longer side."""
    h, w = instances.shape
    votes = np.zeros((h, w, 2), np.float32)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    for number in np.unique(instances):
        if number == 0:
            continue
        mask = instances == number
        bounds = mask_bounds(mask)
        assert bounds is not None
        x0, y0, x1, y1 = bounds
        centre_x, centre_y = (x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2
        votes[mask] = np.stack([centre_x - x[mask], centre_y - y[mask]], -1)
    return np.asarray(votes / max(h, w))


def crop_sample(
    store: Store,
    refs: list[FrameRef],
    backgrounds: Backgrounds,
    rng: np.random.Generator,
    style: CropStyle,
) -> CropSample:
    """An augmented sample of consecutive frames of one clip.

    If all ``refs`` are the same frame, the camera shakes: a person at rest, seen by a robot.
    """
    size = style.size
    rendered = store.read("rgb", refs[0]).shape[0]
    transforms = _draw_transforms(rendered, refs, rng, style)
    clean = rng.random() < style.clean_share
    photometric = draw_photometric(rng, CLEAN_STRENGTH if clean else 1.0)
    background = backgrounds.draw(rng, size, size)
    swap_background = not clean and rng.random() < 0.5
    empty = not clean and rng.random() < EMPTY_SHARE
    layers = [
        RenderedLayers.read(store, ref, transform, size)
        for ref, transform in zip(refs, transforms, strict=True)
    ]
    neighbours = draw_neighbours(store, layers[0], rng)
    crops = [each.with_neighbours(neighbours).at_half_size() for each in layers]
    cue = draw_cue(rng, crops[0].instances)
    occluders = draw_occluders(
        rng, size, backgrounds, 0.0 if clean else 0.4 * (1 - 0.8 * style.augmentation_ramp)
    )
    close_up = transforms[0].scale * rendered / size >= CLOSE_UP_ZOOM
    border = draw_window(rng, size) if close_up else draw_border(rng, size)
    if not clean and rng.random() < COUNTER_SHARE:
        occluders += draw_counter(rng, size, rng.uniform(0.4, 0.8) * size, backgrounds)
    frames = []
    for t, crop in enumerate(crops):
        image = background.copy() if empty else crop.over(background, swap_background)
        hidden = np.zeros((size, size), np.uint8)
        for occluder in occluders:
            mask = occluder.mask(size, t)
            image = np.where(mask[..., None] > 0, occluder.fill, image)
            hidden |= mask
        image = apply_photometric(image.astype(np.float32), photometric, rng)
        if border is not None:
            image[border] = PADDING_GREY
            hidden[border] = 1
        frames.append(labelled(crop, image, hidden, empty, cue))
    return joined(frames)


def _draw_transforms(
    rendered: int, refs: list[FrameRef], rng: np.random.Generator, style: CropStyle
) -> list[CropTransform]:
    """One transform for all frames of a clip, or one each if the camera shakes.

    ``rendered`` is the side of the rendered crops in pixels.
    """
    transform = draw_transform(rng, rendered, style)
    if len(refs) > 1 and len(set(refs)) == 1:
        return with_camera_shake(rng, transform, style.size, len(refs))
    return [transform] * len(refs)


def draw_neighbours(
    store: Store, target: RenderedLayers, rng: np.random.Generator
) -> list[Neighbour]:
    """People of other renders beside, behind and in front of the target, about as tall."""
    if rng.random() >= NEIGHBOUR_SHARE:
        return []
    size = len(target.instances)
    chosen = representatives(target.instances, target.parts)
    bounds = mask_bounds(downsampled(target.instances, chosen) == 1)
    if bounds is None or bounds[3] - bounds[1] < 4:
        return []
    left, top = 2.0 * bounds[0], 2.0 * bounds[1]
    right, bottom = 2.0 * (bounds[2] - 1), 2.0 * (bounds[3] - 1)
    neighbours = []
    for _ in range(int(rng.integers(1, 3))):
        person = read_cutout(store, store.pick(rng), bool(rng.random() < 0.5))
        cut_off_below = bottom > size - 5
        if person is None or not (person.whole or cut_off_below):
            continue
        height = (bottom - top) * float(np.exp(rng.normal(0, 0.2)))
        width = height * person.mask.shape[1] / person.mask.shape[0]
        offset = rng.uniform(0.1, 0.8) * (width + right - left) / 2 * rng.choice([-1, 1])
        middle, feet = (left + right) / 2 + offset, bottom + rng.normal(0, 0.06) * (bottom - top)
        pasted = paste(person, height, middle - width / 2, feet - height, (size, size))
        neighbours.append(Neighbour(pasted, bool(rng.random() < 0.4)))
    return neighbours


def plain_sample(store: Store, refs: list[FrameRef], size: int) -> CropSample:
    """Consecutive frames as rendered, only resized and without a cue, for evaluation."""
    scale = size / store.read("rgb", refs[0]).shape[0]
    offset = (scale - 1) / 2  # pixel centres stay on pixel centres
    transform = CropTransform(np.array([[scale, 0, offset], [0, scale, offset]]), scale, 0.0, False)
    nothing = np.zeros((size, size), np.uint8)
    crops = [RenderedLayers.read(store, ref, transform, size).at_half_size() for ref in refs]
    return joined([labelled(crop, crop.rgb, nothing, False, UNCUED) for crop in crops])


def labelled(
    crop: RenderedCrop,
    image: UInt8[np.ndarray, "H W 3"],
    hidden: UInt8[np.ndarray, "H W"],
    empty: bool,
    cue: CueChoice,
) -> CropSample:
    """One frame with its labels.

    Args:
        crop: the rendered frame.
        image: what the network sees of it, after augmentation.
        hidden: 1 where occluders or the border cover the render.
        empty: the image shows only a background.
        cue: the target and its cue.
    """
    size = image.shape[0]
    crop = crop.with_target(max(cue.target, 1))
    target = crop.people[0]
    instances = np.where(covers_most(hidden) | empty, 0, crop.instances).astype(np.uint8)
    present = not empty and cue.target > 0
    if not present:
        instances[instances == 1] = OTHER
    person = instances > 0
    relative_depth = crop.depth - np.float32(target.root_depth)
    near = np.abs(relative_depth) < MAX_RELATIVE_DEPTH_M
    cell = np.floor(target.peaks).astype(int)
    inside = ((cell >= 0) & (cell < size)).all(1) & (target.visibility > 0) & present
    cell = cell.clip(0, size - 1)
    visible = inside & (target.visibility == 2) & (hidden[cell[:, 1], cell[:, 0]] == 0)
    return single_frame(
        image=image,
        instances=instances,
        parts=np.where(person, crop.parts, 0).astype(np.uint8),
        relative_depth=np.nan_to_num(relative_depth).clip(-2, 2).astype(np.float32),
        depth_known=person & (crop.depth > 0) & near & present,
        normals=crop.normals,
        dense_pose=crop.dense_pose,
        votes=votes_of(instances),
        peaks=(target.peaks / size).astype(np.float32),
        visibility=np.where(visible, 2, np.where(inside, 1, 0)).astype(np.uint8),
        positions=target.positions.astype(np.float32),
        log_width=np.float32(np.log(size * np.maximum(target.root_depth, 0.1) / crop.focal_px)),
        presence=np.float32(present),
        cue=cue_input(cue, crop.instances),  # if empty, of a person who is not there
    )
