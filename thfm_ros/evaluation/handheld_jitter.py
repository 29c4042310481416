# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Jitter on a person who does not move, before a simulated hand-held camera.

One rendered frame is repeated; the camera shakes and its sensor adds noise, 30 times a second.
The true motion is that of the camera, and known exactly.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeAlias

import cv2
import numpy as np
from jaxtyping import Float

from thfm_ros.contract import Body
from thfm_ros.evaluation.matching import GroundTruthPerson, ImageMatches, median_pose_of
from thfm_ros.evaluation.synthetic_frames import LabelledFrame, matched_clips
from thfm_ros.evaluation.tracking_metrics import MIN_KEYPOINTS
from thfm_ros.geometry import longer_side
from thfm_ros.loading import Pipeline
from thfm_ros.metrics import pose as metrics
from thfm_ros.metrics.baselines import pose_in_boxes
from thfm_ros.metrics.score import Score, mean_known

Keypoints = Float[np.ndarray, "k 2"]
Detections: TypeAlias = Sequence[tuple[GroundTruthPerson, Body]]
"""One person and what was detected of them, frame by frame."""

SIZE = (640, 480)
STEP_NS = 33_333_333
FRAMES = 10
WARM_UP_FRAMES = 3
"""Frames at the beginning of a clip that are not measured: the tracker's filter settles."""
CAMERA_SHAKE = 0.003  # of the image's width, standard deviation
SENSOR_NOISE = 3.0  # of 255, standard deviation per pixel and channel


@dataclass(frozen=True, slots=True)
class HandheldScores:
    """Jitter in longer sides of the person's box."""

    people: int
    jitter: Score  # baseline: median pose in the detected box
    frozen_jitter: float  # of keypoints that stay at the same pixels: what the camera moves


def handheld_clips(
    clips: Iterable[list[LabelledFrame]], seed: int = 0
) -> Iterator[list[LabelledFrame]]:
    """Clips of FRAMES frames, made of the first frame of each clip that has a person in it.

    People who are ignored do not count.
    """
    for number, clip in enumerate(clips):
        if any(not person.ignore for person in clip[0].people()):
            rng = np.random.default_rng((seed, number))
            yield [_recorded(rng, clip[0], offset) for offset in _camera_path(rng)]


def handheld_scores(
    pipeline: Pipeline, clips: Iterable[list[LabelledFrame]], max_clips: int
) -> HandheldScores:
    """Run the pipeline on at most ``max_clips`` of `handheld_clips` and measure jitter."""
    images = matched_clips(pipeline, handheld_clips(clips), max_clips, STEP_NS)
    measured = [image for i, image in enumerate(images) if i % FRAMES >= WARM_UP_FRAMES]
    return jitter_scores([list(clip) for _, clip in groupby(measured, lambda each: each.clip)])


def jitter_scores(clips: Sequence[Sequence[ImageMatches]]) -> HandheldScores:
    """Jitter of all people who are detected in every frame of a clip.

    It is the standard deviation of the error over the clip: a constant error is no jitter, drift
    and lag are. From two frames only, slow drift would look like steadiness.
    """
    people = [rows for clip in clips for rows in _detected_throughout(clip)]
    pose = median_pose_of([person for rows in people for person, _ in rows])

    def detected(body: Body) -> Keypoints:
        return np.asarray(body.keypoints[:, :2], float)

    def in_box(body: Body) -> Keypoints:
        return np.asarray(pose_in_boxes(pose, body.box[None].astype(float))[0])

    def frozen(body: Body) -> Keypoints:
        return np.zeros((len(pose), 2))

    return HandheldScores(
        people=len(people),
        jitter=Score(
            mean_known([_jitter(rows, detected) for rows in people]),
            mean_known([_jitter(rows, in_box) for rows in people]),
        ),
        frozen_jitter=mean_known([_jitter(rows, frozen) for rows in people]),
    )


def _detected_throughout(clip: Sequence[ImageMatches]) -> Iterator[Detections]:
    rows: dict[int, list[tuple[GroundTruthPerson, Body]]] = {}
    for image in clip:
        for pair in image.true_positives:
            person = image.people[pair.person]
            rows.setdefault(person.track_id, []).append((person, image.detections[pair.detection]))
    yield from (each for each in rows.values() if len(each) == len(clip))


def _jitter(rows: Detections, keypoints_of: Callable[[Body], Keypoints]) -> float:
    error = np.array([keypoints_of(body) - person.keypoints for person, body in rows])
    visible = np.array([person.labelled for person, _ in rows]).all(0)
    error = error[:, visible & np.isfinite(error).all((0, 2))]
    if error.shape[1] < MIN_KEYPOINTS:
        return float("nan")
    return metrics.jitter(error) / longer_side(rows[0][0].box)


def _camera_path(rng: np.random.Generator) -> Float[np.ndarray, "t 2"]:
    """Offsets of the image in pixels: a hand shakes at one to four hertz."""
    seconds = np.arange(FRAMES)[:, None] * STEP_NS * 1e-9
    hertz, phase = rng.uniform(1, 4, (3, 1, 2)), rng.uniform(0, 2 * np.pi, (3, 1, 2))
    waves = np.sin(2 * np.pi * hertz * seconds + phase).sum(0)
    found: np.ndarray = waves * np.sqrt(2 / 3) * CAMERA_SHAKE * SIZE[0]
    return found


def _recorded(
    rng: np.random.Generator, still: LabelledFrame, offset: Float[np.ndarray, "2"]
) -> LabelledFrame:
    """``still``, letterboxed into SIZE and shifted by ``offset`` pixels, labels included."""
    height, width = still.rgb.shape[:2]
    scale = min(SIZE[0] / width, SIZE[1] / height)
    corner = (np.array(SIZE) - scale * np.array([width, height])) / 2 + offset
    matrix = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]])
    centred = matrix.copy()
    centred[:, 2] += (scale - 1) / 2  # OpenCV's first pixel centre is 0
    image = cv2.warpAffine(
        still.rgb, centred, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    noisy = image + rng.normal(0, SENSOR_NOISE, image.shape)
    nearest = cv2.INTER_NEAREST
    instances = cv2.warpAffine(np.ascontiguousarray(still.instances), centred, SIZE, flags=nearest)
    depth = cv2.warpAffine(still.depth_m.astype(np.float32), centred, SIZE, flags=nearest)
    fx, fy, cx, cy = (float(value) for value in still.intrinsics)
    intrinsics = [fx * scale, fy * scale, cx * scale + corner[0], cy * scale + corner[1]]
    return replace(
        still,
        rgb=np.clip(noisy, 0, 255).astype(np.uint8),
        keypoints2d=still.keypoints2d * scale + corner,
        intrinsics=np.array(intrinsics),
        instances=instances,
        depth_m=depth,
    )
