# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Films of people who pass before one another, to measure whether they keep their ids.

With an asset pack made by `thfm synth bake` (its held-out assets are used):

    python -m thfm_ros.synth.crossings --pack pack.npz --out DIR

It writes DIR/crossing_NN.mp4 and DIR/crossing_NN.npz: ``boxes`` [t p 4] of the visible pixels of
each person (x_min, y_min, x_max, y_max, pixels; zeros where none are), ``visible_px`` [t p], their
number, and ``fps``. Of two people who walk past each other, one may stand; in every third film a
third one comes towards the camera, and in every fourth two wear identical clothes.
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int, UInt8

from thfm_ros.media.video_writer import VideoWriter
from thfm_ros.synth.motion.gestures import gesture_motion, striding_motion
from thfm_ros.synth.pack import load_pack
from thfm_ros.synth.people.person import random_person_model
from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.rendering.render import FrameRender, render_frame
from thfm_ros.synth.rendering.sensor import Sensor, record_frame
from thfm_ros.synth.scenario_films import (
    CAMERA,
    FPS,
    TO_THE_CAMERA,
    TO_THE_LEFT,
    TO_THE_RIGHT,
    Film,
    fixed_camera,
    staged_scene,
)
from thfm_ros.synth.scene.assemble import PosedPerson
from thfm_ros.synth.scene.asset_choices import AssetChoices, choose_assets
from thfm_ros.synth.scene.stage import pose_person

FRAMES = 40
THREE_EVERY, IDENTICAL_EVERY, STANDS_EVERY = 3, 4, 5
_LEAST_GAP_M = 0.6
"""Between the paths of two people, in depth."""


def render_crossing(
    number: int, choices: AssetChoices
) -> tuple[list[UInt8[np.ndarray, "h w 3"]], list[FrameRender]]:
    """The recorded images of one crossing, and what is known of them."""
    rng, palette = np.random.default_rng((number, 91)), Palette()
    people = _people(number, rng, choices, palette)
    scene = staged_scene(rng, choices, palette, people, Film(number, {}, frames=FRAMES))
    camera, sensor = fixed_camera(CAMERA, FRAMES), Sensor(blur_px=0.3, noise=0.004)
    frames = [render_frame(scene, camera, index, 2, np.ones(3)) for index in range(FRAMES)]
    return [record_frame(rng, frame.linear, sensor) for frame in frames], frames


def _people(
    number: int, rng: np.random.Generator, choices: AssetChoices, palette: Palette
) -> list[PosedPerson]:
    count = 3 if number % THREE_EVERY == THREE_EVERY - 1 else 2
    identical = number % IDENTICAL_EVERY == IDENTICAL_EVERY - 1
    stands = number % STANDS_EVERY == STANDS_EVERY - 1
    bodies = rng.choice(choices.bodies, count, replace=False)
    depths = -0.9 + np.cumsum(rng.uniform(_LEAST_GAP_M, 1.3, count))
    headings = [TO_THE_RIGHT, TO_THE_LEFT, TO_THE_CAMERA][:count]
    if rng.random() < 0.5:
        headings[:2] = headings[1::-1]
    people = []
    for index in range(count):
        clothes = (number, 92, 0 if identical and index == 1 else index)
        model = random_person_model(
            np.random.default_rng(clothes), choices.pack, palette, bodies[index : index + 1]
        )
        still = stands and index == 1
        move, legs = (gesture_motion, "stand") if still else (striding_motion, "walk")
        motion = move(rng, choices.rig, FRAMES, FPS, legs)
        spot = np.array([rng.uniform(-0.5, 0.5), depths[index]])
        heading = headings[index] + rng.normal(0, 0.15)
        people.append(pose_person(rng, choices, palette, model, motion, spot, heading))
    return people


def visible_boxes(
    instances: Int[np.ndarray, "h w"], people: int
) -> tuple[Float64[np.ndarray, "p 4"], Int[np.ndarray, " p"]]:
    """Bounding box and number of the visible pixels of each person; zeros if there are none.

    Args:
        instances: number of the person of each pixel, from 1; 0: none.
        people: how many there are.
    """
    boxes, counts = np.zeros((people, 4)), np.zeros(people, int)
    for index in range(people):
        y, x = np.nonzero(instances == index + 1)
        counts[index] = len(x)
        if len(x):
            boxes[index] = x.min(), y.min(), x.max() + 1, y.max() + 1
    return boxes, counts


def main() -> int:
    """Render the films."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True, help="asset pack")
    parser.add_argument("--out", type=Path, required=True, help="folder of the films")
    parser.add_argument("--films", type=int, default=32, help="number of films")
    parser.add_argument("--first", type=int, default=0, help="number of the first film")
    args = parser.parse_args()
    choices = choose_assets(load_pack(args.pack), "val")
    args.out.mkdir(parents=True, exist_ok=True)
    for number in range(args.first, args.first + args.films):
        images, frames = render_crossing(number, choices)
        people = 3 if number % THREE_EVERY == THREE_EVERY - 1 else 2
        known = [visible_boxes(each.labels.instances, people) for each in frames]
        with VideoWriter(args.out / f"crossing_{number:02d}.mp4", FPS) as video:
            for image in images:
                video.write(image)
        boxes, counts = (np.array(each) for each in zip(*known, strict=True))
        file = args.out / f"crossing_{number:02d}.npz"
        np.savez(file, boxes=boxes, visible_px=counts, fps=FPS)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
