# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Scenes that four cameras at known poses see at the same time, to measure their fusion.

With an asset pack made by `thfm synth bake` (its held-out assets are used):

    python -m thfm_ros.synth.camera_rig --pack pack.npz --out DIR

It writes DIR/SCENE/CAMERA.mp4 for each camera, and DIR/SCENE/truth.npz; see `write_scene`.
The cameras stand on a circle: front, right, back and left, so neighbours see people from
directions that are 90 degrees apart.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from thfm_ros.media.video_writer import VideoWriter
from thfm_ros.synth.pack import load_pack
from thfm_ros.synth.rendering.render import render_frame
from thfm_ros.synth.rendering.sensor import Sensor, record_frame
from thfm_ros.synth.scenario_films import (
    FPS,
    SIZE,
    TO_THE_CAMERA,
    TO_THE_LEFT,
    TO_THE_RIGHT,
    Film,
    Stage,
    fixed_camera,
    staged_film,
)
from thfm_ros.synth.scene.asset_choices import AssetChoices, choose_assets
from thfm_ros.synth.shading.camera import CameraTrajectory

FRAMES = 30
HEIGHT_M, RADIUS_M = 1.4, 4.4
CAMERAS = {
    "front": (0.0, -RADIUS_M, HEIGHT_M),
    "right": (RADIUS_M, 0.0, HEIGHT_M),
    "back": (0.0, RADIUS_M, HEIGHT_M),
    "left": (-RADIUS_M, 0.0, HEIGHT_M),
}
"""Positions in the world, metres, z up; all face the middle."""


def _walk(seed: int, heading: float, x: float, y: float) -> tuple[Stage, ...]:
    return (Stage(seed, "walk", heading, (x, y), FRAMES),)


def _stand(seed: int, heading: float, x: float, y: float) -> tuple[Stage, ...]:
    return (Stage(seed, "stand", heading, (x, y), FRAMES),)


def _film(seed: int, people: dict[str, tuple[int, tuple[Stage, ...]]]) -> Film:
    return Film(seed, people, frames=FRAMES)


SCENES = {
    "one_walks": _film(31, {"a": (3, _walk(5, TO_THE_RIGHT, 0.0, 0.3))}),
    "one_comes": _film(32, {"a": (8, _walk(6, TO_THE_CAMERA, -0.4, 0.0))}),
    "two_cross": _film(
        33,
        {
            "a": (4, _walk(5, TO_THE_RIGHT, 0.0, -0.5)),
            "b": (9, _walk(8, TO_THE_LEFT, 0.0, 0.6)),
        },
    ),
    "two_stand": _film(
        34,
        {
            "a": (5, _stand(7, 0.4, -0.5, 0.0)),
            "b": (10, _stand(9, -2.0, 0.6, 0.5)),
        },
    ),
    "three": _film(
        35,
        {
            "a": (6, _walk(11, TO_THE_RIGHT, 0.1, 0.9)),
            "b": (7, _stand(12, 0.8, -0.9, -0.6)),
            "c": (11, _walk(13, TO_THE_CAMERA, 0.9, -0.3)),
        },
    ),
}


@dataclass(frozen=True)
class CameraView:
    """What one camera saw."""

    trajectory: CameraTrajectory
    images: list[UInt8[np.ndarray, "h w 3"]]
    visible_px: Int[np.ndarray, "t p"]  # pixels of each person


def render_scene(
    film: Film, choices: AssetChoices
) -> tuple[dict[str, CameraView], Float[np.ndarray, "t p 35 3"]]:
    """What every camera of CAMERAS sees, and the joints of the people in the world."""
    rng = np.random.default_rng((film.seed, 1))
    people, scene = staged_film(rng, choices, film)
    joints = np.stack([person.joints for person in people], axis=1)
    frames = len(joints)
    views = {}
    for name, position in CAMERAS.items():
        camera = fixed_camera(position, frames)
        sensor = Sensor(blur_px=0.3, noise=0.004)
        rendered = [render_frame(scene, camera, index, 2, np.ones(3)) for index in range(frames)]
        visible = [
            np.bincount(each.labels.instances.ravel(), minlength=len(people) + 1)[1:]
            for each in rendered
        ]
        images = [record_frame(rng, each.linear, sensor) for each in rendered]
        views[name] = CameraView(camera, images, np.array(visible))
    return views, joints


def write_scene(
    folder: Path, views: dict[str, CameraView], joints: Float[np.ndarray, "t p 35 3"]
) -> None:
    """Write the views as CAMERA.mp4, and truth.npz with what is known of them.

    Its arrays: ``cameras`` (names), ``joints_m`` [t p 35 3] in the world, ``rotations`` [c 3 3]
    (camera from world) and ``positions_m`` [c 3] of the cameras, ``intrinsics`` [c 4] (fx fy cx cy,
    pixels), ``visible_px`` [c t p] (pixels of each person) and ``fps``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, view in views.items():
        with VideoWriter(folder / f"{name}.mp4", FPS) as video:
            for image in view.images:
                video.write(image)
    cameras = [view.trajectory for view in views.values()]
    np.savez_compressed(
        folder / "truth.npz",
        cameras=np.array(list(views)),
        joints_m=joints.astype(np.float32),
        rotations=np.stack([each.rotations[0] for each in cameras]),
        positions_m=np.stack([each.positions[0] for each in cameras]),
        intrinsics=np.stack([each.intrinsics for each in cameras]),
        visible_px=np.stack([view.visible_px for view in views.values()]),
        fps=np.array(FPS),
        size=np.array(SIZE),
    )


def main() -> int:
    """Render the scenes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True, help="asset pack")
    parser.add_argument("--out", type=Path, required=True, help="folder of the scenes")
    parser.add_argument("names", nargs="*", metavar="SCENE", help="default: all scenes")
    args = parser.parse_args()
    choices = choose_assets(load_pack(args.pack), "val")
    for name in args.names or SCENES:
        write_scene(args.out / name, *render_scene(SCENES[name], choices))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
