# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""People who come to one place several times, some in identical clothes, to measure whether they
are known again.

With an asset pack made by `thfm synth bake` (its held-out assets are used):

    python -m thfm_ros.synth.visits --pack pack.npz --out DIR

It writes DIR/site_NN.npz for each place, which has one backdrop, light and camera: ``images``
[p v f h w 3] of each person, visit and frame, ``clothes`` [p] (equal numbers: identical clothes on
different bodies), ``fps`` and ``focal_px``. In the last visit the edge of the image cuts the
person, as when they have just come into view.
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from thfm_ros.synth.motion.gestures import gesture_motion, striding_motion
from thfm_ros.synth.pack import load_pack
from thfm_ros.synth.people.person import random_person_model
from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.rendering.render import render_frame
from thfm_ros.synth.rendering.sensor import Sensor, record_frame
from thfm_ros.synth.scenario_films import CAMERA, FPS, Film, fixed_camera, staged_scene
from thfm_ros.synth.scene.asset_choices import AssetChoices, choose_assets
from thfm_ros.synth.scene.stage import pose_person

CLOTHES = (0, 1, 2, 3, 0, 1)
"""Of the people of a place: the last two wear what the first two wear."""
VISITS, FRAMES = 3, 4
KEPT = (0, 3)
"""Frames of a visit that are written."""
STAND_EVERY = 3
"""Of so many visits the person stands in one; they walk in the others."""


def render_site(number: int, choices: AssetChoices) -> UInt8[np.ndarray, "p v f h w 3"]:
    """The images of all visits to one place."""
    bodies = _different_bodies(np.random.default_rng((number, 81)), choices)
    return np.array(
        [
            [_render_visit(number, person, visit, bodies, choices) for visit in range(VISITS)]
            for person in range(len(CLOTHES))
        ]
    )


def _different_bodies(rng: np.random.Generator, choices: AssetChoices) -> list[int]:
    """The body of each person of a place; people of identical clothes have bodies alike in sex and
    age."""
    traits = choices.pack.body.shape_traits
    chosen: list[int] = []
    for person, clothes in enumerate(CLOTHES):
        allowed = np.setdiff1d(choices.bodies, chosen)
        first = int(rng.choice(allowed))
        if clothes < person:
            distance = np.abs(traits[allowed, :2] - traits[chosen[clothes], :2]).sum(axis=1)
            first = int(allowed[np.argmin(distance)])
        chosen.append(first)
    return chosen


def _render_visit(
    site: int, person: int, visit: int, bodies: list[int], choices: AssetChoices
) -> list[UInt8[np.ndarray, "h w 3"]]:
    rng, palette = np.random.default_rng((site, 82, person, visit)), Palette()
    clothes = np.random.default_rng((site, 83, CLOTHES[person]))
    body = np.array([bodies[person]])
    model = random_person_model(clothes, choices.pack, palette, body)
    stands = (person + visit) % STAND_EVERY == 0
    move, legs = (gesture_motion, "stand") if stands else (striding_motion, "walk")
    motion = move(rng, choices.rig, FRAMES, FPS, legs)
    depth = rng.uniform(-1.2, 2.0)
    half_width = (depth - CAMERA[1]) * np.tan(np.radians(30))
    share = 0.95 if visit == VISITS - 1 else rng.uniform(0, 0.7)
    spot = np.array([share * half_width * rng.choice([-1, 1]), depth])
    posed = pose_person(rng, choices, palette, model, motion, spot, rng.uniform(0, 2 * np.pi))
    place = np.random.default_rng((site, 84))
    scene = staged_scene(place, choices, palette, [posed], Film(site, {}, frames=FRAMES))
    camera, sensor = fixed_camera(CAMERA, FRAMES), Sensor(blur_px=0.3, noise=0.004)
    frames = [render_frame(scene, camera, index, 2, np.ones(3)) for index in KEPT]
    return [record_frame(rng, frame.linear, sensor) for frame in frames]


def main() -> int:
    """Render the visits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True, help="asset pack")
    parser.add_argument("--out", type=Path, required=True, help="folder of the visits")
    parser.add_argument("--sites", type=int, default=10, help="number of places")
    parser.add_argument("--first", type=int, default=0, help="number of the first place")
    args = parser.parse_args()
    choices = choose_assets(load_pack(args.pack), "val")
    args.out.mkdir(parents=True, exist_ok=True)
    focal_px = float(fixed_camera(CAMERA, 1).intrinsics[0])
    for number in range(args.first, args.first + args.sites):
        images = render_site(number, choices)
        file = args.out / f"site_{number:02d}.npz"
        np.savez(file, images=images, clothes=CLOTHES, fps=FPS, focal_px=focal_px)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
