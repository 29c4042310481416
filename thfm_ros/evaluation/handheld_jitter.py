"""Somebody who does not move, before a camera held in a hand: what jitters is the perception.

Rendered frames stand still; the camera trembles and its sensor makes noise, 30 times a second. The
true motion is the camera's, and known.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import cv2
import numpy as np
from jaxtyping import Float

from thfm_ros.contract import Body
from thfm_ros.evaluation.baselines import mean, median_pose, put_into
from thfm_ros.evaluation.matching import ImageMatches, Person
from thfm_ros.evaluation.synthetic_frames import Rendered, judged_clips
from thfm_ros.evaluation.tracking_metrics import LEAST_JOINTS
from thfm_ros.geometry import longer_side
from thfm_ros.loading import Pipeline
from thfm_ros.metrics import pose as metrics

Joints = Float[np.ndarray, "k 2"]

SIZE = (640, 480)
STEP_NS = 33_333_333
FRAMES = 10
SETTLED = 3  # frames before the first that counts
TREMOR = 0.003  # of the image's width, standard deviation
NOISE = 3.0  # of 255, standard deviation per pixel and channel


def held_clips(clips: Iterable[list[Rendered]], seed: int = 0) -> Iterator[list[Rendered]]:
    """Clips of FRAMES frames, of the first frame of each clip in which somebody is to be found."""
    for number, clip in enumerate(clips):
        if any(person.counts for person in clip[0].people()):
            rng = np.random.default_rng((seed, number))
            yield [_recorded(rng, clip[0], at) for at in _tremor(rng)]


def scores_of(pipeline: Pipeline, clips: Iterable[list[Rendered]], most: int) -> dict[str, float]:
    """How far joints stray once the pipeline has settled, and what a trivial answer would."""
    judged = judged_clips(pipeline, held_clips(clips), most, STEP_NS)
    settled = [each for i, each in enumerate(judged) if i % FRAMES >= SETTLED]
    return strays_of([list(clip) for _, clip in groupby(settled, lambda each: each.clip)])


def strays_of(clips: Sequence[Sequence[ImageMatches]]) -> dict[str, float]:
    """Of everybody who is found in all frames of a clip, in longer sides of their box.

    Standard deviation of the error about its own mean: a constant error is no jitter, drift and
    lag are. From two frames only, a slow drift would look like a steady joint.
    """
    everybody = [rows for clip in clips for rows in _found_throughout(clip)]
    pose = median_pose([person for rows in everybody for person, _ in rows])

    def said(body: Body) -> Joints:
        return np.asarray(body.keypoints[:, :2], float)

    def in_the_box(body: Body) -> Joints:
        return np.asarray(put_into(body.box[None].astype(float), pose)[0])

    def nowhere(body: Body) -> Joints:
        return np.zeros((len(pose), 2))

    return {
        "people_held": float(len(everybody)),
        "jitter_held": mean([_stray(rows, said) for rows in everybody]),
        "jitter_median_pose_held": mean([_stray(rows, in_the_box) for rows in everybody]),
        "jitter_frozen_held": mean([_stray(rows, nowhere) for rows in everybody]),
    }


def _found_throughout(clip: Sequence[ImageMatches]) -> Iterator[list[tuple[Person, Body]]]:
    rows: dict[int, list[tuple[Person, Body]]] = {}
    for image in clip:
        for i, j in image.hits:
            rows.setdefault(image.people[i].name, []).append((image.people[i], image.found[j]))
    yield from (each for each in rows.values() if len(each) == len(clip))


def _stray(rows: Sequence[tuple[Person, Body]], joints_of: Callable[[Body], Joints]) -> float:
    error = np.array([joints_of(body) - person.joints for person, body in rows])
    seen = np.array([person.labelled for person, _ in rows]).all(0)
    error = error[:, seen & np.isfinite(error).all((0, 2))]
    if error.shape[1] < LEAST_JOINTS:
        return float("nan")
    return metrics.stray(error) / longer_side(rows[0][0].box)


def _tremor(rng: np.random.Generator) -> Float[np.ndarray, "t 2"]:
    """Where the image lies, pixels: a hand trembles with one to four hertz."""
    seconds = np.arange(FRAMES)[:, None] * STEP_NS * 1e-9
    hertz, phase = rng.uniform(1, 4, (3, 1, 2)), rng.uniform(0, 2 * np.pi, (3, 1, 2))
    waves = np.sin(2 * np.pi * hertz * seconds + phase).sum(0)
    found: np.ndarray = waves * np.sqrt(2 / 3) * TREMOR * SIZE[0]
    return found


def _recorded(rng: np.random.Generator, still: Rendered, at: Float[np.ndarray, "2"]) -> Rendered:
    height, width = still.rgb.shape[:2]
    scale = min(SIZE[0] / width, SIZE[1] / height)
    middle = (np.array(SIZE) - scale * np.array([width, height])) / 2 + at
    matrix = np.array([[scale, 0, middle[0]], [0, scale, middle[1]]])
    centred = matrix.copy()
    centred[:, 2] += (scale - 1) / 2  # OpenCV's first pixel centre is 0
    image = cv2.warpAffine(
        still.rgb, centred, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    noisy = image + rng.normal(0, NOISE, image.shape)
    nearest = cv2.INTER_NEAREST
    instances = cv2.warpAffine(np.ascontiguousarray(still.instances), centred, SIZE, flags=nearest)
    depth = cv2.warpAffine(still.depth_m.astype(np.float32), centred, SIZE, flags=nearest)
    fx, fy, cx, cy = (float(value) for value in still.intrinsics)
    lens = [fx * scale, fy * scale, cx * scale + middle[0], cy * scale + middle[1]]
    return replace(
        still,
        rgb=np.clip(noisy, 0, 255).astype(np.uint8),
        keypoints2d=still.keypoints2d * scale + middle,
        intrinsics=np.array(lens),
        instances=instances,
        depth_m=depth,
    )
