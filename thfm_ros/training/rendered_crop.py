# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""One rendered frame in the pixels of a sample, with all labels: transformed, people pasted in.

`RenderedLayers` has the size of the sample; its `RenderedLayers.at_half_size` are the labels.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from thfm_ros.geometry import CropView, view_along
from thfm_ros.skeleton import Joint
from thfm_ros.training.augmentation.geometric import (
    FLIP,
    MIRRORED_DENSE_POSE,
    MIRRORED_NORMAL,
    PART_FLIP,
    CropTransform,
)
from thfm_ros.training.cutouts import PastedPerson
from thfm_ros.training.label_downsampling import downsampled, representatives
from thfm_ros.training.shard_store import FrameRef, Store

HIPS = [int(Joint.LEFT_HIP), int(Joint.RIGHT_HIP)]
FAR_OUTSIDE = -1e4
"""Pixel coordinate of unknown joints; joints outside the image are not labelled."""


@dataclass(frozen=True, slots=True)
class PersonLabels:
    """Labels of one person of a sample, the maps apart."""

    peaks: Float[np.ndarray, "k 2"]  # keypoints in pixels of the sample
    visibility: UInt8[np.ndarray, " k"]  # 0 outside the render, 1 occluded, 2 visible
    positions: Float[np.ndarray, "k 3"]  # metres from the middle of the hips; NaN: unknown
    root_depth: float  # of the middle of the hips, metres; NaN: unknown


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A person pasted beside, behind or in front of the target."""

    pasted: PastedPerson
    in_front: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedCrop:
    """Image and labels of one frame; ``h w`` is half the sample's size."""

    rgb: Shaped[np.ndarray, "H W 3"]  # 0..255
    inside: Float[np.ndarray, "H W"]  # 1 where the render covers the sample
    alpha: Float[np.ndarray, "H W"]  # soft mask of all people
    instances: UInt8[np.ndarray, "h w"]  # 0 background; n + 1 for people[n], the target is 1
    parts: UInt8[np.ndarray, "h w"]
    depth: Float[np.ndarray, "h w"]  # metres along the view's axis; 0: unknown
    normals: Float[np.ndarray, "h w 3"]  # axes of the view
    dense_pose: Float[np.ndarray, "h w 3"]
    people: tuple[PersonLabels, ...]
    focal_px: float  # of the view, pixels of the sample

    def with_target(self, number: int) -> "RenderedCrop":
        """The same crop with person ``number`` (from 1) as the target."""
        if number == 1:
            return self
        people = list(self.people)
        people[0], people[number - 1] = people[number - 1], people[0]
        instances = self.instances.copy()
        instances[self.instances == 1], instances[self.instances == number] = number, 1
        return replace(self, instances=instances, people=tuple(people))

    def over(self, background: np.ndarray, swap_background: bool) -> Float[np.ndarray, "H W 3"]:
        """The render, or its people only, composited over a background."""
        alpha = (self.alpha if swap_background else self.inside)[..., None]
        if not swap_background:
            alpha = np.maximum(alpha, self.alpha[..., None])
        image: np.ndarray = self.rgb * alpha + background * (1 - alpha)
        return image


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedLayers:
    """Image and labels of one frame at the sample's full size; fields as in `RenderedCrop`."""

    rgb: Shaped[np.ndarray, "H W 3"]
    inside: Float[np.ndarray, "H W"]
    alpha: Float[np.ndarray, "H W"]
    instances: UInt8[np.ndarray, "H W"]
    parts: UInt8[np.ndarray, "H W"]
    depth: Float[np.ndarray, "H W"]
    normals: Float[np.ndarray, "H W 3"]
    dense_pose: Float[np.ndarray, "H W 3"]
    people: tuple[PersonLabels, ...]
    focal_px: float

    @classmethod
    def read(
        cls, store: Store, ref: FrameRef, transform: CropTransform, size: int
    ) -> "RenderedLayers":
        """Read a frame and transform it to a sample of ``size`` pixels."""
        matrix, full = transform.matrix, (size, size)
        instances = np.ascontiguousarray(store.read("instances", ref))
        intrinsics = store.read("intrinsics", ref)
        view = _view(intrinsics, transform, size)
        depth = np.asarray(store.read("depth_m", ref), np.float32)
        depth = depth * _depth_ratio(intrinsics, view, depth.shape)
        normals = store.read("normals", ref).astype(np.float32) @ view.rotation.astype(np.float32)
        soft_mask = cv2.warpAffine((instances > 0).astype(np.float32), matrix, full)

        def warped(values: np.ndarray) -> np.ndarray:
            values = np.ascontiguousarray(values)
            return np.asarray(cv2.warpAffine(values, matrix, full, flags=cv2.INTER_NEAREST))

        dense_pose = warped(store.read("dense_pose_uv", ref).view(np.uint8)).view(np.int8)
        parts, dense_pose = warped(store.read("parts", ref)), dense_pose / np.float32(127)
        normals = warped(normals / np.float32(127))
        if transform.mirrored:
            parts = PART_FLIP[parts]
            normals, dense_pose = normals * MIRRORED_NORMAL, dense_pose * MIRRORED_DENSE_POSE
        normals = normals.copy()
        normals[..., :2] = normals[..., :2] @ transform.rotation.T.astype(np.float32)
        return cls(
            rgb=cv2.warpAffine(np.ascontiguousarray(store.read("rgb", ref)), matrix, full),
            inside=cv2.warpAffine(np.ones(instances.shape, np.float32), matrix, full),
            alpha=cv2.GaussianBlur(soft_mask, (0, 0), 0.6),
            instances=warped(instances),
            parts=parts,
            depth=warped(depth),
            normals=normals,
            dense_pose=dense_pose,
            people=tuple(_people(store, ref, transform, view)),
            focal_px=view.focal_px * transform.scale,
        )

    def with_neighbours(self, neighbours: Iterable[Neighbour]) -> "RenderedLayers":
        """Paste people in, in this order."""
        layers = self
        for neighbour in neighbours:
            layers = layers._with_neighbour(neighbour)
        return layers

    def _with_neighbour(self, neighbour: Neighbour) -> "RenderedLayers":
        pasted, alpha, mask = neighbour.pasted, neighbour.pasted.alpha, neighbour.pasted.mask
        number, people = len(self.people) + 1, self.people
        if neighbour.in_front:
            people = tuple(_occluded(person, mask) for person in people)
        else:
            alpha, mask = alpha * (1 - self.alpha), mask & (self.instances == 0)
        instances = np.where(mask, np.uint8(number), self.instances)
        on_person = mask[..., None]
        return replace(
            self,
            rgb=self.rgb * (1 - alpha[..., None]) + pasted.rgb * alpha[..., None],
            alpha=np.maximum(self.alpha, alpha),
            instances=instances,
            parts=np.where(mask, pasted.parts, self.parts),
            depth=np.where(mask, np.float32(0), self.depth),
            normals=np.where(on_person, pasted.normals, self.normals),
            dense_pose=np.where(on_person, pasted.dense_pose, self.dense_pose),
            people=(*people, _pasted_person(pasted, instances, number)),
        )

    def at_half_size(self) -> RenderedCrop:
        """The image with its labels at half its size."""
        chosen = representatives(self.instances, self.parts)
        return RenderedCrop(
            rgb=self.rgb,
            inside=self.inside,
            alpha=self.alpha,
            instances=downsampled(self.instances, chosen),
            parts=downsampled(self.parts, chosen),
            depth=downsampled(self.depth, chosen),
            normals=downsampled(self.normals, chosen),
            dense_pose=downsampled(self.dense_pose, chosen),
            people=self.people,
            focal_px=self.focal_px,
        )


def _view(intrinsics: np.ndarray, transform: CropTransform, size: int) -> CropView:
    """The view of the sample; ``intrinsics`` are fx, fy, cx, cy of the render.

    A crop does not show where in the image it lies. Half of the rendered ones are more than 12
    degrees off the axis, a twentieth more than 39: labels in the axes of the whole image's camera
    would be rotated by as much, about an axis that the network cannot see.
    """
    matrix = transform.matrix
    middle = np.linalg.solve(matrix[:, :2], (size - 1) / 2 - matrix[:, 2]) + 0.5
    ray = np.array([*((middle - intrinsics[2:]) / intrinsics[:2]), 1.0])
    return view_along(ray, float(intrinsics[0]))


def _depth_ratio(
    intrinsics: np.ndarray, view: CropView, shape: tuple[int, ...]
) -> Float[np.ndarray, "h w"]:
    """Depth along the view's axis over depth along the optical axis, for each rendered pixel."""
    fx, fy, cx, cy = intrinsics
    x, y = (np.arange(shape[1]) + 0.5 - cx) / fx, (np.arange(shape[0]) + 0.5 - cy) / fy
    axis = view.rotation[:, 2]
    ratio: np.ndarray = axis[0] * x + (axis[1] * y)[:, None] + axis[2]
    return ratio.astype(np.float32)


def _people(
    store: Store, ref: FrameRef, transform: CropTransform, view: CropView
) -> Iterator[PersonLabels]:
    """Labels of the rendered people, the target first; a shard has NaN where there are fewer."""
    for row, keypoints in enumerate(store.read("keypoints2d", ref)):
        pixels = np.nan_to_num(keypoints, nan=FAR_OUTSIDE) - 0.5  # NaN behind the camera too
        points = np.array(store.read("keypoints3d", ref)[row]) @ view.rotation
        root = points[HIPS].mean(0)
        peaks = pixels @ transform.matrix[:, :2].T + transform.matrix[:, 2] + 0.5
        positions, visibility = points - root, np.array(store.read("visibility", ref)[row])
        if transform.mirrored:
            positions = positions[FLIP] * np.array([-1, 1, 1])
            peaks, visibility = peaks[FLIP], visibility[FLIP]
        positions[:, :2] = positions[:, :2] @ transform.rotation.T
        yield PersonLabels(peaks, visibility, positions, float(root[2]))


def _occluded(person: PersonLabels, mask: Bool[np.ndarray, "H W"]) -> PersonLabels:
    """A person whose visible joints are occluded where ``mask`` is."""
    cell = np.floor(person.peaks).astype(int).clip(0, mask.shape[0] - 1)
    hidden = mask[cell[:, 1], cell[:, 0]] & (person.visibility == 2)
    return replace(person, visibility=np.where(hidden, 1, person.visibility).astype(np.uint8))


def _pasted_person(pasted: PastedPerson, instances: np.ndarray, number: int) -> PersonLabels:
    """Labels of a pasted person, who has number ``number``; positions in space are unknown."""
    peaks = np.nan_to_num(pasted.joints + 0.5, nan=FAR_OUTSIDE)
    cell = np.floor(peaks).astype(int).clip(0, instances.shape[0] - 1)
    instance = instances[cell[:, 1], cell[:, 0]]
    hidden = (instance > 0) & (instance != number) & (pasted.visibility == 2)
    visibility = np.where(hidden, 1, pasted.visibility).astype(np.uint8)
    return PersonLabels(peaks, visibility, np.full((len(Joint), 3), np.nan), float("nan"))
