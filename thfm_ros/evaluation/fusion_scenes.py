# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Rendered scenes that several cameras see, and what the pipeline perceives in each view.

`python -m thfm_ros.synth.camera_rig` renders them.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int

from thfm_ros.contract import Body, Frame, Intrinsics, Perception, PerceptionError, Task
from thfm_ros.geometry import pack_covariance, unpack_covariance
from thfm_ros.loading import Pipeline
from thfm_ros.media.video import Video
from thfm_ros.perception.frame_window import FrameWindow, config_for_rate

RENDER = "python -m thfm_ros.synth.camera_rig --pack PACK --out DIR"


@dataclass(frozen=True)
class RigScene:
    """One scene: the truth, and the cameras that see it."""

    folder: Path
    cameras: tuple[str, ...]
    joints_m: Float64[np.ndarray, "t p 35 3"]  # in the world
    rotations: Float64[np.ndarray, "c 3 3"]  # camera from world
    centres_m: Float64[np.ndarray, "c 3"]
    intrinsics: tuple[Intrinsics, ...]
    visible_px: Int[np.ndarray, "c t p"]
    fps: float

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name


def rig_scenes(folder: Path) -> list[RigScene]:
    """All scenes below a folder, in alphabetical order.

    Raises:
        PerceptionError: there is none, or one cannot be read.
    """
    files = sorted(folder.glob("*/truth.npz"))
    if not files:
        raise PerceptionError(f"There is no SCENE/truth.npz in {folder}. Render some: {RENDER}")
    return [_scene(file) for file in files]


def _scene(file: Path) -> RigScene:
    try:
        with np.load(file) as arrays:
            width, height = (int(side) for side in arrays["size"])
            return RigScene(
                folder=file.parent,
                cameras=tuple(str(name) for name in arrays["cameras"]),
                joints_m=arrays["joints_m"].astype(np.float64),
                rotations=arrays["rotations"],
                centres_m=arrays["positions_m"],
                intrinsics=tuple(
                    _intrinsics(values, width, height) for values in arrays["intrinsics"]
                ),
                visible_px=arrays["visible_px"],
                fps=float(arrays["fps"]),
            )
    except (KeyError, ValueError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise PerceptionError(f"{file} cannot be read ({error}). Render it: {RENDER}") from error


def _intrinsics(values: np.ndarray, width: int, height: int) -> Intrinsics:
    fx, fy, cx, cy = (float(value) for value in values)
    return Intrinsics(fx, fy, cx, cy, width, height)


def perceived_views(pipeline: Pipeline, scene: RigScene) -> dict[str, list[Perception]]:
    """The perceptions of each camera, one per frame, with bodies in the world."""
    return {
        name: [
            _in_world(each, scene.rotations[index].T, scene.centres_m[index])
            for each in _perceptions(pipeline, scene, index)
        ]
        for index, name in enumerate(scene.cameras)
    }


def _perceptions(pipeline: Pipeline, scene: RigScene, camera: int) -> Iterator[Perception]:
    pipeline.reset()
    window = FrameWindow(config_for_rate(pipeline.config.window, scene.fps))
    name = scene.cameras[camera]
    for image in Video(scene.folder / f"{name}.mp4"):
        stamp_ns = round(image.index * 1e9 / scene.fps) + 1_000_000_000
        clip = window.push(Frame(image.rgb, stamp_ns, name, scene.intrinsics[camera]))
        assert clip is not None  # stamps increase
        yield pipeline.step(clip, frozenset({Task.BODIES}))


def _in_world(
    perception: Perception,
    rotation: Float64[np.ndarray, "3 3"],
    centre_m: Float64[np.ndarray, "3"],
) -> Perception:
    bodies = tuple(_body_in_world(body, rotation, centre_m) for body in perception.bodies)
    return replace(perception, bodies=bodies, frame_id="world")


def _body_in_world(
    body: Body, rotation: Float64[np.ndarray, "3 3"], centre_m: Float64[np.ndarray, "3"]
) -> Body:
    def turned(packed: np.ndarray) -> np.ndarray:
        return pack_covariance(rotation @ unpack_covariance(packed) @ rotation.T)

    return replace(
        body,
        positions_m=(body.positions_m @ rotation.T + centre_m).astype(np.float32),
        covariances_m2=turned(body.covariances_m2),
        root_m=(rotation @ body.root_m + centre_m).astype(np.float32),
        root_covariance_m2=turned(body.root_covariance_m2),
        velocity_m_s=(rotation @ body.velocity_m_s).astype(np.float32),
        velocity_covariance=turned(body.velocity_covariance),
    )
