# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The rendered films of thfm_ros/scenarios: staged people, a fixed camera, known boxes.

Run it again after a change of the renderer, with an asset pack made by `thfm synth bake`:

    python -m thfm_ros.synth.scenario_films --pack pack.npz --out DIR

It writes NAME.mp4 and NAME.people.yaml, the ``people`` of the film's scenario file: boxes and
distances every half second.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from thfm_ros.media.video_writer import VideoWriter
from thfm_ros.skeleton import Joint
from thfm_ros.synth.motion.captured import Motion
from thfm_ros.synth.motion.gestures import gesture_motion, striding_motion
from thfm_ros.synth.pack import load_pack
from thfm_ros.synth.people.person import random_person_model
from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.rendering.render import FrameRender, render_frame
from thfm_ros.synth.rendering.sensor import Sensor, record_frame
from thfm_ros.synth.scene.assemble import PosedPerson, Scene, assemble_scene
from thfm_ros.synth.scene.asset_choices import AssetChoices, choose_assets
from thfm_ros.synth.scene.clutter import Prop, random_prop
from thfm_ros.synth.scene.place import random_backdrop
from thfm_ros.synth.scene.stage import pose_person
from thfm_ros.synth.shading.backdrop import ROOM
from thfm_ros.synth.shading.camera import CameraTrajectory, look_at
from thfm_ros.synth.shading.light import indoor_lighting, random_lighting

FPS = 10
SIZE = (480, 360)
HFOV_DEG = 60.0
CAMERA = (0.0, -4.2, 1.4)  # world, metres
TARGET = (0.0, 0.0, 0.95)  # what the camera looks at
KEY_EVERY = 5  # frames between two key boxes
MIN_PIXELS = 400  # of a person that has a key box
TO_THE_RIGHT, TO_THE_LEFT, TO_THE_CAMERA = 0.5 * np.pi, -0.5 * np.pi, 0.0
"""Headings; 0 faces the camera."""


@dataclass(frozen=True)
class Stage:
    """What a person does for some frames, around the middle of their path."""

    seed: int  # of the motion
    legs: str  # "walk" or "stand"
    heading: float
    spot: tuple[float, float]  # x, y of the middle of the path, world, metres
    frames: int = 40


@dataclass(frozen=True)
class Film:
    """One film: people by name, each with a seed and stages in the order of time."""

    seed: int  # of backdrop, light and clutter
    people: dict[str, tuple[int, tuple[Stage, ...]]]
    props: tuple[tuple[float, float], ...] = ()  # x, y of the clutter
    frames: int = 40


FILMS = {
    "one_person_walking": Film(11, {"walker": (3, (Stage(5, "walk", TO_THE_RIGHT, (0.0, 0.0)),))}),
    "two_people_crossing": Film(
        12,
        {
            "front": (4, (Stage(5, "walk", TO_THE_RIGHT, (0.0, -0.6)),)),
            "back": (9, (Stage(8, "walk", TO_THE_LEFT, (0.0, 0.9)),)),
        },
    ),
    "empty_room": Film(
        13,
        {},
        ((-1.6, 0.4), (-0.9, 1.2), (-0.2, 0.2), (0.6, 1.0), (1.2, 0.1), (1.8, 1.1), (0.2, -1.0)),
    ),
    "leaves_and_returns": Film(
        14,
        {
            "visitor": (
                5,
                (
                    Stage(5, "walk", TO_THE_RIGHT, (2.1, 0.0), 26),
                    Stage(6, "walk", TO_THE_LEFT, (2.1, 0.0), 26),
                ),
            )
        },
        frames=52,
    ),
    "near_and_far": Film(
        15,
        {
            "near": (6, (Stage(7, "stand", 0.4, (-0.8, -1.4)),)),
            "far": (7, (Stage(8, "stand", -0.5, (1.5, 3.0)),)),
        },
    ),
}


def render_film(film: Film, choices: AssetChoices) -> tuple[list[np.ndarray], list[FrameRender]]:
    """The recorded images and what is known of them."""
    rng = np.random.default_rng((film.seed, 1))
    _, scene = staged_film(rng, choices, film)
    camera = fixed_camera(CAMERA, film.frames)
    exposure, sensor = np.ones(3), Sensor(blur_px=0.3, noise=0.004)
    frames = [render_frame(scene, camera, index, 2, exposure) for index in range(film.frames)]
    return [record_frame(rng, frame.linear, sensor) for frame in frames], frames


def staged_film(
    rng: np.random.Generator, choices: AssetChoices, film: Film
) -> tuple[list[PosedPerson], Scene]:
    """The film's people, and the scene in which they stand."""
    palette = Palette()
    people = [
        staged_person(np.random.default_rng((film.seed, 2, seed)), choices, palette, seed, stages)
        for seed, stages in film.people.values()
    ]
    return people, staged_scene(rng, choices, palette, people, film)


def staged_person(
    rng: np.random.Generator,
    choices: AssetChoices,
    palette: Palette,
    seed: int,
    stages: Sequence[Stage],
) -> PosedPerson:
    """The person of this seed in all stages, one after the other; world, metres."""
    model = random_person_model(np.random.default_rng(seed), choices.pack, palette, choices.bodies)
    posed = []
    for stage in stages:
        move: Callable[..., Motion] = striding_motion if stage.legs == "walk" else gesture_motion
        motion = move(np.random.default_rng(stage.seed), choices.rig, stage.frames, FPS, stage.legs)
        spot = np.array(stage.spot)
        posed.append(pose_person(rng, choices, palette, model, motion, spot, stage.heading))
    return replace(
        posed[0],
        vertices=np.concatenate([each.vertices for each in posed]),
        joints=np.concatenate([each.joints for each in posed]),
        bones=np.concatenate([each.bones for each in posed]),
        carried=posed[0].carried if len(posed) == 1 else (),
    )


def staged_scene(
    rng: np.random.Generator,
    choices: AssetChoices,
    palette: Palette,
    people: list[PosedPerson],
    film: Film,
) -> Scene:
    """The people with the film's clutter, a backdrop around all cameras, and light."""
    props: list[Prop] = []
    for x, y in film.props:
        props.append(random_prop(rng, palette).moved(np.array([x, y, 0.0]), rng.uniform(0, 6.3)))
    lighting = random_lighting(rng, choices.panoramas)
    backdrop = random_backdrop(rng, palette, choices, lighting, people, flat_probability=0.0)
    backdrop.half[:] = np.maximum(backdrop.half, [5.0, 5.0, 2.6])  # the camera is inside
    if backdrop.mode == ROOM:
        lighting = indoor_lighting(lighting)
    return assemble_scene(people, props, palette, backdrop, lighting, film.frames)


def fixed_camera(at: tuple[float, float, float], frames: int) -> CameraTrajectory:
    """A camera of SIZE and HFOV_DEG that stands at ``at`` (world, metres) and faces TARGET."""
    position = np.array(at)
    rotation = look_at(position, np.array(TARGET))
    width, height = SIZE
    focal = width / 2 / np.tan(np.radians(HFOV_DEG) / 2)
    return CameraTrajectory(
        np.tile(rotation, (frames, 1, 1)),
        np.tile(position, (frames, 1)),
        np.array([focal, focal, width / 2, height / 2]),
        width,
        height,
    )


def people_yaml(film: Film, frames: Sequence[FrameRender]) -> str:
    """Boxes of the visible pixels and distances of the pelvis, every KEY_EVERY frames."""
    lines = ["people:"]
    for number, name in enumerate(film.people):
        lines.append(f"  {name}:")
        for index in range(0, len(frames), KEY_EVERY):
            y, x = np.nonzero(frames[index].labels.instances == number + 1)
            if len(x) < MIN_PIXELS:
                continue
            box = [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]
            pelvis = frames[index].keypoints3d[number, [Joint.LEFT_HIP, Joint.RIGHT_HIP]].mean(0)
            distance = f"{np.linalg.norm(pelvis):.2f}"
            lines.append(f"    - {{at_s: {index / FPS:g}, box: {box}, distance_m: {distance}}}")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Render the films."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True, help="asset pack")
    parser.add_argument("--out", type=Path, required=True, help="folder of the films")
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all films")
    args = parser.parse_args()
    choices = choose_assets(load_pack(args.pack), "val")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names or FILMS:
        images, frames = render_film(FILMS[name], choices)
        with VideoWriter(args.out / f"{name}.mp4", FPS) as video:
            for image in images:
                video.write(image)
        (args.out / f"{name}.people.yaml").write_text(people_yaml(FILMS[name], frames), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
