# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Clips: a scene seen by a camera and recorded by a sensor, as the arrays of a shard."""

from dataclasses import dataclass

import numpy as np

from thfm_ros.skeleton import JOINT_NAMES, Joint
from thfm_ros.synth.rendering.annotate import VISIBLE, joints_in_camera
from thfm_ros.synth.rendering.render import FrameRender, Timings, render_frame
from thfm_ros.synth.rendering.sensor import Sensor, random_exposure, random_sensor, record_clip
from thfm_ros.synth.scene.assemble import Scene
from thfm_ros.synth.scene.asset_choices import AssetChoices
from thfm_ros.synth.scene.stage import PersonGroup, SceneLayout, random_scene
from thfm_ros.synth.shading.camera import CameraTrajectory, crop_camera, frame_camera

MAX_PEOPLE = 4  # rows of the keypoint arrays
CROP, FRAME = 0, 1  # values of the array ``view``
FRAME_PROP_PROBABILITIES = (0.12, 0.13, 0.15, 0.15, 0.15, 0.1, 0.1, 0.1)
"""Probability of 0, 1, .. props in a whole frame."""
MIN_VISIBLE_JOINTS, MIN_AREA_SHARE = 4, 0.01  # of the person of a crop, in every frame
MIN_CAMERA_DISTANCE_M = 0.35  # from the camera to the nearest person


@dataclass(frozen=True)
class ClipConfig:
    """Options of a clip."""

    view: int  # CROP or FRAME
    size: tuple[int, int]  # width, height
    frames: int
    samples: int = 2
    flow: bool = False
    bones: bool = False  # store bone heads
    artefacts: float = 0.5  # share of clips with artefacts of a bad camera


def crop_clip(
    rng: np.random.Generator,
    choices: AssetChoices,
    group: PersonGroup,
    config: ClipConfig,
    timings: Timings | None = None,
) -> dict[str, np.ndarray] | None:
    """Render a clip cropped to one person; None if too little of that person is visible."""
    timings = timings or Timings()
    timings.start()
    fps = float(rng.choice([3, 6, 10, 15]))
    sensor = random_sensor(rng, config.artefacts)
    posed_frames = config.frames + int(config.flow or sensor.shutter > 0)
    scene = random_scene(rng, choices, group, posed_frames, fps, SceneLayout())
    target = int(rng.integers(len(scene.people)))
    person, middle_frame = scene.people[target], posed_frames // 2
    joints = person.joints[middle_frame]
    body = person.vertices[:, ::7]
    hips = (joints[Joint.LEFT_HIP] + joints[Joint.RIGHT_HIP]) / 2
    trajectory = crop_camera(rng, body, joints[Joint.SPINE_MIDDLE], hips, config.size, fps)
    if trajectory is None or _too_close(scene, trajectory):
        return None
    _widen_room(scene, trajectory)
    timings.lap("motion")
    clip = render_clip(rng, scene, trajectory, config, sensor, target, timings)
    visible_joints = (clip["visibility"][:, 0, :17] == VISIBLE).sum(axis=1).min()
    area = (clip["instances"] == 1).mean(axis=(1, 2)).min()
    return clip if visible_joints >= MIN_VISIBLE_JOINTS and area > MIN_AREA_SHARE else None


def frame_clip(
    rng: np.random.Generator,
    choices: AssetChoices,
    group: PersonGroup,
    config: ClipConfig,
    timings: Timings | None = None,
) -> dict[str, np.ndarray] | None:
    """Render a clip of whole frames; number one is the person with the largest area.

    None (with probability 0.5) if at most MIN_VISIBLE_JOINTS joints of each person are visible, and
    (with probability 0.9) if no pixel of them is.
    """
    timings = timings or Timings()
    timings.start()
    fps = float(rng.choice([3, 6, 10, 15]))
    sensor = random_sensor(rng, config.artefacts)
    posed_frames = config.frames + int(config.flow or sensor.shutter > 0)
    layout = SceneLayout(float(rng.choice([0.7, 1.2, 2.2])), 2.0, FRAME_PROP_PROBABILITIES, 0.1)
    scene = random_scene(rng, choices, group, posed_frames, fps, layout)
    middles = np.array([p.joints[0, Joint.SPINE_MIDDLE] for p in scene.people]).reshape(-1, 3)
    trajectory = frame_camera(rng, middles, posed_frames, config.size, fps)
    if _too_close(scene, trajectory):
        return None
    _widen_room(scene, trajectory)
    timings.lap("motion")
    clip = render_clip(rng, scene, trajectory, config, sensor, None, timings)
    rejection_probability = 0.0
    if len(middles) > 0:
        visible_joints = int((clip["visibility"][:, :, :17] == VISIBLE).sum(axis=2).max())
        rejection_probability = 0.5 * (visible_joints <= MIN_VISIBLE_JOINTS) + 0.4 * (
            not clip["instances"].any()
        )
    return None if rng.random() < rejection_probability else clip


def _too_close(scene: Scene, trajectory: CameraTrajectory) -> bool:
    """Whether a person is nearer to the camera than MIN_CAMERA_DISTANCE_M."""
    for person in scene.people:
        away = person.vertices[: len(trajectory.positions), ::7] - trajectory.positions[:, None]
        if (away**2).sum(axis=2).min() < MIN_CAMERA_DISTANCE_M**2:
            return True
    return False


def _widen_room(scene: Scene, trajectory: CameraTrajectory) -> None:
    """Enlarge the room so that the camera is always inside."""
    room = scene.backdrop.half
    room[:2] = np.maximum(room[:2], np.abs(trajectory.positions[:, :2]).max(axis=0) + 0.3)
    room[2] = max(room[2], trajectory.positions[:, 2].max() + 0.1)


def render_clip(
    rng: np.random.Generator,
    scene: Scene,
    trajectory: CameraTrajectory,
    config: ClipConfig,
    sensor: Sensor,
    target: int | None,
    timings: Timings,
) -> dict[str, np.ndarray]:
    """Render all frames and arrange them as the arrays of a shard.

    Args:
        rng: random generator.
        scene: the scene.
        trajectory: the camera.
        config: options of the clip.
        sensor: the sensor.
        target: index of the person that becomes number one; None: the one with the largest area.
        timings: accumulates the time of each stage.
    """
    exposure = random_exposure(rng)
    frames = [
        render_frame(scene, trajectory, frame, config.samples, exposure, timings)
        for frame in range(config.frames)
    ]
    order = _by_area(frames, len(scene.people), target)
    out = {"rgb": record_clip(rng, frames, sensor)}
    timings.lap("sensor")
    out |= _label_maps(frames, order, config.flow)
    out |= _keypoints(frames, order)
    if config.bones:
        out["bones3d"] = _bone_heads(scene, trajectory, config.frames, order)
    intrinsics = np.tile(trajectory.intrinsics.astype(np.float32), (config.frames, 1))
    count = np.full(config.frames, config.frames, np.int16)
    out |= {
        "intrinsics": intrinsics,
        "extrinsics": trajectory.extrinsics[: config.frames].astype(np.float32),
        "clip_length": count,
        "frame_index": np.arange(config.frames, dtype=np.int16),
        "view": np.full(config.frames, config.view, np.uint8),
    }
    timings.lap("annotation")
    return out


def _by_area(frames: list[FrameRender], people: int, target: int | None) -> list[int]:
    """Indices of the people who become number 1, 2, ..: the target, then by descending area."""
    instances = np.concatenate([frame.labels.instances.ravel() for frame in frames])
    pixels = np.bincount(instances, minlength=people + 1)[1:].astype(float)
    if target is not None:
        pixels[target] = np.inf
    return [int(person) for person in np.argsort(-pixels, kind="stable")]


def _label_maps(frames: list[FrameRender], order: list[int], flow: bool) -> dict[str, np.ndarray]:
    number = np.zeros(len(order) + 1, np.uint8)
    number[[person + 1 for person in order]] = np.arange(1, len(order) + 1)
    labels = [frame.labels for frame in frames]
    out = {
        "depth_m": np.stack([one.depth_m for one in labels]).astype(np.float16),
        "normals": np.stack([one.normals for one in labels]),
        "parts": np.stack([one.parts for one in labels]),
        "instances": number[np.stack([one.instances for one in labels])],
        "dense_pose_uv": np.stack([one.dense_pose_uv for one in labels]),
    }
    if flow:
        motion = np.stack([one.flow for one in labels]).astype(np.float16)
        out["flow"], out["depth_flow_m"] = motion[..., :2], motion[..., 2]
    return out


def _bone_heads(
    scene: Scene, trajectory: CameraTrajectory, frames: int, order: list[int]
) -> np.ndarray:
    """Bone heads of each person, f32 [t, MAX_PEOPLE, b, 3], optical frame, metres."""
    count = scene.people[0].bones.shape[1] if scene.people else 0
    out = np.full((frames, MAX_PEOPLE, count, 3), np.nan, np.float32)
    for row, person in enumerate(order):
        for frame in range(frames):
            _, out[frame, row] = joints_in_camera(
                scene.people[person].bones[frame], trajectory, frame
            )
    return out


def _keypoints(frames: list[FrameRender], order: list[int]) -> dict[str, np.ndarray]:
    count, joints = len(frames), len(JOINT_NAMES)
    out: dict[str, np.ndarray] = {
        "keypoints2d": np.full((count, MAX_PEOPLE, joints, 2), np.nan, np.float32),
        "keypoints3d": np.full((count, MAX_PEOPLE, joints, 3), np.nan, np.float32),
        "visibility": np.zeros((count, MAX_PEOPLE, joints), np.uint8),
        "people": np.full(count, len(order), np.uint8),
    }
    for name in ("keypoints2d", "keypoints3d", "visibility"):
        for index, frame in enumerate(frames):
            if order:
                out[name][index, : len(order)] = getattr(frame, name)[order]
    return out
