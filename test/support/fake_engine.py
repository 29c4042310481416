# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""An engine without weights whose outputs are the ground truth of a known scene.

Its images encode their own coordinates as colours (red grows with x, green with y, blue is 255;
the padding outside the image has blue 114). From the crop alone the engine solves for its
`PixelMap` and computes the outputs of a perfect network for exactly that region. So tests of
decoding or of the pipeline also test the cropping.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from thfm_ros.contract import Distortion, Frame, Intrinsics, LensModel, PixelMap, Task
from thfm_ros.model.card import ModelCard
from thfm_ros.model.outputs import BodyOutputs, DenseOutputs, DetectionOutputs, RawOutputs
from thfm_ros.skeleton import JOINT_NAMES, PART_NAMES, Joint

CARD = ModelCard(
    name="fake",
    family="nano",
    tasks=tuple(Task),
    prompts={task.value: task.value for task in Task},
    joint_names=JOINT_NAMES,
    part_names=PART_NAMES,
)


@dataclass(frozen=True)
class Person:
    """A flat person perpendicular to the optical axis; joints on a grid over the box."""

    x: float  # pelvis, optical frame, metres
    y: float
    z: float
    height_m: float = 1.7
    width_m: float = 0.6

    def joints_m(self) -> np.ndarray:
        """All joints in the optical frame, [k 3]; spread over the box and in depth."""
        index = np.arange(len(Joint))
        across = ((index % 5) / 4 - 0.5) * 0.8 * self.width_m
        down = ((index // 5) / 6 - 0.5) * 0.9 * self.height_m
        ahead = 0.2 * np.sin(index)
        joints = np.stack([across, down, ahead], 1)
        middle = joints[[Joint.LEFT_HIP, Joint.RIGHT_HIP]].mean(0)
        return np.asarray(joints - middle + self.root_m)

    @property
    def root_m(self) -> np.ndarray:
        """The middle of the hips."""
        return np.array([self.x, self.y, self.z])


def camera(width: int = 640, height: int = 480, focal: float = 500.0) -> Intrinsics:
    """A pinhole camera."""
    return Intrinsics(focal, focal, width / 2 + 3, height / 2 - 5, width, height)


def fisheye(width: int = 640, height: int = 480, focal: float = 230.0) -> Intrinsics:
    """An equidistant fisheye lens without further distortion: 159 degrees wide."""
    lens = Distortion(LensModel.EQUIDISTANT, (0.0,) * 4)
    return Intrinsics(focal, focal, width / 2 + 3, height / 2 - 5, width, height, lens)


def pixels_of(points: np.ndarray, k: Intrinsics) -> np.ndarray:
    """Projection by a pinhole or by `fisheye`, independent of the implementation under test."""
    x, y = points[:, 0] / points[:, 2], points[:, 1] / points[:, 2]
    if k.distortion is not None:
        radius = np.maximum(np.hypot(x, y), 1e-12)
        x, y = (each * np.arctan(radius) / radius for each in (x, y))
    return np.stack([k.fx * x + k.cx, k.fy * y + k.cy], 1)


def tangents_of(x: np.ndarray, y: np.ndarray, k: Intrinsics) -> tuple[np.ndarray, np.ndarray]:
    """x / z and y / z of the rays through pixels: the inverse of `pixels_of`."""
    x, y = (x - k.cx) / k.fx, (y - k.cy) / k.fy
    if k.distortion is None:
        return x, y
    angle = np.maximum(np.hypot(x, y), 1e-12)
    stretch = np.where(angle < 1.5, np.tan(np.minimum(angle, 1.5)) / angle, np.nan)
    return x * stretch, y * stretch


def box_of(person: Person, k: Intrinsics) -> np.ndarray:
    """The bounding box of the person: 5 % larger than that of its joints."""
    uv = pixels_of(person.joints_m(), k)
    low, high = uv.min(0), uv.max(0)
    pad = 0.05 * (high - low).max()
    return np.array([*(low - pad), *(high + pad)])


def image(k: Intrinsics) -> np.ndarray:
    """RGB image whose colours encode its coordinates."""
    rgb = np.full((k.height, k.width, 3), 255, np.uint8)
    rgb[..., 0] = np.round((np.arange(k.width) + 0.5) / k.width * 255)
    rgb[..., 1] = np.round((np.arange(k.height) + 0.5) / k.height * 255)[:, None]
    return rgb


def frame(k: Intrinsics, at_s: float = 0.0, *, calibrated: bool = True) -> Frame:
    """A frame with the image of `image`."""
    return Frame(image(k), round(at_s * 1e9), "camera", k if calibrated else None)


def region_of(crop: np.ndarray, k: Intrinsics) -> PixelMap:
    """The region of a crop, by straight-line fits of one slope to its colours."""
    height, width = crop.shape[:2]
    rows, columns = np.nonzero(crop[..., 2] == 255)
    pixels = np.stack([columns, rows]) + 0.5
    source = crop[rows, columns, :2].T / 255 * [[k.width], [k.height]]
    means, source_means = pixels.mean(1), source.mean(1)
    centred = pixels - means[:, None]
    scale = (centred * source).sum() / (centred**2).sum()
    x, y = source_means - scale * means
    return PixelMap(float(scale), float(x), float(y), width, height)


class FakeEngine:
    """For any crop of `image(k)`, the ground truth of the people in ``scene()``."""

    def __init__(self, k: Intrinsics, scene: Callable[[], list[Person]]) -> None:
        self.card = CARD
        self.description = "no network"
        self.fallback_reason: str | None = None
        self.concurrent = True
        self.k = k
        self.scene = scene
        self.steps: list[tuple[int, int]] = []  # sizes of its input images
        self.states: list[object | None] = []  # and the states passed with them

    def detect(self, image: np.ndarray) -> DetectionOutputs:
        self.steps.append((image.shape[1], image.shape[0]))
        return perfect_detections(region_of(image, self.k), self.k, self.scene())

    def step(
        self,
        crop: np.ndarray,
        state: object | None,
        *,
        dense: bool,
        target_box: np.ndarray | None = None,
    ) -> tuple[RawOutputs, object]:
        self.steps.append((crop.shape[1], crop.shape[0]))
        self.states.append(state)
        age = state + 1 if isinstance(state, int) else 1
        return perfect_outputs(
            region_of(crop, self.k), self.k, self.scene(), dense, target_box
        ), age


def perfect_detections(region: PixelMap, k: Intrinsics, people: list[Person]) -> DetectionOutputs:
    """The detection outputs of a perfect network for a whole image or a tile."""
    boxes = []
    for person in sorted(people, key=lambda each: -each.z):
        corners = box_of(person, k).reshape(2, 2) - [region.offset_x, region.offset_y]
        box = (corners / region.scale).reshape(4)
        box = np.clip(box, 0, [region.width, region.height] * 2)
        if (box[2:] - box[:2]).min() >= 1.6:
            boxes.append(box)
    return encoded_boxes(boxes, region.width, region.height)


def encoded_boxes(boxes: Sequence[np.ndarray], width: int, height: int) -> DetectionOutputs:
    """The detection outputs that describe boxes exactly, given in pixels of the network image.

    A later box replaces an earlier one whose centre lies in the same cell. Sides of at least a
    cell (8 pixels) can be described: the centre of the cell is then inside the box.
    """
    rows, columns = height // 8, width // 8
    centres = np.full((rows, columns), -8, np.float32)
    edges = np.zeros((4, rows, columns), np.float32)
    for pixels in boxes:
        box = np.asarray(pixels) / 8
        column, row = ((box[:2] + box[2:]) / 2).astype(int)
        centre = np.array([column, row]) + 0.5
        centres[row, column] = 8
        distances = np.concatenate([centre - box[:2], box[2:] - centre])
        edges[:, row, column] = np.log(np.maximum(distances, 1e-3) / 4)
    return DetectionOutputs(centres, edges)


def perfect_outputs(
    region: PixelMap,
    k: Intrinsics,
    people: list[Person],
    dense: bool = True,
    target_box: np.ndarray | None = None,
) -> RawOutputs:
    """The outputs of a perfect network for a region; ``target_box`` in shares of its sides."""
    middle = np.array([region.width, region.height]) / 2
    if target_box is not None:
        middle = middle * (target_box[:2] + target_box[2:])

    def distance(person: Person) -> float:
        x0, y0, x1, y1 = box_of(person, k)
        centre = np.array([x0 + x1, y0 + y1]) / 2
        offset = np.array([region.offset_x, region.offset_y])
        return float(np.hypot(*((centre - offset) / region.scale - middle)))

    near = [p for p in sorted(people, key=distance) if distance(p) < 0.3 * region.width]
    body = _body(region, k, near[0]) if near else _no_person(region)
    target = near[0] if near else None
    return RawOutputs(body, _dense(region, k, people, target) if dense else None)


def view_rotation(region: PixelMap, k: Intrinsics) -> tuple[np.ndarray, float]:
    """R_optical_view, and 1 / cos of the angle off the axis, at the centre of the region."""
    centre_x = np.array(region.offset_x + region.scale * region.width / 2)
    centre_y = np.array(region.offset_y + region.scale * region.height / 2)
    x, y = (float(each) for each in tangents_of(centre_x, centre_y, k))
    z_axis = np.array([x, y, 1.0]) / math.sqrt(x * x + y * y + 1)
    axis = np.cross([0, 0, 1.0], z_axis)
    sine, cosine = np.linalg.norm(axis), z_axis[2]
    if sine < 1e-12:
        return np.eye(3), 1.0
    a = axis / sine
    cross = np.array([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])
    rotation = np.eye(3) + sine * cross + (1 - cosine) * cross @ cross
    return rotation, math.sqrt(x * x + y * y + 1)


def _body(region: PixelMap, k: Intrinsics, person: Person) -> BodyOutputs:
    rows, columns = region.height // 4, region.width // 4
    joints = person.joints_m()
    uv = pixels_of(joints, k)
    cells = (uv - [region.offset_x, region.offset_y]) / region.scale / 4
    y, x = np.mgrid[:rows, :columns] + 0.5
    squared = (x - cells[:, 0, None, None]) ** 2 + (y - cells[:, 1, None, None]) ** 2
    inside = (cells > 0).all(1) & (cells < [columns, rows]).all(1)
    rotation, stretch = view_rotation(region, k)
    root_view = rotation.T @ person.root_m
    focal = math.sqrt(k.fx * k.fy) * stretch**1.5
    if k.distortion is not None:
        focal = root_view[2] * _pixels_per_metre(person.root_m, rotation, k)
    return BodyOutputs(
        heatmaps=(-squared / (2 * 0.7**2)).astype(np.float32),
        positions=((joints - person.root_m) @ rotation).astype(np.float32),
        visibility=np.stack([np.where(inside, 8, -8), np.full(len(uv), 8)], 1).astype(np.float32),
        log_width=math.log(root_view[2] * region.scale * max(region.width, region.height) / focal),
        presence=8.0,
    )


def _pixels_per_metre(point: np.ndarray, rotation: np.ndarray, k: Intrinsics) -> float:
    """The scale of the image at a point, across the axis of the view."""
    steps = np.array([[0.01, 0, 0], [-0.01, 0, 0], [0, 0.01, 0], [0, -0.01, 0]])
    right, left, below, above = pixels_of(point + steps @ rotation.T, k)
    return math.sqrt(abs(np.linalg.det(np.array([right - left, below - above])))) / 0.02


def _no_person(region: PixelMap) -> BodyOutputs:
    k = len(Joint)
    return BodyOutputs(
        heatmaps=np.zeros((k, region.height // 4, region.width // 4), np.float32),
        positions=np.zeros((k, 3), np.float32),
        visibility=np.full((k, 2), -8, np.float32),
        log_width=0.0,
        presence=-8.0,
    )


def _dense(
    region: PixelMap, k: Intrinsics, people: list[Person], target: Person | None
) -> DenseOutputs:
    rows, columns = region.height // 2, region.width // 2
    maps = DenseOutputs(
        mask=np.full((rows, columns), -8, np.float32),
        parts=np.zeros((17, rows, columns), np.float32),
        relative_depth_m=np.zeros((rows, columns), np.float32),
        normals=np.zeros((3, rows, columns), np.float32),
        dense_pose_uv=np.zeros((3, rows, columns), np.float32),
        votes=np.zeros((2, rows, columns), np.float32),
        target=np.full((rows, columns), -8, np.float32),
    )
    rotation, _ = view_rotation(region, k)
    step = 2 * region.scale
    y, x = np.mgrid[:rows, :columns] + 0.5
    x, y = x * step + region.offset_x, y * step + region.offset_y
    reference = target or Person(0, 0, 1)
    for person in sorted(people, key=lambda each: -each.z):
        x0, y0, x1, y1 = box_of(person, k)
        here = (x > x0) & (x < x1) & (y > y0) & (y < y1)
        longer = max(rows, columns) * step  # of the region, in source pixels
        maps.mask[here] = 8
        maps.target[here] = 8 if person is target else -8
        maps.votes[0][here] = ((x0 + x1) / 2 - x[here]) / longer
        maps.votes[1][here] = ((y0 + y1) / 2 - y[here]) / longer
        upper = (y - y0) / (y1 - y0) < 0.5
        maps.parts[:, here] = 0
        maps.parts[PART_NAMES.index("torso"), here & upper] = 9
        maps.parts[PART_NAMES.index("left_upper_leg"), here & ~upper] = 9
        ray = np.stack([*tangents_of(x, y, k), np.ones_like(x)], -1)
        wall = ray * person.z  # at the depth of the pelvis
        root_relative = wall @ rotation[:, 2] - (rotation.T @ reference.root_m)[2]
        maps.relative_depth_m[here] = root_relative[here]
        maps.normals[:, here] = 3.0 * (rotation.T @ [0, 0, -1.0])[:, None]  # not normalised
        angle = 2 * np.pi * 0.25
        maps.dense_pose_uv[:, here] = np.array([np.cos(angle), np.sin(angle), 0.5])[:, None]
    return maps
