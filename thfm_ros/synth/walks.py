# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Films of one person who walks, with the true path of the joints, to measure velocities.

With an asset pack made by `thfm synth bake` (its held-out assets are used):

    python -m thfm_ros.synth.walks --pack pack.npz --out DIR

It writes DIR/walk_NN.mp4 and DIR/walk_NN.npz: ``pelvis_m`` [t 3] and ``joints_m`` [t k 3], in the
order of `Joint`, in the camera's optical frame, metres; ``focal_px``; ``fps``.
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8

from thfm_ros.media.video_writer import VideoWriter
from thfm_ros.skeleton import Joint
from thfm_ros.synth.motion.gestures import gesture_motion, striding_motion
from thfm_ros.synth.pack import load_pack
from thfm_ros.synth.people.person import random_person_model
from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.rendering.render import render_frame
from thfm_ros.synth.rendering.sensor import Sensor, record_frame
from thfm_ros.synth.scenario_films import CAMERA, Film, fixed_camera, staged_scene
from thfm_ros.synth.scene.asset_choices import AssetChoices, choose_assets
from thfm_ros.synth.scene.stage import pose_person

FPS = 30
FRAMES = 75
STILL_EVERY = 5
"""Of so many people one stands and moves their arms."""


def render_walk(
    number: int, choices: AssetChoices
) -> tuple[list[UInt8[np.ndarray, "h w 3"]], Float64[np.ndarray, "t k 3"], float]:
    """The images of one walk, the true joints in the optical frame, and the focal length.

    Directions are spread evenly over the circle, the distances over 2.7 to 6.7 m.
    """
    rng, palette = np.random.default_rng((number, 71)), Palette()
    model = random_person_model(rng, choices.pack, palette, choices.bodies)
    stands = number % STILL_EVERY == STILL_EVERY - 1
    move = gesture_motion if stands else striding_motion
    motion = move(rng, choices.rig, FRAMES, FPS, "stand" if stands else "walk")
    spot = np.array([rng.uniform(-0.5, 0.5), -1.5 + 4.0 * ((number * 0.618) % 1)])
    heading = 2 * np.pi * ((number * 0.382) % 1)
    person = pose_person(rng, choices, palette, model, motion, spot, heading)
    film = Film(number, {}, frames=FRAMES)
    scene = staged_scene(rng, choices, palette, [person], film)
    camera = fixed_camera(CAMERA, FRAMES)
    sensor, exposure = Sensor(blur_px=0.3, noise=0.004), np.ones(3)
    frames = [render_frame(scene, camera, index, 2, exposure) for index in range(FRAMES)]
    joints = np.array([frame.keypoints3d[0] for frame in frames])
    images = [record_frame(rng, frame.linear, sensor) for frame in frames]
    return images, joints, float(camera.intrinsics[0])


def main() -> int:
    """Render the films."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True, help="asset pack")
    parser.add_argument("--out", type=Path, required=True, help="folder of the films")
    parser.add_argument("--walks", type=int, default=20, help="number of films")
    parser.add_argument("--first", type=int, default=0, help="number of the first film")
    args = parser.parse_args()
    choices = choose_assets(load_pack(args.pack), "val")
    args.out.mkdir(parents=True, exist_ok=True)
    for number in range(args.first, args.first + args.walks):
        images, joints_m, focal_px = render_walk(number, choices)
        pelvis_m = joints_m[:, [Joint.LEFT_HIP, Joint.RIGHT_HIP]].mean(axis=1)
        with VideoWriter(args.out / f"walk_{number:02d}.mp4", FPS) as video:
            for image in images:
                video.write(image)
        file = args.out / f"walk_{number:02d}.npz"
        np.savez(file, pelvis_m=pelvis_m, joints_m=joints_m, focal_px=focal_px, fps=FPS)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
