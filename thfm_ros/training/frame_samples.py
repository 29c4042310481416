"""Whole-frame samples: rendered ones, and several people from different renders in one image.

A person whose whole outline was rendered can be set anywhere at any smaller size with exact
labels. Light and ground do not match; finding people must not depend on that anyway. What hangs
on one camera (depth, joints of a target) is not taught from these samples.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from thfm_ros.skeleton import PART_FLIP_PAIRS, Joint
from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.augmentation.busy_surfaces import draw_facades
from thfm_ros.training.augmentation.geometric import similarity
from thfm_ros.training.augmentation.photometric import apply_photometric, draw_photometric
from thfm_ros.training.crop_samples import PADDING, Sample, votes_of
from thfm_ros.training.label_downsampling import halved, representatives
from thfm_ros.training.shard_store import FrameRef, Store

PART_FLIP = np.array(PART_FLIP_PAIRS, np.uint8)
CROWD = (0.10, 0.24, 0.22, 0.16, 0.10, 0.08, 0.06, 0.04)
"""How likely it is that 0, 1, 2 ... people are in the image."""

LYING = 0.12
"""Share of the people set into an image who are turned by quarters: a robot must see who fell."""

BUSY = 0.2
"""Share of the rendered images in which busy surfaces stand behind the people."""

CLOSE = 0.3
"""Share of images that show one or two people from near, often cut off by the image's edge."""


@dataclass(frozen=True, slots=True)
class Cutout:
    """One person, cut out of a render at full resolution."""

    rgb: np.ndarray
    mask: np.ndarray  # u8
    parts: np.ndarray
    normals: np.ndarray
    surface: np.ndarray
    whole: bool  # nothing of the outline was cut off by the render's border


def read_cutout(store: Store, ref: FrameRef, mirrored: bool) -> Cutout | None:
    """The target of a frame within its box; None where too little of it is seen."""
    mask = (store.read("instances", ref) == 1).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(mask)
    if w < 8 or h < 16 or mask.sum() < 150:
        return None
    size = mask.shape[0]
    box = (slice(y, y + h), slice(x, x + w))
    normals = store.read("normals", ref)[box] / np.float32(127)
    surface = store.read("surface", ref)[box] / np.float32(127)
    parts = np.array(store.read("parts", ref)[box])
    rgb, mask = np.array(store.read("rgb", ref)[box]), mask[box]
    whole = x > 0 and y > 0 and x + w < size and y + h < size
    if mirrored:
        rgb, mask, parts = rgb[:, ::-1], mask[:, ::-1], PART_FLIP[parts[:, ::-1]]
        normals = normals[:, ::-1] * np.array([-1, 1, 1], np.float32)
        surface = surface[:, ::-1] * np.array([1, -1, 1], np.float32)
    return Cutout(rgb, mask, parts, normals, surface, whole)


def turned(person: Cutout, quarters: int) -> Cutout:
    """The same person after so many quarter turns against the clock: lying, or upside down."""
    rgb, mask, parts, normals, surface = (
        np.rot90(values, quarters)
        for values in (person.rgb, person.mask, person.parts, person.normals, person.surface)
    )
    for _ in range(quarters % 4):
        normals = np.stack([normals[..., 1], -normals[..., 0], normals[..., 2]], -1)
    return Cutout(rgb, mask, parts, normals, surface, person.whole)


class _Canvas:
    """The image while it fills up, farthest person first."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        h, w = image.shape[:2]
        self.instances: np.ndarray = np.zeros((h, w), np.uint8)
        self.parts = np.zeros((h, w), np.uint8)
        self.normals: np.ndarray = np.zeros((h, w, 3), np.float32)
        self.surface: np.ndarray = np.zeros((h, w, 3), np.float32)

    def paste(self, person: Cutout, number: int, height: float, left: float, top: float) -> None:
        """Set a person of ``height`` pixels at (left, top); what lies outside is cut off."""
        scale = height / person.mask.shape[0]
        matrix = np.array([[scale, 0, left], [0, scale, top]])
        h, w = self.instances.shape
        shrink = cv2.GaussianBlur(person.rgb, (0, 0), 0.45 / scale) if scale < 0.6 else person.rgb
        soft = person.mask.astype(np.float32)
        if scale < 0.6:
            soft = cv2.GaussianBlur(soft, (0, 0), 0.45 / scale)
        rgb = cv2.warpAffine(shrink, matrix, (w, h), borderMode=cv2.BORDER_REPLICATE)
        share = cv2.warpAffine(soft, matrix, (w, h))[..., None]
        self.image = self.image * (1 - share) + rgb * share

        def moved(values: np.ndarray) -> np.ndarray:
            found: np.ndarray = cv2.warpAffine(values, matrix, (w, h), flags=cv2.INTER_NEAREST)
            return found

        mine = (share[..., 0] > 0.5) & (moved(person.mask) > 0)
        self.instances[mine] = number
        self.parts[mine] = moved(person.parts)[mine]
        self.normals[mine] = moved(person.normals)[mine]
        self.surface[mine] = moved(person.surface)[mine]

    def cover(self, rng: np.random.Generator, backgrounds: Backgrounds) -> None:
        """Put a post, a table or a wall's edge in front of everybody."""
        h, w = self.instances.shape
        wide, high = rng.uniform(0.02, 0.35) * w, rng.uniform(0.05, 0.6) * h
        x, y = rng.uniform(-0.1, 1) * w, rng.uniform(0.2, 1) * h
        box = (slice(max(0, int(y)), int(y + high)), slice(max(0, int(x)), int(x + wide)))
        colour = rng.uniform(0, 255, 3)
        fill = backgrounds.draw(rng, w, h)[box] if rng.random() < 0.6 else colour
        self.image[box] = fill
        for values in (self.instances, self.parts, self.normals, self.surface):
            values[box] = 0


def rendered_sample(store: Store, rng: np.random.Generator, size: tuple[int, int]) -> Sample:
    """One rendered whole frame, zoomed, shifted and mirrored, as a clip of one frame."""
    height = size[1]
    ref = store.frames[rng.integers(len(store))]
    rgb = store.read("rgb", ref)
    mirrored = rng.random() < 0.5
    zoom = height / rgb.shape[0] * float(np.exp(rng.uniform(-0.25, 0.5)))
    shift = rng.normal(0, 0.08, 2) * size
    middle = (np.array(size) - 1) / 2 + shift
    matrix = similarity((rgb.shape[1], rgb.shape[0]), middle, zoom, mirrored=mirrored)
    image = cv2.warpAffine(
        np.ascontiguousarray(rgb), matrix, size, borderValue=(PADDING, PADDING, PADDING)
    )

    def moved(key: str) -> np.ndarray:
        values: np.ndarray = np.ascontiguousarray(store.read(key, ref)).view(np.uint8)
        found: np.ndarray = cv2.warpAffine(values, matrix, size, flags=cv2.INTER_NEAREST)
        return found

    canvas = _Canvas(image)
    canvas.instances, parts = moved("instances"), moved("parts")
    if rng.random() < BUSY:
        behind = image.astype(np.float32)
        draw_facades(rng, behind)
        image = np.where(canvas.instances[..., None] > 0, image, behind.astype(np.uint8))
    canvas.parts = PART_FLIP[parts] if mirrored else parts
    side = -1 if mirrored else 1
    facing = moved("normals").view(np.int8).astype(np.float32) / 127
    on_part = moved("surface").view(np.int8).astype(np.float32) / 127
    canvas.normals = facing * np.array([side, 1, 1], np.float32)
    canvas.surface = on_part * np.array([1, side, 1], np.float32)
    strength = draw_photometric(rng, 0.8)
    return _labelled(canvas, apply_photometric(image.astype(np.float32), strength, rng))


def empty_sample(image: np.ndarray) -> Sample:
    """An image that shows nobody, as a clip of one frame."""
    return _labelled(_Canvas(image), image)._replace(presence=np.zeros(1, np.float32))


def frame_sample(
    store: Store, backgrounds: Backgrounds, rng: np.random.Generator, size: tuple[int, int]
) -> Sample:
    """One composed image of ``size`` (width, height) as a clip of one frame."""
    width, height = size
    canvas = _Canvas(backgrounds.draw(rng, width, height))
    heights = _draw_heights(rng) * height
    for number, pixels in enumerate(heights, start=1):
        _place(canvas, store, rng, number, float(pixels))
    if rng.random() < 0.3:
        canvas.cover(rng, backgrounds)
    image = apply_photometric(canvas.image.astype(np.float32), draw_photometric(rng, 0.8), rng)
    if rng.random() < 0.3:
        _letterbox(rng, canvas, image)
    return _labelled(canvas, image)


def _draw_heights(rng: np.random.Generator) -> np.ndarray:
    """How tall each person is, in heights of the image, farthest first."""
    if rng.random() < CLOSE:
        return np.sort(rng.uniform(0.6, 1.8, rng.integers(1, 3)))
    people = rng.choice(len(CROWD), p=CROWD)
    tall = np.exp(rng.uniform(np.log(0.12), np.log(1.05)))
    return np.sort(np.clip(tall * np.exp(rng.normal(0, 0.25, people)), 0.07, 1.3))


def _place(
    canvas: _Canvas, store: Store, rng: np.random.Generator, number: int, pixels: float
) -> None:
    for _ in range(8):
        ref = store.pick(rng)
        person = read_cutout(store, ref, bool(rng.random() < 0.5))
        if person is None:
            continue
        h, w = canvas.instances.shape
        left = rng.uniform(-0.3, 0.95) * w if rng.random() < 0.2 else rng.uniform(0, 0.85) * w
        if person.whole:
            if rng.random() < LYING:
                longer = max(person.mask.shape)
                person = turned(person, int(rng.integers(1, 4)))
                pixels *= person.mask.shape[0] / longer
            top = rng.uniform(-0.1, 1.05) * h - 0.5 * pixels
        elif pixels > 0.35 * h:
            # Cut at the knees or the waist: only the image's lower edge explains that.
            top = h - pixels * rng.uniform(0.85, 0.99)
        else:
            continue
        canvas.paste(person, number, pixels, left, top)
        return


def _letterbox(rng: np.random.Generator, canvas: _Canvas, image: np.ndarray) -> None:
    h, w = image.shape[:2]
    if rng.random() < 0.5:
        bar = int(rng.uniform(0.02, 0.2) * h)
        bars = [(slice(0, bar), slice(None)), (slice(h - bar, h), slice(None))]
    else:
        bar = int(rng.uniform(0.02, 0.2) * w)
        bars = [(slice(None), slice(0, bar)), (slice(None), slice(w - bar, w))]
    for part in bars:
        image[part] = PADDING
        for values in (canvas.instances, canvas.parts, canvas.normals, canvas.surface):
            values[part] = 0


def _labelled(canvas: _Canvas, image: np.ndarray) -> Sample:
    joints = len(Joint)
    chosen = representatives(canvas.instances, canvas.parts)
    instances = halved(canvas.instances, chosen)
    unknown = np.zeros(instances.shape, np.float32)
    values = (
        image,
        instances,
        halved(canvas.parts, chosen),
        unknown,
        unknown > 0,
        halved(canvas.normals, chosen),
        halved(canvas.surface, chosen),
        votes_of(instances),
        np.zeros((joints, 2), np.float32),
        np.zeros(joints, np.uint8),
        np.full((joints, 3), np.nan, np.float32),
        np.float32(np.nan),
        np.float32(np.nan),
    )
    return Sample(*(np.asarray(value)[None] for value in values))
