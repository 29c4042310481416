"""One training sample: a person crop with every label, moved, turned, mirrored and disturbed.

Labels come at half the image's size, as the network answers. Arrays lead with the frame.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from thfm_ros.contract import PADDING_GREY
from thfm_ros.geometry import rotation_to_ray
from thfm_ros.skeleton import FLIP_PAIRS, PART_FLIP_PAIRS, Joint
from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.augmentation.geometric import CropStyle, Move, draw_move, trembled
from thfm_ros.training.augmentation.occluders import draw_border, draw_occluders
from thfm_ros.training.augmentation.photometric import apply_photometric, draw_photometric
from thfm_ros.training.label_downsampling import halved, mostly, representatives
from thfm_ros.training.shard_store import FrameRef, Store

FLIP = np.array(FLIP_PAIRS)
PART_FLIP = np.array(PART_FLIP_PAIRS, np.uint8)
HIPS = [int(Joint.LEFT_HIP), int(Joint.RIGHT_HIP)]
CLEAN_STRENGTH = 0.6  # of lamps, cameras and codecs on a calm clip; see CropStyle


class Sample(NamedTuple):
    """A clip of one size; ``h w`` is half the image's size, ``k`` the joints."""

    image: np.ndarray  # u8 [t H W 3]
    instances: np.ndarray  # u8 [t h w], 0 nobody, 1 the target, 2.. others
    parts: np.ndarray  # u8 [t h w]
    relief: np.ndarray  # f32 [t h w], metres behind the target's hips
    relief_known: np.ndarray  # bool [t h w]
    normals: np.ndarray  # f32 [t h w 3]
    surface: np.ndarray  # f32 [t h w 3]
    votes: np.ndarray  # f32 [t h w 2], in longer sides of the image
    peaks: np.ndarray  # f32 [t k 2], 0..1 of the image's width and height
    visibility: np.ndarray  # u8 [t k], 0 outside, 1 hidden, 2 visible
    positions: np.ndarray  # f32 [t k 3], metres from the middle of the hips
    log_width: np.ndarray  # f32 [t]
    presence: np.ndarray  # f32 [t], 1 somebody in the middle, 0 nobody, NaN not asked


def votes_of(instances: np.ndarray) -> np.ndarray:
    """For every pixel of a person the way to the centre of that person's box, in longer sides."""
    h, w = instances.shape
    votes = np.zeros((h, w, 2), np.float32)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    for number in np.unique(instances):
        if number == 0:
            continue
        mine = instances == number
        rows, columns = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
        centre_x, centre_y = (columns[0] + columns[-1]) / 2, (rows[0] + rows[-1]) / 2
        votes[mine] = np.stack([centre_x - x[mine], centre_y - y[mine]], -1)
    found: np.ndarray = votes / max(h, w)
    return found


def crop_sample(
    store: Store,
    refs: list[FrameRef],
    backgrounds: Backgrounds,
    rng: np.random.Generator,
    style: CropStyle,
) -> Sample:
    """Consecutive frames of one clip as one disturbed sample.

    Where they are one and the same frame, the camera trembles: somebody rests before a robot.
    """
    rendered = store.read("rgb", refs[0]).shape[0]
    move = draw_move(rng, rendered, style)
    held = len(refs) > 1 and len(set(refs)) == 1
    moves = trembled(rng, move, style.size, len(refs)) if held else [move] * len(refs)
    calm = rng.random() < style.calm
    photometric = draw_photometric(rng, CLEAN_STRENGTH if calm else 1.0)
    behind = backgrounds.draw(rng, style.size, style.size)
    swap = not calm and rng.random() < 0.5
    empty = not calm and rng.random() < 0.06
    occluding = 0.0 if calm else 0.4 * (1 - 0.8 * style.ease)
    occluders = draw_occluders(rng, style.size, backgrounds, occluding)
    border = draw_border(rng, style.size)
    frames = []
    for t, ref in enumerate(refs):
        scene = _Scene.read(store, ref, moves[t], style.size)
        image = behind.copy() if empty else scene.over(behind, swap)
        hidden = np.zeros((style.size, style.size), np.uint8)
        for occluder in occluders:
            covered = occluder.covered(style.size, t)
            image = np.where(covered[..., None] > 0, occluder.fill, image)
            hidden |= covered
        image = apply_photometric(image.astype(np.float32), photometric, rng)
        if border is not None:
            image[border] = PADDING_GREY
            hidden[border] = 1
        frames.append(scene.labelled(image, hidden, empty))
    return Sample(*(np.stack(values) for values in zip(*frames, strict=True)))


def plain_sample(store: Store, refs: list[FrameRef], size: int) -> Sample:
    """Consecutive frames as they were rendered, only resized: for evaluation."""
    rendered = store.read("rgb", refs[0]).shape[0]
    scale = size / rendered
    offset = (scale - 1) / 2  # pixel centres stay on pixel centres
    move = Move(np.array([[scale, 0, offset], [0, scale, offset]]), scale, 0.0, False)
    nothing = np.zeros((size, size), np.uint8)
    scenes = [_Scene.read(store, ref, move, size) for ref in refs]
    frames = [scene.labelled(scene.rgb, nothing, False) for scene in scenes]
    return Sample(*(np.stack(values) for values in zip(*frames, strict=True)))


@dataclass(frozen=True, slots=True)
class _View:
    """The camera that looks straight at a crop, whose axes the network speaks in (joints.py).

    A crop does not show where in the image it lies. Half of the rendered ones lie more than
    12 degrees off the axis, a twentieth more than 39: labels in the axes of the whole image's
    camera would be wrong by so much, in a direction that nobody can see.
    """

    turn: np.ndarray  # R_optical_view
    focal_px: float  # of the render, as much as its image is stretched at this place
    lens: np.ndarray  # fx fy cx cy of the render

    @classmethod
    def of(cls, lens: np.ndarray, move: Move, size: int) -> "_View":
        matrix = move.matrix
        middle = np.linalg.solve(matrix[:, :2], (size - 1) / 2 - matrix[:, 2]) + 0.5
        ray = np.array([*((middle - lens[2:]) / lens[:2]), 1.0])
        stretch = float(np.linalg.norm(ray)) ** 1.5
        return cls(rotation_to_ray(ray), float(lens[0]) * stretch, lens)

    def along(self, shape: tuple[int, int]) -> np.ndarray:
        """Depth along this camera's axis / depth along the optical axis, for every pixel."""
        fx, fy, cx, cy = self.lens
        x, y = (np.arange(shape[1]) + 0.5 - cx) / fx, (np.arange(shape[0]) + 0.5 - cy) / fy
        axis = self.turn[:, 2]
        found: np.ndarray = axis[0] * x + (axis[1] * y)[:, None] + axis[2]
        return found.astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Scene:
    """One rendered frame, moved."""

    rgb: np.ndarray
    inside: np.ndarray  # 1 where the rendered image reaches
    people: np.ndarray  # soft mask at full size
    instances: np.ndarray
    parts: np.ndarray
    depth: np.ndarray
    normals: np.ndarray
    surface: np.ndarray
    peaks: np.ndarray  # pixels of the sample
    source_visibility: np.ndarray
    positions: np.ndarray
    root_depth: float
    focal_px: float

    @classmethod
    def read(cls, store: Store, ref: FrameRef, move: Move, size: int) -> "_Scene":
        matrix, full = move.matrix, (size, size)
        instances = np.ascontiguousarray(store.read("instances", ref))

        def moved(values: np.ndarray) -> np.ndarray:
            values = np.ascontiguousarray(values)
            found: np.ndarray = cv2.warpAffine(values, matrix, full, flags=cv2.INTER_NEAREST)
            return found

        whose, parts = moved(instances), moved(store.read("parts", ref))
        chosen = representatives(whose, parts)

        def small(values: np.ndarray) -> np.ndarray:
            return halved(moved(values), chosen)

        ones = np.ones(instances.shape, np.float32)
        soft = cv2.warpAffine((instances > 0).astype(np.float32), matrix, full)
        # Joints behind the camera have no place; one left of the image asks for nothing either.
        pixels = np.nan_to_num(store.read("keypoints2d", ref)[0], nan=-1e4) - 0.5
        view = _View.of(store.read("intrinsics", ref), move, size)
        space = np.array(store.read("keypoints3d", ref)[0]) @ view.turn
        root = space[HIPS].mean(0)
        depth = np.asarray(store.read("depth_m", ref), np.float32)
        normals = store.read("normals", ref).astype(np.float32) @ view.turn.astype(np.float32)
        scene = cls(
            rgb=cv2.warpAffine(np.ascontiguousarray(store.read("rgb", ref)), matrix, full),
            inside=cv2.warpAffine(ones, matrix, full),
            people=cv2.GaussianBlur(soft, (0, 0), 0.6),
            instances=halved(whose, chosen),
            parts=halved(parts, chosen),
            depth=small(depth * view.along(depth.shape)),
            normals=small(normals / np.float32(127)),
            surface=small(store.read("surface", ref).view(np.uint8)).view(np.int8)
            / np.float32(127),
            peaks=pixels @ matrix[:, :2].T + matrix[:, 2] + 0.5,
            source_visibility=np.array(store.read("visibility", ref)[0]),
            positions=space - root,
            root_depth=float(root[2]),
            focal_px=view.focal_px * move.zoom,
        )
        return scene._turned(move)

    def _turned(self, move: Move) -> "_Scene":
        """Turn and mirror what is measured along the camera's axes."""
        positions, normals, surface = self.positions, self.normals, self.surface
        peaks, visibility, parts = self.peaks, self.source_visibility, self.parts
        if move.mirrored:
            positions = positions[FLIP] * np.array([-1, 1, 1])
            peaks, visibility, parts = peaks[FLIP], visibility[FLIP], PART_FLIP[parts]
            normals = normals * np.array([-1, 1, 1], np.float32)
            surface = surface * np.array([1, -1, 1], np.float32)  # round the other way
        cos, sin = np.cos(move.turn), np.sin(move.turn)
        turn = np.array([[cos, -sin], [sin, cos]])
        positions, normals = positions.copy(), normals.copy()
        positions[:, :2] = positions[:, :2] @ turn.T
        normals[..., :2] = normals[..., :2] @ turn.T.astype(np.float32)
        changed = dict(
            positions=positions, normals=normals, surface=surface,
            peaks=peaks, source_visibility=visibility, parts=parts,
        )  # fmt: skip
        kept = {name: getattr(self, name) for name in self.__slots__ if name not in changed}
        return _Scene(**kept, **changed)

    def over(self, behind: np.ndarray, swap: bool) -> np.ndarray:
        """The people, or all that was rendered, in front of a background."""
        share = (self.people if swap else self.inside)[..., None]
        found: np.ndarray = self.rgb * share + behind * (1 - share)
        return found

    def labelled(
        self, image: np.ndarray, hidden: np.ndarray, empty: bool
    ) -> tuple[np.ndarray, ...]:
        """The labels of one frame, in Sample's order."""
        size = image.shape[0]
        gone = mostly(hidden) | empty
        instances = np.where(gone, 0, self.instances)
        person = instances > 0
        relief = self.depth - self.root_depth
        cell = np.floor(self.peaks).astype(int)
        inside = ((cell >= 0) & (cell < size)).all(1) & (self.source_visibility > 0) & (not empty)
        at = cell.clip(0, size - 1)
        covered = hidden[at[:, 1], at[:, 0]] > 0
        seen = inside & (self.source_visibility == 2) & ~covered
        return (
            image,
            instances.astype(np.uint8),
            np.where(person, self.parts, 0).astype(np.uint8),
            relief.clip(-2, 2).astype(np.float32),
            person & (self.depth > 0) & (np.abs(relief) < 1.6),
            self.normals,
            self.surface,
            votes_of(instances),
            (self.peaks / size).astype(np.float32),
            np.where(seen, 2, inside).astype(np.uint8),
            self.positions.astype(np.float32),
            np.float32(np.log(size * max(self.root_depth, 0.1) / self.focal_px)),
            np.float32(not empty),
        )
