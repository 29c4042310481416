# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The shipped network on fisheye images, which are rendered from the street clip."""

import dataclasses
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

import thfm_ros
from thfm_ros.config import config_from
from thfm_ros.contract import Body, Distortion, Frame, Intrinsics, LensModel, Task, TrackState
from thfm_ros.geometry import intrinsics_from_fov, longer_side, project, rays
from thfm_ros.lens import undistort
from thfm_ros.loading import Pipeline, load_pipeline
from thfm_ros.perception.frame_window import FrameWindow

pytestmark = pytest.mark.slow

STREET = Path(thfm_ros.__file__).parent / "clips" / "street.mp4"
FRAMES = 40
CLIP = intrinsics_from_fov(768, 576, 60)
LENS = Distortion(LensModel.EQUIDISTANT, (0.02, -0.01, 0.003, -0.001))
FISHEYE = Intrinsics(CLIP.fx, CLIP.fy, 865.0, 288.0, 1730, 576, LENS)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(config_from({"track.seed": 1}))


@pytest.fixture(scope="module")
def clip() -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(STREET))
    images = [capture.read()[1] for _ in range(FRAMES)]
    capture.release()
    return [np.ascontiguousarray(image[..., ::-1]) for image in images]


def turned_right(degrees: float) -> np.ndarray:
    """R_fisheye_clip: the scene of the clip lies to the right of the fisheye camera's axis."""
    a = math.radians(degrees)
    return np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])


def rendered(clip: list[np.ndarray], rotation: np.ndarray) -> list[np.ndarray]:
    """What a fisheye camera at the place of the clip's camera sees of it; grey elsewhere."""
    y, x = np.mgrid[: FISHEYE.height, : FISHEYE.width] + 0.5
    source = project(undistort(np.stack([x, y], axis=-1), FISHEYE) @ rotation, CLIP) - 0.5
    maps = np.nan_to_num(source, nan=-10.0).astype(np.float32)
    return [
        cv2.remap(image, maps, None, cv2.INTER_LINEAR, borderValue=(114, 114, 114))
        for image in clip
    ]


def people(pipeline: Pipeline, images: list[np.ndarray], k: Intrinsics) -> list[list[Body]]:
    """The detected people of each image."""
    pipeline.reset()
    window = FrameWindow(pipeline.config.window)
    bodies: list[list[Body]] = []
    for number, image in enumerate(images):
        clip = window.push(Frame(image, number * 33_000_000 + 1, "camera", k))
        assert clip is not None
        perception = pipeline.step(clip, frozenset({Task.BODIES}))
        bodies.append([body for body in perception.bodies if body.state is not TrackState.LOST])
    return bodies


def middle(body: Body) -> np.ndarray:
    """The pixel in the middle of the bounding box."""
    return np.asarray((body.box[:2] + body.box[2:]) / 2)


def errors(found: list[list[Body]], expected: list[list[Body]], rotation: np.ndarray) -> np.ndarray:
    """Of each expected person that is found at its pixels: degrees, relative error of distance."""
    rows = []
    for bodies, references in zip(found, expected, strict=True):
        for reference in references:
            root = rotation @ reference.root_m
            distance = float(np.linalg.norm(root))
            centre = project(rotation @ rays(middle(reference), CLIP), FISHEYE)
            offsets = [float(np.linalg.norm(middle(body) - centre)) for body in bodies]
            nearest = bodies[int(np.argmin(offsets))] if bodies else None
            if nearest is None or not min(offsets) < 0.15 * longer_side(nearest.box):  # or NaN
                continue
            length = float(np.linalg.norm(nearest.root_m))
            cosine = float(nearest.root_m @ root) / length / distance
            rows.append((math.degrees(math.acos(min(cosine, 1))), length / distance - 1))
    return np.abs(rows)


@pytest.mark.parametrize("degrees", [0.0, 40.0, 65.0])
def test_people_in_a_fisheye_image_are_where_the_perspective_image_shows_them(
    pipeline: Pipeline, clip: list[np.ndarray], degrees: float
) -> None:
    """The figures of docs/topics.md."""
    rotation = turned_right(degrees)
    expected = people(pipeline, clip, CLIP)
    images = rendered(clip, rotation)
    right = errors(people(pipeline, images, FISHEYE), expected, rotation)
    print(f"{degrees:.0f}: {len(right)} of {sum(map(len, expected))}, {np.median(right, axis=0)}")
    assert len(right) >= 10
    assert np.median(right[:, 0]) < 0.3 and np.median(right[:, 1]) < 0.15
    if degrees:
        pinhole = dataclasses.replace(FISHEYE, distortion=None)
        wrong = errors(people(pipeline, images, pinhole), expected, rotation)
        print(np.median(wrong, axis=0))
        assert np.median(wrong[:, 0]) > 5 and np.median(wrong[:, 1]) > 0.15
