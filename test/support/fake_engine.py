"""An engine that needs no weights: it knows the scene, and finds out for itself where it looks.

The images of a `Scene` carry their own coordinates as colours (red grows with x, green with y,
blue is 255; the grey outside the image has blue 114). From the cut-out image alone the engine
solves for the `PixelMap` of the region and paints, for exactly that region, what a perfect network
would say. So a test of decode or of the pipeline tests the cutting too.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from thfm_ros.contract import Frame, Intrinsics, PixelMap, Task
from thfm_ros.model.card import ModelCard
from thfm_ros.model.outputs import BodyOutputs, DenseOutputs, RawOutputs
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
    """A flat person who stands across the line of sight; joints on a grid over the box."""

    x: float  # pelvis, optical frame, metres
    y: float
    z: float
    height_m: float = 1.7
    width_m: float = 0.6

    def joints_m(self) -> np.ndarray:
        """All joints in the optical frame, [k 3]; they spread over the person and in depth."""
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


def pixels_of(points: np.ndarray, k: Intrinsics) -> np.ndarray:
    """Plain projection, written a second time on purpose."""
    return np.stack(
        [k.fx * points[:, 0] / points[:, 2] + k.cx, k.fy * points[:, 1] / points[:, 2] + k.cy], 1
    )


def box_of(person: Person, k: Intrinsics) -> np.ndarray:
    """The rectangle that the person paints: 5 % larger than its joints."""
    uv = pixels_of(person.joints_m(), k)
    low, high = uv.min(0), uv.max(0)
    pad = 0.05 * (high - low).max()
    return np.array([*(low - pad), *(high + pad)])


def image(k: Intrinsics) -> np.ndarray:
    """RGB whose colours are its coordinates."""
    rgb = np.full((k.height, k.width, 3), 255, np.uint8)
    rgb[..., 0] = np.round((np.arange(k.width) + 0.5) / k.width * 255)
    rgb[..., 1] = np.round((np.arange(k.height) + 0.5) / k.height * 255)[:, None]
    return rgb


def frame(k: Intrinsics, at_s: float = 0.0, *, calibrated: bool = True) -> Frame:
    """A frame of the image above."""
    return Frame(image(k), round(at_s * 1e9), "camera", k if calibrated else None)


def map_seen_in(cut: np.ndarray, k: Intrinsics) -> PixelMap:
    """Where a cut-out image lies, read from its colours by straight-line fits."""
    height, width = cut.shape[:2]
    inside = cut[..., 2] == 255
    rows, columns = np.nonzero(inside)
    red = cut[rows, columns, 0] / 255 * k.width
    green = cut[rows, columns, 1] / 255 * k.height
    a = np.zeros((2 * len(rows), 3))
    a[: len(rows), 0], a[: len(rows), 1] = columns + 0.5, 1
    a[len(rows) :, 0], a[len(rows) :, 2] = rows + 0.5, 1
    (scale, x, y), *_ = np.linalg.lstsq(a, np.concatenate([red, green]), rcond=None)
    return PixelMap(float(scale), float(x), float(y), width, height)


class FakeEngine:
    """Says about any cut-out of `image(k)` what is true of the people in ``scene()``."""

    def __init__(self, k: Intrinsics, scene: Callable[[], list[Person]]) -> None:
        self.card = CARD
        self.description = "no network"
        self.concurrent = True
        self.k = k
        self.scene = scene
        self.steps: list[tuple[int, int]] = []  # sizes of the images it was shown
        self.states: list[object | None] = []  # and the states that came with them

    def step(
        self, cut: np.ndarray, state: object | None, *, dense: bool
    ) -> tuple[RawOutputs, object]:
        self.steps.append((cut.shape[1], cut.shape[0]))
        self.states.append(state)
        age = state + 1 if isinstance(state, int) else 1
        return perfect(map_seen_in(cut, self.k), self.k, self.scene(), dense), age


def perfect(
    pixel_map: PixelMap, k: Intrinsics, people: list[Person], dense: bool = True
) -> RawOutputs:
    """What a perfect network says about the region ``pixel_map``."""
    middle = np.array([pixel_map.width, pixel_map.height]) / 2

    def distance(person: Person) -> float:
        x0, y0, x1, y1 = box_of(person, k)
        centre = np.array([x0 + x1, y0 + y1]) / 2
        offset = np.array([pixel_map.offset_x, pixel_map.offset_y])
        return float(np.hypot(*((centre - offset) / pixel_map.scale - middle)))

    near = [p for p in sorted(people, key=distance) if distance(p) < 0.3 * pixel_map.width]
    body = _body(pixel_map, k, near[0]) if near else _nobody(pixel_map)
    target = near[0] if near else None
    return RawOutputs(body, _dense(pixel_map, k, people, target) if dense else None)


def view_turn(pixel_map: PixelMap, k: Intrinsics) -> tuple[np.ndarray, float]:
    """R_optical_view and the stretch of the image at the region's middle."""
    x = (pixel_map.offset_x + pixel_map.scale * pixel_map.width / 2 - k.cx) / k.fx
    y = (pixel_map.offset_y + pixel_map.scale * pixel_map.height / 2 - k.cy) / k.fy
    z_axis = np.array([x, y, 1.0]) / math.sqrt(x * x + y * y + 1)
    axis = np.cross([0, 0, 1.0], z_axis)
    sine, cosine = np.linalg.norm(axis), z_axis[2]
    if sine < 1e-12:
        return np.eye(3), 1.0
    a = axis / sine
    cross = np.array([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])
    turn = np.eye(3) + sine * cross + (1 - cosine) * cross @ cross
    return turn, math.sqrt(x * x + y * y + 1)


def _body(pixel_map: PixelMap, k: Intrinsics, person: Person) -> BodyOutputs:
    rows, columns = pixel_map.height // 4, pixel_map.width // 4
    joints = person.joints_m()
    uv = pixels_of(joints, k)
    cells = (uv - [pixel_map.offset_x, pixel_map.offset_y]) / pixel_map.scale / 4
    y, x = np.mgrid[:rows, :columns] + 0.5
    far = (x - cells[:, 0, None, None]) ** 2 + (y - cells[:, 1, None, None]) ** 2
    inside = (cells > 0).all(1) & (cells < [columns, rows]).all(1)
    turn, stretch = view_turn(pixel_map, k)
    root_view = turn.T @ person.root_m
    focal = math.sqrt(k.fx * k.fy) * stretch**1.5
    return BodyOutputs(
        heatmaps=(-far / (2 * 0.7**2)).astype(np.float32),
        positions=((joints - person.root_m) @ turn).astype(np.float32),
        visibility=np.stack([np.where(inside, 8, -8), np.full(len(uv), 8)], 1).astype(np.float32),
        log_width=math.log(root_view[2] * pixel_map.scale * pixel_map.width / focal),
        presence=8.0,
    )


def _nobody(pixel_map: PixelMap) -> BodyOutputs:
    k = len(Joint)
    return BodyOutputs(
        heatmaps=np.zeros((k, pixel_map.height // 4, pixel_map.width // 4), np.float32),
        positions=np.zeros((k, 3), np.float32),
        visibility=np.full((k, 2), -8, np.float32),
        log_width=0.0,
        presence=-8.0,
    )


def _dense(
    pixel_map: PixelMap, k: Intrinsics, people: list[Person], target: Person | None
) -> DenseOutputs:
    rows, columns = pixel_map.height // 2, pixel_map.width // 2
    maps = DenseOutputs(
        mask=np.full((rows, columns), -8, np.float32),
        parts=np.zeros((17, rows, columns), np.float32),
        relief=np.zeros((rows, columns), np.float32),
        normals=np.zeros((3, rows, columns), np.float32),
        surface=np.zeros((3, rows, columns), np.float32),
        votes=np.zeros((2, rows, columns), np.float32),
    )
    turn, _ = view_turn(pixel_map, k)
    step = 2 * pixel_map.scale
    y, x = np.mgrid[:rows, :columns] + 0.5
    x, y = x * step + pixel_map.offset_x, y * step + pixel_map.offset_y
    reference = target or Person(0, 0, 1)
    for person in sorted(people, key=lambda each: -each.z):
        x0, y0, x1, y1 = box_of(person, k)
        here = (x > x0) & (x < x1) & (y > y0) & (y < y1)
        longer = max(rows, columns) * step  # of the region, in source pixels
        maps.mask[here] = 8
        maps.votes[0][here] = ((x0 + x1) / 2 - x[here]) / longer
        maps.votes[1][here] = ((y0 + y1) / 2 - y[here]) / longer
        upper = (y - y0) / (y1 - y0) < 0.5
        maps.parts[:, here] = 0
        maps.parts[PART_NAMES.index("torso"), here & upper] = 9
        maps.parts[PART_NAMES.index("left_upper_leg"), here & ~upper] = 9
        ray = np.stack([(x - k.cx) / k.fx, (y - k.cy) / k.fy, np.ones_like(x)], -1)
        surface = ray * person.z  # a wall at the depth of the pelvis
        relief = surface @ turn[:, 2] - (turn.T @ reference.root_m)[2]
        maps.relief[here] = relief[here]
        maps.normals[:, here] = 3.0 * (turn.T @ [0, 0, -1.0])[:, None]  # length is to be ignored
        angle = 2 * np.pi * 0.25
        maps.surface[:, here] = np.array([np.cos(angle), np.sin(angle), 0.5])[:, None]
    return maps
