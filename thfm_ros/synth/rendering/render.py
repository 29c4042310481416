# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Render a scene through a camera to linear images and labels, frame by frame."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from thfm_ros.synth.primitives.skin import project, vertex_normals
from thfm_ros.synth.rendering.annotate import Labels, joints_in_camera, rasterize_labels, visibility
from thfm_ros.synth.scene.assemble import Scene
from thfm_ros.synth.shading.backdrop import IMAGE, PinholeCamera, backdrop_shadows, shade_image
from thfm_ros.synth.shading.camera import CameraTrajectory
from thfm_ros.synth.shading.light import SKY_DIRECTIONS, render_shadow_maps
from thfm_ros.synth.shading.raster import visible_triangles
from thfm_ros.synth.shading.shade import ShaderGeometry, ShaderLight, compute_sky_visibility


@dataclass
class Timings:
    """Seconds spent per stage of rendering, for the benchmark."""

    seconds: dict[str, float] = field(default_factory=dict)
    clock: Callable[[], float] = time.perf_counter
    _last: float = 0.0

    def start(self) -> None:
        """Start the clock."""
        self._last = self.clock()

    def lap(self, name: str) -> None:
        """Add the time since the last call to the stage ``name``."""
        now = self.clock()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now


@dataclass(frozen=True)
class FrameRender:
    """One rendered frame: linear image before the sensor, labels, keypoints of each person."""

    linear: Float32[np.ndarray, "h w 3"]
    labels: Labels
    keypoints2d: Float[np.ndarray, "p 35 2"]
    keypoints3d: Float[np.ndarray, "p 35 3"]
    visibility: UInt8[np.ndarray, "p 35"]


def render_frame(
    scene: Scene,
    trajectory: CameraTrajectory,
    frame: int,
    samples: int,
    exposure: Float[np.ndarray, "3"],
    timings: Timings | None = None,
) -> FrameRender:
    """Render one frame.

    Args:
        scene: the scene.
        trajectory: the camera.
        frame: index of the frame; flow leads to the next frame if there is one.
        samples: image samples per pixel and axis (labels are taken at pixel centres).
        exposure: factor per channel before the tone curve.
        timings: accumulates the time of each stage.

    Returns:
        The frame; its image is linear light after the tone curve, 0..1.
    """
    timings = timings or Timings()
    timings.start()
    vertices = scene.vertices[frame]
    normals = np.empty_like(vertices)
    vertex_normals(vertices, scene.faces, normals)
    linear = _linear_image(scene, trajectory, frame, samples, normals, timings)
    linear = tone_map(linear * exposure.astype(np.float32))
    if samples > 1:
        size = (trajectory.width, trajectory.height)
        linear = cv2.resize(linear, size, interpolation=cv2.INTER_AREA)
    timings.lap("shading")
    labels = _labels(scene, trajectory, frame, normals)
    joints = [joints_in_camera(person.joints[frame], trajectory, frame) for person in scene.people]
    joint_states = [visibility(p, q, labels, n + 1) for n, (p, q) in enumerate(joints)]
    timings.lap("annotation")
    return FrameRender(
        linear,
        labels,
        np.array([pixels for pixels, _ in joints]).reshape(-1, 35, 2),
        np.array([points for _, points in joints]).reshape(-1, 35, 3),
        np.array(joint_states, np.uint8).reshape(-1, 35),
    )


def _linear_image(
    scene: Scene,
    trajectory: CameraTrajectory,
    frame: int,
    samples: int,
    normals: Float32[np.ndarray, "v 3"],
    timings: Timings,
) -> Float32[np.ndarray, "h w 3"]:
    """Scene light at ``samples`` times the resolution of the labels."""
    vertices, lighting = scene.vertices[frame], scene.lighting
    centre, extent = _shadow_region(scene, frame)
    maps = render_shadow_maps(vertices, scene.faces, lighting.key_direction, centre, extent)
    sky_visibility = np.empty(len(vertices), np.float32)
    compute_sky_visibility(
        vertices, normals, maps.sky, maps.sky_matrix, SKY_DIRECTIONS, sky_visibility
    )
    timings.lap("light")
    screen = _projected(scene, trajectory, frame, samples)
    triangles = visible_triangles(
        screen, scene.faces, trajectory.width * samples, trajectory.height * samples
    )
    timings.lap("visibility")
    geometry = ShaderGeometry(
        screen, vertices, normals, sky_visibility, scene.colours, scene.faces, scene.face_uv,
        scene.materials, scene.material_table, scene.textures,
    )  # fmt: skip
    light = ShaderLight(lighting.harmonics, lighting.key_direction, lighting.key_colour)
    camera = PinholeCamera(
        trajectory.rotations[frame], trajectory.positions[frame], trajectory.intrinsics * samples
    )
    linear = np.empty((trajectory.height * samples, trajectory.width * samples, 3), np.float32)
    shadows = np.ones((trajectory.height, trajectory.width, 2), np.float32)
    if scene.backdrop.mode != IMAGE:
        backdrop_shadows(scene.backdrop, maps, camera, samples, shadows)
    shade_image(triangles, geometry, light, maps, scene.backdrop, camera, shadows, linear)
    return linear


def _labels(scene: Scene, trajectory: CameraTrajectory, frame: int, normals: np.ndarray) -> Labels:
    """The label maps, sampled at pixel centres."""
    screen = _projected(scene, trajectory, frame, 1)
    next_frame = min(frame + 1, len(scene.vertices) - 1, len(trajectory.positions) - 1)
    next_screen = _projected(scene, trajectory, next_frame, 1) if next_frame > frame else screen
    triangles = visible_triangles(screen, scene.faces, trajectory.width, trajectory.height)
    size = (trajectory.height, trajectory.width)
    depth, normal = np.zeros(size, np.float32), np.zeros((*size, 3), np.float32)
    part, instance = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    dense_pose_uv, flow = np.zeros((*size, 3), np.float32), np.zeros((*size, 3), np.float32)
    camera = PinholeCamera(
        trajectory.rotations[frame], trajectory.positions[frame], trajectory.intrinsics
    )
    next_camera = PinholeCamera(
        trajectory.rotations[next_frame], trajectory.positions[next_frame], trajectory.intrinsics
    )
    rasterize_labels(
        triangles, screen, next_screen, scene.vertices[frame], normals, scene.faces,
        scene.dense_pose_uv, scene.parts, scene.instance_ids, camera, next_camera, scene.backdrop,
        depth, normal, part, instance, dense_pose_uv, flow,
    )  # fmt: skip
    return Labels(depth, _to_int8(normal), part, instance, _to_int8(dense_pose_uv), flow)


def _to_int8(values: Float32[np.ndarray, "h w 3"]) -> np.ndarray:
    out: np.ndarray = np.round(np.clip(values, -1, 1) * 127).astype(np.int8)
    return out


def _projected(
    scene: Scene, trajectory: CameraTrajectory, frame: int, samples: int
) -> Float32[np.ndarray, "v 3"]:
    """Pixels and 1 / depth of each vertex."""
    screen = np.empty_like(scene.vertices[frame])
    rotation = trajectory.rotations[frame]
    shift = -rotation @ trajectory.positions[frame]
    project(scene.vertices[frame], rotation, shift, trajectory.intrinsics * samples, screen)
    out: np.ndarray = screen
    return out


def _shadow_region(scene: Scene, frame: int) -> tuple[np.ndarray, float]:
    """Centre and extent of the meshes that cast shadows, metres."""
    if not scene.vertices.shape[1]:
        return np.zeros(3), 4.0
    sample = scene.vertices[frame, ::50]
    low, high = sample.min(axis=0), sample.max(axis=0)
    return (low + high) / 2, max(float(np.linalg.norm(high - low)) * 1.05, 0.5)


def tone_map(linear: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    """Filmic tone curve from scene light to 0..1."""
    curve = linear * (2.51 * linear + 0.03) / (linear * (2.43 * linear + 0.59) + 0.14)
    return np.clip(curve, 0, 1)
