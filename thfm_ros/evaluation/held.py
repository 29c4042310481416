"""Somebody who does not move, before a camera held in a hand: what jitters is the perception.

Rendered frames stand still; the camera trembles and its sensor makes noise, 30 times a second. The
true motion is the camera's, and known.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float

from thfm_ros.evaluation.following import over_time
from thfm_ros.evaluation.frames import Rendered, judged_clips
from thfm_ros.pipelines import Pipeline

SIZE = (640, 480)
STEP_NS = 33_333_333
FRAMES = 10
SETTLED = 3  # frames before the first that counts
TREMOR = 0.003  # of the picture's width, standard deviation
NOISE = 3.0  # of 255, standard deviation per pixel and channel


def held_clips(clips: Iterable[list[Rendered]], seed: int = 0) -> Iterator[list[Rendered]]:
    """Clips of FRAMES frames, of the first frame of each clip in which somebody is to be found."""
    for number, clip in enumerate(clips):
        if any(person.counts for person in clip[0].people()):
            rng = np.random.default_rng((seed, number))
            yield [_recorded(rng, clip[0], at) for at in _tremor(rng)]


def scores_of(pipeline: Pipeline, clips: Iterable[list[Rendered]], most: int) -> dict[str, float]:
    """Figures of `over_time`, their names with "_held", once the pipeline has settled."""
    judged = judged_clips(pipeline, held_clips(clips), most, STEP_NS)
    settled = [each for i, each in enumerate(judged) if i % FRAMES >= SETTLED]
    return {f"{name}_held": value for name, value in over_time(settled).items()}


def _tremor(rng: np.random.Generator) -> Float[np.ndarray, "t 2"]:
    """Where the picture lies, pixels: a hand trembles with one to four hertz."""
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
    picture = cv2.warpAffine(
        still.rgb, centred, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    noisy = picture + rng.normal(0, NOISE, picture.shape)
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
