"""Clips: a cast acts, a camera looks, a sensor records; what comes out is what a shard holds."""

from dataclasses import dataclass

import numpy as np

from thfm_ros.skeleton import JOINT_NAMES, Joint
from thfm_ros.synth.rendering.annotate import VISIBLE, joints_in_camera
from thfm_ros.synth.rendering.render import Rendered, Timings, render_frame
from thfm_ros.synth.rendering.sensor import Sensor, expose, random_exposure, random_sensor
from thfm_ros.synth.scene.assemble import Stage
from thfm_ros.synth.scene.asset_choices import Choices
from thfm_ros.synth.scene.stage import Cast, Setting, random_stage
from thfm_ros.synth.shading.camera import Shot, crop_shot, frame_shot

PEOPLE = 4  # rows of the keypoint arrays
CROP, FRAME = 0, 1  # what ``view`` says
WIDE_THINGS = (0.12, 0.13, 0.15, 0.15, 0.15, 0.1, 0.1, 0.1)  # probability of 0, 1, .. things
LEAST_JOINTS, LEAST_AREA = 4, 0.01  # of a crop's person, in every frame, to be worth keeping
NEAREST_M = 0.35  # from the camera to anybody


@dataclass(frozen=True)
class Recipe:
    """How to make a clip."""

    view: int  # CROP or FRAME
    size: tuple[int, int]  # width, height
    frames: int
    samples: int = 2
    flow: bool = False
    bones: bool = False  # also where every bone begins
    artefacts: float = 0.5  # share of clips that a bad camera has recorded


def crop_clip(
    rng: np.random.Generator,
    choices: Choices,
    cast: Cast,
    recipe: Recipe,
    timings: Timings | None = None,
) -> dict[str, np.ndarray] | None:
    """A clip cut out around one person; None when too little of that person is to be seen."""
    timings = timings or Timings()
    timings.start()
    fps = float(rng.choice([3, 6, 10, 15]))
    sensor = random_sensor(rng, recipe.artefacts)
    moments = recipe.frames + int(recipe.flow or sensor.shutter > 0)
    stage = random_stage(rng, choices, cast, moments, fps, Setting())
    target = int(rng.integers(len(stage.people)))
    person, half = stage.people[target], moments // 2
    joints = person.joints[half]
    body = person.vertices[:, ::7]
    hips = (joints[Joint.LEFT_HIP] + joints[Joint.RIGHT_HIP]) / 2
    shot = crop_shot(rng, body, joints[Joint.SPINE_MIDDLE], hips, recipe.size, fps)
    if shot is None or _touched(stage, shot):
        return None
    _widen_room(stage, shot)
    timings.lap("motion")
    clip = record(rng, stage, shot, recipe, sensor, target, timings)
    joints_seen = (clip["visibility"][:, 0, :17] == VISIBLE).sum(axis=1).min()
    area = (clip["instances"] == 1).mean(axis=(1, 2)).min()
    return clip if joints_seen >= LEAST_JOINTS and area > LEAST_AREA else None


def frame_clip(
    rng: np.random.Generator,
    choices: Choices,
    cast: Cast,
    recipe: Recipe,
    timings: Timings | None = None,
) -> dict[str, np.ndarray] | None:
    """A clip of a whole image; number one is the person who fills most of it.

    None, mostly, when there are people but none of them is to be seen, and in half of the cases
    when no more than scraps are.
    """
    timings = timings or Timings()
    timings.start()
    fps = float(rng.choice([3, 6, 10, 15]))
    sensor = random_sensor(rng, recipe.artefacts)
    moments = recipe.frames + int(recipe.flow or sensor.shutter > 0)
    setting = Setting(float(rng.choice([0.7, 1.2, 2.2])), 2.0, WIDE_THINGS, 0.1)
    stage = random_stage(rng, choices, cast, moments, fps, setting)
    middles = np.array([p.joints[0, Joint.SPINE_MIDDLE] for p in stage.people]).reshape(-1, 3)
    shot = frame_shot(rng, middles, moments, recipe.size, fps)
    if _touched(stage, shot):
        return None
    _widen_room(stage, shot)
    timings.lap("motion")
    clip = record(rng, stage, shot, recipe, sensor, None, timings)
    unwanted = 0.0
    if len(middles) > 0:
        joints_seen = int((clip["visibility"][:, :, :17] == VISIBLE).sum(axis=2).max())
        unwanted = 0.5 * (joints_seen <= LEAST_JOINTS) + 0.4 * (not clip["instances"].any())
    return None if rng.random() < unwanted else clip


def _touched(stage: Stage, shot: Shot) -> bool:
    """Whether a body comes so near to the camera that its triangles are cut off."""
    for person in stage.people:
        away = person.vertices[: len(shot.positions), ::7] - shot.positions[:, None]
        if (away**2).sum(axis=2).min() < NEAREST_M**2:
            return True
    return False


def _widen_room(stage: Stage, shot: Shot) -> None:
    """A camera is never behind a wall."""
    room = stage.place.half
    room[:2] = np.maximum(room[:2], np.abs(shot.positions[:, :2]).max(axis=0) + 0.3)
    room[2] = max(room[2], shot.positions[:, 2].max() + 0.1)


def record(
    rng: np.random.Generator,
    stage: Stage,
    shot: Shot,
    recipe: Recipe,
    sensor: Sensor,
    target: int | None,
    timings: Timings,
) -> dict[str, np.ndarray]:
    """Draw all frames of a shot and lay them out as a shard does.

    ``target`` is the person who becomes number one; None means the one who fills most pixels.
    """
    exposure = random_exposure(rng)
    frames = [
        render_frame(stage, shot, frame, recipe.samples, exposure, timings)
        for frame in range(recipe.frames)
    ]
    order = _order(frames, len(stage.people), target)
    out = {"rgb": expose(rng, frames, sensor)}
    timings.lap("sensor")
    out |= _maps(frames, order, recipe.flow)
    out |= _skeletons(frames, order)
    if recipe.bones:
        out["bones3d"] = _bones(stage, shot, recipe.frames, order)
    lens = np.tile(shot.lens.astype(np.float32), (recipe.frames, 1))
    count = np.full(recipe.frames, recipe.frames, np.int16)
    out |= {
        "intrinsics": lens,
        "extrinsics": shot.extrinsics[: recipe.frames].astype(np.float32),
        "clip_length": count,
        "frame_index": np.arange(recipe.frames, dtype=np.int16),
        "view": np.full(recipe.frames, recipe.view, np.uint8),
    }
    timings.lap("annotation")
    return out


def _order(frames: list[Rendered], people: int, target: int | None) -> list[int]:
    """Who becomes number 1, 2, ..: the target, then the others by the pixels that they fill."""
    owners = np.concatenate([frame.labels.instances.ravel() for frame in frames])
    pixels = np.bincount(owners, minlength=people + 1)[1:].astype(float)
    if target is not None:
        pixels[target] = np.inf
    return [int(person) for person in np.argsort(-pixels, kind="stable")]


def _maps(frames: list[Rendered], order: list[int], flow: bool) -> dict[str, np.ndarray]:
    number = np.zeros(len(order) + 1, np.uint8)
    number[[person + 1 for person in order]] = np.arange(1, len(order) + 1)
    labels = [frame.labels for frame in frames]
    out = {
        "depth_m": np.stack([one.depth_m for one in labels]).astype(np.float16),
        "normals": np.stack([one.normals for one in labels]),
        "parts": np.stack([one.parts for one in labels]),
        "instances": number[np.stack([one.instances for one in labels])],
        "surface": np.stack([one.surface for one in labels]),
    }
    if flow:
        motion = np.stack([one.flow for one in labels]).astype(np.float16)
        out["flow"], out["depth_flow_m"] = motion[..., :2], motion[..., 2]
    return out


def _bones(stage: Stage, shot: Shot, frames: int, order: list[int]) -> np.ndarray:
    """Where the bones of each person begin, f32 [t, PEOPLE, b, 3], optical frame."""
    count = stage.people[0].bones.shape[1] if stage.people else 0
    out = np.full((frames, PEOPLE, count, 3), np.nan, np.float32)
    for row, person in enumerate(order):
        for frame in range(frames):
            _, out[frame, row] = joints_in_camera(stage.people[person].bones[frame], shot, frame)
    return out


def _skeletons(frames: list[Rendered], order: list[int]) -> dict[str, np.ndarray]:
    count, joints = len(frames), len(JOINT_NAMES)
    out: dict[str, np.ndarray] = {
        "keypoints2d": np.full((count, PEOPLE, joints, 2), np.nan, np.float32),
        "keypoints3d": np.full((count, PEOPLE, joints, 3), np.nan, np.float32),
        "visibility": np.zeros((count, PEOPLE, joints), np.uint8),
        "people": np.full(count, len(order), np.uint8),
    }
    for name in ("keypoints2d", "keypoints3d", "visibility"):
        for index, frame in enumerate(frames):
            if order:
                out[name][index, : len(order)] = getattr(frame, name)[order]
    return out
