# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Training samples of whole frames: rendered ones, and people of several renders in one image.

A person whose whole outline was rendered can be pasted anywhere at any smaller size with exact
labels. Light and ground do not match then, but detection must not depend on them. Labels that
belong to one camera (depth, the target's joints) are unknown in these samples.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from thfm_ros.contract import PADDING_GREY
from thfm_ros.skeleton import Joint
from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.augmentation.busy_surfaces import draw_busy_surfaces
from thfm_ros.training.augmentation.geometric import (
    MIRRORED_DENSE_POSE,
    MIRRORED_NORMAL,
    PART_FLIP,
    similarity,
)
from thfm_ros.training.augmentation.photometric import apply_photometric, draw_photometric
from thfm_ros.training.crop_samples import CropSample, single_frame, votes_of
from thfm_ros.training.cutouts import Cutout, paste, read_cutout, rotated
from thfm_ros.training.label_downsampling import downsampled, representatives
from thfm_ros.training.shard_store import Store
from thfm_ros.training.target_cues import NO_CUE

CROWD = (0.10, 0.24, 0.22, 0.16, 0.10, 0.08, 0.06, 0.04)
"""Probabilities of 0, 1, 2 ... people in a composed image."""

LYING_SHARE = 0.12
"""Share of pasted people who are rotated by quarters: a robot must detect a person on the floor."""

BUSY_SHARE = 0.2
"""Share of the rendered images that get busy surfaces behind the people."""

CLOSE_UP_SHARE = 0.3
"""Share of composed images that show one or two people from near, often cut off by the edge."""


class _Canvas:
    """An image that is composed from the farthest person to the nearest, with its labels."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        h, w = image.shape[:2]
        self.instances: np.ndarray = np.zeros((h, w), np.uint8)
        self.parts: np.ndarray = np.zeros((h, w), np.uint8)
        self.normals: np.ndarray = np.zeros((h, w, 3), np.float32)
        self.dense_pose: np.ndarray = np.zeros((h, w, 3), np.float32)

    def paste(self, person: Cutout, number: int, height: float, left: float, top: float) -> None:
        """Add person ``number``; see `cutouts.paste`."""
        h, w = self.instances.shape
        pasted = paste(person, height, left, top, (w, h))
        alpha, mask = pasted.alpha[..., None], pasted.mask
        self.image = self.image * (1 - alpha) + pasted.rgb * alpha
        self.instances[mask] = number
        self.parts[mask] = pasted.parts[mask]
        self.normals[mask] = pasted.normals[mask]
        self.dense_pose[mask] = pasted.dense_pose[mask]

    def occlude(self, rng: np.random.Generator, backgrounds: Backgrounds) -> None:
        """Put a post, a table or the edge of a wall in front of all people."""
        h, w = self.instances.shape
        width, height = rng.uniform(0.02, 0.35) * w, rng.uniform(0.05, 0.6) * h
        x, y = rng.uniform(-0.1, 1) * w, rng.uniform(0.2, 1) * h
        box = (slice(max(0, int(y)), int(y + height)), slice(max(0, int(x)), int(x + width)))
        colour = rng.uniform(0, 255, 3)
        self.image[box] = backgrounds.draw(rng, w, h)[box] if rng.random() < 0.6 else colour
        self.clear(box)

    def clear(self, region: tuple[slice, slice]) -> None:
        """Remove the labels of a region."""
        for labels in (self.instances, self.parts, self.normals, self.dense_pose):
            labels[region] = 0


def rendered_sample(store: Store, rng: np.random.Generator, size: tuple[int, int]) -> CropSample:
    """One rendered whole frame of ``size`` (width, height), zoomed, shifted and mirrored."""
    ref = store.frames[rng.integers(len(store))]
    rgb = np.ascontiguousarray(store.read("rgb", ref))
    mirrored = bool(rng.random() < 0.5)
    zoom = size[1] / rgb.shape[0] * float(np.exp(rng.uniform(-0.25, 0.5)))
    shift = rng.normal(0, 0.08, 2) * size
    middle = (np.array(size) - 1) / 2 + shift
    matrix = similarity((rgb.shape[1], rgb.shape[0]), middle, zoom, mirrored=mirrored)
    image = cv2.warpAffine(rgb, matrix, size, borderValue=(PADDING_GREY,) * 3)

    def warped(key: str) -> np.ndarray:
        values = np.ascontiguousarray(store.read(key, ref)).view(np.uint8)
        return np.asarray(cv2.warpAffine(values, matrix, size, flags=cv2.INTER_NEAREST))

    canvas = _Canvas(image)
    canvas.instances, canvas.parts = warped("instances"), warped("parts")
    if rng.random() < BUSY_SHARE:
        background = image.astype(np.float32)
        draw_busy_surfaces(rng, background)
        image = np.where(canvas.instances[..., None] > 0, image, background.astype(np.uint8))
    canvas.normals = warped("normals").view(np.int8).astype(np.float32) / 127
    canvas.dense_pose = warped("dense_pose_uv").view(np.int8).astype(np.float32) / 127
    if mirrored:
        canvas.parts = PART_FLIP[canvas.parts]
        canvas.normals *= MIRRORED_NORMAL
        canvas.dense_pose *= MIRRORED_DENSE_POSE
    photometric = draw_photometric(rng, 0.8)
    return _labelled(canvas, apply_photometric(image.astype(np.float32), photometric, rng))


def empty_sample(image: UInt8[np.ndarray, "H W 3"]) -> CropSample:
    """An image without people, as a clip of one frame without a target."""
    return _labelled(_Canvas(image), image)._replace(presence=np.zeros(1, np.float32))


def frame_sample(
    store: Store, backgrounds: Backgrounds, rng: np.random.Generator, size: tuple[int, int]
) -> CropSample:
    """One composed image of ``size`` (width, height), as a clip of one frame."""
    width, height = size
    canvas = _Canvas(backgrounds.draw(rng, width, height))
    heights = _draw_heights(rng) * height
    for number, pixels in enumerate(heights, start=1):
        _paste_random_person(canvas, store, rng, number, float(pixels))
    if rng.random() < 0.3:
        canvas.occlude(rng, backgrounds)
    image = apply_photometric(canvas.image.astype(np.float32), draw_photometric(rng, 0.8), rng)
    if rng.random() < 0.3:
        _letterbox(rng, canvas, image)
    return _labelled(canvas, image)


def _draw_heights(rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    """Heights of the people as shares of the image's, farthest person first."""
    if rng.random() < CLOSE_UP_SHARE:
        return np.sort(rng.uniform(0.6, 1.8, rng.integers(1, 3)))
    people = rng.choice(len(CROWD), p=CROWD)
    typical = np.exp(rng.uniform(np.log(0.12), np.log(1.05)))
    return np.sort(np.clip(typical * np.exp(rng.normal(0, 0.25, people)), 0.07, 1.3))


def _paste_random_person(
    canvas: _Canvas, store: Store, rng: np.random.Generator, number: int, pixels: float
) -> None:
    """Paste a random person about ``pixels`` tall as number ``number``, in at most 8 attempts."""
    for _ in range(8):
        ref = store.pick(rng)
        person = read_cutout(store, ref, bool(rng.random() < 0.5))
        if person is None:
            continue
        h, w = canvas.instances.shape
        left = rng.uniform(-0.3, 0.95) * w if rng.random() < 0.2 else rng.uniform(0, 0.85) * w
        if person.whole:
            if rng.random() < LYING_SHARE:
                longer = max(person.mask.shape)
                person = rotated(person, int(rng.integers(1, 4)))
                pixels *= person.mask.shape[0] / longer
            top = rng.uniform(-0.1, 1.05) * h - 0.5 * pixels
        elif pixels > 0.35 * h:
            # Cut off at the knees or the waist: only the image's lower edge explains that.
            top = h - pixels * rng.uniform(0.85, 0.99)
        else:
            continue
        canvas.paste(person, number, pixels, left, top)
        return


def _letterbox(rng: np.random.Generator, canvas: _Canvas, image: np.ndarray) -> None:
    """Paint grey bars over the image, in place, and remove the labels there."""
    h, w = image.shape[:2]
    if rng.random() < 0.5:
        bar = int(rng.uniform(0.02, 0.2) * h)
        bars = [(slice(0, bar), slice(None)), (slice(h - bar, h), slice(None))]
    else:
        bar = int(rng.uniform(0.02, 0.2) * w)
        bars = [(slice(None), slice(0, bar)), (slice(None), slice(w - bar, w))]
    for region in bars:
        image[region] = PADDING_GREY
        canvas.clear(region)


def _labelled(canvas: _Canvas, image: UInt8[np.ndarray, "H W 3"]) -> CropSample:
    """The sample of a canvas; ``image`` is its image after augmentation."""
    joints = len(Joint)
    chosen = representatives(canvas.instances, canvas.parts)
    instances = downsampled(canvas.instances, chosen)
    return single_frame(
        image=image,
        instances=instances,
        parts=downsampled(canvas.parts, chosen),
        relative_depth=np.zeros(instances.shape, np.float32),
        depth_known=np.zeros(instances.shape, bool),
        normals=downsampled(canvas.normals, chosen),
        dense_pose=downsampled(canvas.dense_pose, chosen),
        votes=votes_of(instances),
        peaks=np.zeros((joints, 2), np.float32),
        visibility=np.zeros(joints, np.uint8),
        positions=np.full((joints, 3), np.nan, np.float32),
        log_width=np.float32(np.nan),
        presence=np.float32(np.nan),
        cue=NO_CUE,
    )
