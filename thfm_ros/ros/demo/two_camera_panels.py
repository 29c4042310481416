# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Drawings of the demo of two cameras: views with fused skeletons, and a plan of the floor."""

import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from thfm_ros.contract import Body, Intrinsics, Perception, PerceptionError
from thfm_ros.geometry import project
from thfm_ros.media.drawing import colour_of, draw_label, draw_skeleton
from thfm_ros.skeleton import Joint

PLAN_M = 5.2
"""Half of the side of the plan."""
_CAMERA_COLOURS = ((255, 200, 60), (90, 190, 255), (255, 120, 220), (150, 255, 150))


@dataclass(frozen=True)
class View:
    """One camera: its film, its pose and the truth about the people."""

    name: str
    film: Path
    rotation: Float64[np.ndarray, "3 3"]  # camera from world
    centre_m: Float64[np.ndarray, "3"]
    intrinsics: Intrinsics
    joints_m: Float64[np.ndarray, "t p 35 3"]  # in the world

    def pose_text(self) -> str:
        """X Y Z ROLL PITCH YAW of the optical frame in the world."""
        r = self.rotation.T
        roll, yaw = math.atan2(r[2, 1], r[2, 2]), math.atan2(r[1, 0], r[0, 0])
        pitch = -math.asin(float(np.clip(r[2, 0], -1, 1)))
        return " ".join(f"{v:.9f}" for v in (*self.centre_m, roll, pitch, yaw))


@dataclass(frozen=True)
class Moment:
    """What was seen and fused at one stamp."""

    images: Sequence[UInt8[np.ndarray, "h w 3"]]
    fused: Perception
    single: Mapping[str, Perception | None]  # of each camera, in its optical frame
    index: int  # of the frame


def read_views(scene: Path, cameras: Sequence[str]) -> list[View]:
    """Cameras of a scene that `thfm_ros.synth.camera_rig` has rendered.

    Raises:
        PerceptionError: there is no such scene or camera.
    """
    file = scene / "truth.npz"
    try:
        with np.load(file) as arrays:
            names = [str(name) for name in arrays["cameras"]]
            if missing := [name for name in cameras if name not in names]:
                raise PerceptionError(
                    f"{file} has no camera {missing[0]!r}; choose from {', '.join(names)}."
                )
            width, height = (int(side) for side in arrays["size"])
            joints = arrays["joints_m"].astype(np.float64)
            views = []
            for name in cameras:
                i = names.index(name)
                fx, fy, cx, cy = (float(value) for value in arrays["intrinsics"][i])
                k = Intrinsics(fx, fy, cx, cy, width, height)
                rotation, centre = arrays["rotations"][i], arrays["positions_m"][i]
                views.append(View(name, scene / f"{name}.mp4", rotation, centre, k, joints))
            return views
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise PerceptionError(f"{file} cannot be read ({error}).") from error


def panel(moment: Moment, views: Sequence[View]) -> UInt8[np.ndarray, "h w 3"]:
    """Each view with the fused skeletons, and the plan, side by side."""
    drawn = [
        _drawn(image, moment.fused, view) for image, view in zip(moment.images, views, strict=True)
    ]
    return np.hstack([*drawn, _plan(moment, views, drawn[0].shape[0])])


def _drawn(
    rgb: UInt8[np.ndarray, "h w 3"], people: Perception, view: View
) -> UInt8[np.ndarray, "h w 3"]:
    image = np.array(rgb)
    for body in people.bodies:
        seen = _as_seen(body, view)
        draw_skeleton(image, seen)
        draw_label(image, seen)
    cv2.putText(image, view.name, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2)
    return image


def _as_seen(body: Body, view: View) -> Body:
    """The fused body in the camera's frame, with pixels."""
    in_camera = (body.positions_m - view.centre_m) @ view.rotation.T
    keypoints = body.keypoints.copy()
    keypoints[:, :2] = project(in_camera, view.intrinsics)
    pixels = keypoints[np.isfinite(keypoints).all(axis=1), :2]
    corners = [*pixels.min(axis=0), *pixels.max(axis=0)] if len(pixels) else [0.0] * 4
    root = (body.root_m - view.centre_m) @ view.rotation.T
    return replace(
        body,
        keypoints=keypoints,
        box=np.array(corners, np.float32),
        root_m=root.astype(np.float32),
    )


def _plan(moment: Moment, views: Sequence[View], side: int) -> UInt8[np.ndarray, "s s 3"]:
    """The floor from above, x to the right and y up: what each camera says, and the fusion.

    Crosses are the truth, small circles the cameras' own positions, discs the fused ones.
    """
    image = np.full((side, side, 3), 30, np.uint8)

    def pixel(point_m: np.ndarray) -> tuple[int, int]:
        x = (point_m[0] / PLAN_M + 1) / 2 * side
        return round(x), round((1 - point_m[1] / PLAN_M) / 2 * side)

    for metres in range(-4, 5, 2):
        for a, b in (((metres, -9), (metres, 9)), ((-9, metres), (9, metres))):
            cv2.line(image, pixel(np.array(a)), pixel(np.array(b)), (60, 60, 60), 1)
    for view, colour in zip(views, _CAMERA_COLOURS, strict=False):
        cv2.drawMarker(image, pixel(view.centre_m), colour, cv2.MARKER_TRIANGLE_UP, 14, 2)
        perception = moment.single.get(view.name)
        for body in perception.bodies if perception else ():
            root = view.rotation.T @ body.root_m + view.centre_m
            if np.isfinite(root).all():
                cv2.line(image, pixel(view.centre_m), pixel(root), colour, 1, cv2.LINE_AA)
                cv2.circle(image, pixel(root), 4, colour, 1, cv2.LINE_AA)
    for body in moment.fused.bodies:
        cv2.circle(image, pixel(body.root_m), 6, colour_of(body.id), -1, cv2.LINE_AA)
    for joints in views[0].joints_m[moment.index]:
        cv2.drawMarker(image, pixel(joints[Joint.PELVIS]), (255, 255, 255), cv2.MARKER_CROSS, 10, 1)
    return image
