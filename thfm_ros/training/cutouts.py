# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""One person cut out of a render, to be pasted into another image with exact labels.

People are cut out of photographs, too, where the mask is all that is needed.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from thfm_ros.training.augmentation.geometric import (
    FLIP,
    MIRRORED_DENSE_POSE,
    MIRRORED_NORMAL,
    PART_FLIP,
)
from thfm_ros.training.shard_store import FrameRef, Store

MIN_WIDTH, MIN_HEIGHT, MIN_PIXELS = 8, 16, 150
"""Smaller visible parts of a person are not cut out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutout:
    """One person at the resolution of the render, within their bounding box."""

    rgb: UInt8[np.ndarray, "h w 3"]
    mask: UInt8[np.ndarray, "h w"]  # 0 or 1
    parts: UInt8[np.ndarray, "h w"]
    normals: Float[np.ndarray, "h w 3"]
    dense_pose: Float[np.ndarray, "h w 3"]
    joints: Float[np.ndarray, "k 2"]  # pixels, the first centre is 0; NaN: unknown
    visibility: UInt8[np.ndarray, " k"]  # 0 outside the render, 1 occluded, 2 visible
    whole: bool  # not cut off by the render's border


@dataclass(frozen=True, slots=True, kw_only=True)
class PastedPerson:
    """A cutout as it lies in an image of some size; layers have the size of that image."""

    rgb: Float[np.ndarray, "h w 3"]
    alpha: Float[np.ndarray, "h w"]  # share of the person in a pixel's colour
    mask: Bool[np.ndarray, "h w"]
    parts: UInt8[np.ndarray, "h w"]
    normals: Float[np.ndarray, "h w 3"]
    dense_pose: Float[np.ndarray, "h w 3"]
    joints: Float[np.ndarray, "k 2"]  # pixels of the image, the first centre is 0; NaN: unknown
    visibility: UInt8[np.ndarray, " k"]  # as rendered, without what the image's edge cuts off


def read_cutout(store: Store, ref: FrameRef, mirrored: bool) -> Cutout | None:
    """The target of a frame; None if too little of the person is visible."""
    mask = (store.read("instances", ref) == 1).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(mask)
    if w < MIN_WIDTH or h < MIN_HEIGHT or mask.sum() < MIN_PIXELS:
        return None
    size = mask.shape[0]
    box = (slice(y, y + h), slice(x, x + w))
    cutout = Cutout(
        rgb=np.array(store.read("rgb", ref)[box]),
        mask=mask[box],
        parts=np.array(store.read("parts", ref)[box]),
        normals=store.read("normals", ref)[box] / np.float32(127),
        dense_pose=store.read("dense_pose_uv", ref)[box] / np.float32(127),
        joints=np.array(store.read("keypoints2d", ref)[0], np.float32) - 0.5 - [x, y],
        visibility=np.array(store.read("visibility", ref)[0]),
        whole=x > 0 and y > 0 and x + w < size and y + h < size,
    )
    return flipped(cutout) if mirrored else cutout


def cutout_of_photograph(
    rgb: UInt8[np.ndarray, "h w 3"], mask: UInt8[np.ndarray, "h w"], *, whole: bool
) -> Cutout:
    """A person without labels other than the mask: all joints are unknown."""
    height, width = mask.shape
    nothing = np.zeros((height, width, 3), np.float32)
    return Cutout(
        rgb=rgb,
        mask=mask,
        parts=np.zeros((height, width), np.uint8),
        normals=nothing,
        dense_pose=nothing,
        joints=np.full((len(FLIP), 2), np.nan),
        visibility=np.zeros(len(FLIP), np.uint8),
        whole=whole,
    )


def flipped(person: Cutout) -> Cutout:
    """The person in a mirror, left and right exchanged in all labels."""
    width = person.mask.shape[1]
    return Cutout(
        rgb=person.rgb[:, ::-1],
        mask=person.mask[:, ::-1],
        parts=PART_FLIP[person.parts[:, ::-1]],
        normals=person.normals[:, ::-1] * MIRRORED_NORMAL,
        dense_pose=person.dense_pose[:, ::-1] * MIRRORED_DENSE_POSE,
        joints=(np.array([width - 1, 0]) + person.joints * [-1, 1])[FLIP],
        visibility=person.visibility[FLIP],
        whole=person.whole,
    )


def rotated(person: Cutout, quarters: int) -> Cutout:
    """The person after so many quarter turns counterclockwise: lying, or upside down."""
    for _ in range(quarters % 4):
        width = person.mask.shape[1]
        normals = np.rot90(person.normals)
        x, y = person.joints.T
        person = replace(
            person,
            rgb=np.rot90(person.rgb),
            mask=np.rot90(person.mask),
            parts=np.rot90(person.parts),
            dense_pose=np.rot90(person.dense_pose),
            normals=np.stack([normals[..., 1], -normals[..., 0], normals[..., 2]], -1),
            joints=np.stack([y, width - 1 - x], 1),
        )
    return person


def paste(
    person: Cutout, height: float, left: float, top: float, size: tuple[int, int]
) -> PastedPerson:
    """Scale a person and place them in an image; what lies outside is cut off.

    Args:
        person: the cutout.
        height: of its box after scaling, pixels.
        left: x of its box in the image, pixels; ``top`` is its y.
        top: see ``left``.
        size: width and height of the image.
    """
    scale = height / person.mask.shape[0]
    matrix = np.array([[scale, 0, left], [0, scale, top]])
    rgb, soft_mask = person.rgb, person.mask.astype(np.float32)
    if scale < 0.6:
        rgb = cv2.GaussianBlur(rgb, (0, 0), 0.45 / scale)
        soft_mask = cv2.GaussianBlur(soft_mask, (0, 0), 0.45 / scale)

    def warped(values: Shaped[np.ndarray, "h w *c"]) -> np.ndarray:
        values = np.ascontiguousarray(values)
        return np.asarray(cv2.warpAffine(values, matrix, size, flags=cv2.INTER_NEAREST))

    alpha = cv2.warpAffine(np.ascontiguousarray(soft_mask), matrix, size)
    colours = cv2.warpAffine(
        np.ascontiguousarray(rgb), matrix, size, borderMode=cv2.BORDER_REPLICATE
    )
    return PastedPerson(
        rgb=colours.astype(np.float32),
        alpha=alpha,
        mask=(alpha > 0.5) & (warped(person.mask) > 0),
        parts=warped(person.parts),
        normals=warped(person.normals),
        dense_pose=warped(person.dense_pose),
        joints=person.joints * scale + [left, top],
        visibility=person.visibility,
    )
