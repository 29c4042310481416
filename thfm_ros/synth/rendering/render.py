"""From a stage and a camera to images and labels, frame by frame."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from thfm_ros.synth.primitives.skin import project, vertex_normals
from thfm_ros.synth.rendering.annotate import Labels, joints_in_camera, label, visibility
from thfm_ros.synth.scene.assemble import Stage
from thfm_ros.synth.shading.backdrop import IMAGE, Camera, ground_light, paint
from thfm_ros.synth.shading.camera import Shot
from thfm_ros.synth.shading.light import SKY_DIRECTIONS, light_maps
from thfm_ros.synth.shading.raster import visible
from thfm_ros.synth.shading.shade import Drawn, Lamps, sky_openness


@dataclass
class Timings:
    """Seconds spent per stage of the work, for the benchmark."""

    seconds: dict[str, float] = field(default_factory=dict)
    clock: Callable[[], float] = time.perf_counter
    _last: float = 0.0

    def start(self) -> None:
        """Begin to count."""
        self._last = self.clock()

    def lap(self, name: str) -> None:
        """Book the time since the last call under ``name``."""
        now = self.clock()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now


@dataclass(frozen=True)
class Rendered:
    """One frame: linear image before the sensor, labels, and the joints of every person."""

    linear: Float32[np.ndarray, "h w 3"]
    labels: Labels
    keypoints2d: Float[np.ndarray, "p 35 2"]
    keypoints3d: Float[np.ndarray, "p 35 3"]
    visibility: UInt8[np.ndarray, "p 35"]


def render_frame(
    stage: Stage,
    shot: Shot,
    frame: int,
    samples: int,
    exposure: Float[np.ndarray, "3"],
    timings: Timings | None = None,
) -> Rendered:
    """Draw one frame.

    Args:
        stage: the scene.
        shot: the camera.
        frame: which moment; the labels' flow leads to the next one where there is one.
        samples: image samples per pixel and axis (labels are exact at pixel centres).
        exposure: factor per channel before the tone curve.
        timings: where to book the time.

    Returns:
        The image is linear light after the tone curve, 0..1.
    """
    timings = timings or Timings()
    timings.start()
    vertices = stage.vertices[frame]
    normals = np.empty_like(vertices)
    vertex_normals(vertices, stage.faces, normals)
    centre, extent = _surroundings(stage, frame)
    maps = light_maps(vertices, stage.faces, stage.lighting.key_direction, centre, extent)
    openness = np.empty(len(vertices), np.float32)
    sky_openness(vertices, normals, maps.sky, maps.sky_matrix, SKY_DIRECTIONS, openness)
    timings.lap("light")
    screen = _projected(stage, shot, frame, samples)
    triangles = visible(screen, stage.faces, shot.width * samples, shot.height * samples)
    timings.lap("visibility")
    drawn = Drawn(
        screen, vertices, normals, openness, stage.colours, stage.faces, stage.face_uv,
        stage.materials, stage.table, stage.textures,
    )  # fmt: skip
    lamps = Lamps(stage.lighting.harmonics, stage.lighting.key_direction, stage.lighting.key_colour)
    camera = Camera(shot.rotations[frame], shot.positions[frame], shot.lens * samples)
    linear = np.empty((shot.height * samples, shot.width * samples, 3), np.float32)
    ground = np.ones((shot.height, shot.width, 2), np.float32)
    if stage.place.mode != IMAGE:
        ground_light(stage.place, maps, camera, samples, ground)
    paint(triangles, drawn, lamps, maps, stage.place, camera, ground, linear)
    linear = toned(linear * exposure.astype(np.float32))
    if samples > 1:
        linear = cv2.resize(linear, (shot.width, shot.height), interpolation=cv2.INTER_AREA)
    timings.lap("shading")
    labels = _labels(stage, shot, frame, normals)
    joints = [joints_in_camera(person.joints[frame], shot, frame) for person in stage.people]
    seen = [visibility(p, q, labels, n + 1) for n, (p, q) in enumerate(joints)]
    timings.lap("annotation")
    return Rendered(
        linear,
        labels,
        np.array([pixels for pixels, _ in joints]).reshape(-1, 35, 2),
        np.array([points for _, points in joints]).reshape(-1, 35, 3),
        np.array(seen, np.uint8).reshape(-1, 35),
    )


def _labels(stage: Stage, shot: Shot, frame: int, normals: np.ndarray) -> Labels:
    """Everything under the centres of the pixels."""
    screen = _projected(stage, shot, frame, 1)
    following = min(frame + 1, len(stage.vertices) - 1, len(shot.positions) - 1)
    ahead = _projected(stage, shot, following, 1) if following > frame else screen
    triangles = visible(screen, stage.faces, shot.width, shot.height)
    size = (shot.height, shot.width)
    depth, normal = np.zeros(size, np.float32), np.zeros((*size, 3), np.float32)
    part, owner = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    surface, flow = np.zeros((*size, 3), np.float32), np.zeros((*size, 3), np.float32)
    camera = Camera(shot.rotations[frame], shot.positions[frame], shot.lens)
    later = Camera(shot.rotations[following], shot.positions[following], shot.lens)
    label(
        triangles, screen, ahead, stage.vertices[frame], normals, stage.faces, stage.surface,
        stage.parts, stage.owners, camera, later, stage.place,
        depth, normal, part, owner, surface, flow,
    )  # fmt: skip
    return Labels(depth, _signed(normal), part, owner, _signed(surface), flow)


def _signed(values: Float32[np.ndarray, "h w 3"]) -> np.ndarray:
    out: np.ndarray = np.round(np.clip(values, -1, 1) * 127).astype(np.int8)
    return out


def _projected(stage: Stage, shot: Shot, frame: int, samples: int) -> Float32[np.ndarray, "v 3"]:
    """Pixels and 1 / depth of every vertex."""
    screen = np.empty_like(stage.vertices[frame])
    rotation = shot.rotations[frame]
    shift = -rotation @ shot.positions[frame]
    project(stage.vertices[frame], rotation, shift, shot.lens * samples, screen)
    out: np.ndarray = screen
    return out


def _surroundings(stage: Stage, frame: int) -> tuple[np.ndarray, float]:
    """Middle and size, metres, of what casts shadows."""
    if not stage.vertices.shape[1]:
        return np.zeros(3), 4.0
    some = stage.vertices[frame, ::50]
    low, high = some.min(axis=0), some.max(axis=0)
    return (low + high) / 2, max(float(np.linalg.norm(high - low)) * 1.05, 0.5)


def toned(linear: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    """A filmic curve from scene light to 0..1."""
    curve = linear * (2.51 * linear + 0.03) / (linear * (2.43 * linear + 0.59) + 0.14)
    return np.clip(curve, 0, 1)
