"""Held-out whole frames through the real pipeline: finding people is part of the figure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from tqdm import tqdm

from thfm_ros.contract import Frame, Intrinsics, Perception, PerceptionError, Task
from thfm_ros.evaluation.matching import (
    ImageMatches,
    Person,
    Relief,
    judge,
    large_enough,
    relief_of,
)
from thfm_ros.loading import Pipeline
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.skeleton import Joint
from thfm_ros.synth.dataset import read_shards

TASKS = frozenset({Task.BODIES, Task.SEGMENTATION, Task.DEPTH})
STEP_NS = 100_000_000
"""Between frames of a clip. Shards do not say it: they were rendered at 3 to 15 per second."""

LEAST_JOINTS = 4
"""Somebody of whom fewer of the COCO joints are visible need not be found."""

KEYS = (
    "rgb", "instances", "depth_m", "keypoints2d", "keypoints3d", "visibility", "intrinsics",
    "frame_index",
)  # fmt: skip
_HIPS = [int(Joint.LEFT_HIP), int(Joint.RIGHT_HIP)]


@dataclass(frozen=True, slots=True)
class Rendered:
    """One frame with its truth. The lens is fx fy cx cy in pixels."""

    rgb: UInt8[np.ndarray, "h w 3"]
    instances: UInt8[np.ndarray, "h w"]
    depth_m: Float[np.ndarray, "h w"]
    keypoints2d: Float[np.ndarray, "p k 2"]
    keypoints3d: Float[np.ndarray, "p k 3"]
    visibility: UInt8[np.ndarray, "p k"]
    intrinsics: Float[np.ndarray, "4"]

    def camera(self) -> Intrinsics:
        """The lens of the contract."""
        height, width = self.rgb.shape[:2]
        fx, fy, cx, cy = (float(value) for value in self.intrinsics)
        return Intrinsics(fx, fy, cx, cy, width, height)

    def people(self) -> list[Person]:
        """Everybody of whom a pixel is seen."""
        found = []
        for number in np.unique(self.instances[self.instances > 0]):
            mine = self.instances == number
            rows, columns = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
            box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
            row = int(number) - 1  # of the joints; who has none there is not asked for
            known = row < len(self.visibility)
            labelled = self.visibility[row] == 2 if known else np.zeros(len(Joint), bool)
            joints = self.keypoints2d[row] if known else np.zeros((len(Joint), 2))
            enough = labelled[:17].sum() >= LEAST_JOINTS
            found.append(
                Person(
                    name=int(number),
                    box=box,
                    area=float(mine.sum()),
                    joints=np.where(labelled[:, None], joints, 0).astype(float),
                    labelled=labelled,
                    counts=bool(enough and large_enough(box)),
                    root_m=self.keypoints3d[row, _HIPS].mean(0) if known else None,
                    focal_px=float(self.intrinsics[1]),
                )
            )
        return found


def frame_clips(folder: Path, split: str = "val") -> Iterator[list[Rendered]]:
    """The clips of a folder of shards, frame by frame; ``split`` is for the advice only.

    Raises:
        PerceptionError: there is none.
    """
    if not any(folder.glob("*.npz")):
        raise PerceptionError(
            f"There are no whole frames in {folder}. Make some: thfm synth render "
            f"--split {split} --view frame --frames 2 --clips 192 --seed 12 --pack PACK "
            f"--out {folder}"
        )
    for _, arrays in read_shards(folder, KEYS):
        begins = [*np.flatnonzero(arrays["frame_index"] == 0), len(arrays["frame_index"])]
        for begin, end in pairwise(begins):
            rows = range(begin, end)
            yield [Rendered(*(arrays[key][row] for key in KEYS[:7])) for row in rows]


def judged_clips(
    pipeline: Pipeline, clips: Iterable[list[Rendered]], most: int, step_ns: int = STEP_NS
) -> list[ImageMatches]:
    """Every frame of the first ``most`` clips, seen by the pipeline in their order."""
    bar = tqdm(islice(clips, most), unit="clip", desc="whole frames", disable=None)
    return [
        _judged(pipeline, rendered, seen, number)
        for number, rendered, seen in perceived(pipeline, bar, TASKS, step_ns)
    ]


def perceived(
    pipeline: Pipeline,
    clips: Iterable[list[Rendered]],
    tasks: frozenset[Task],
    step_ns: int = STEP_NS,
) -> Iterator[tuple[int, Rendered, Perception]]:
    """Every frame in order, with the number of its clip and what the pipeline says about it."""
    window = FrameWindow(pipeline.config.window)
    for number, frames in enumerate(clips):
        window.reset("another clip")
        for index, rendered in enumerate(frames):
            stamp = number * 3_600_000_000_000 + index * step_ns
            clip = window.push(Frame(rendered.rgb, stamp, "camera", rendered.camera()))
            assert clip is not None  # stamps rise
            yield number, rendered, pipeline.step(clip, tasks)


def _judged(pipeline: Pipeline, rendered: Rendered, seen: Perception, number: int) -> ImageMatches:
    threshold = pipeline.config.decode.mask_threshold
    outline = np.asarray(rendered.instances > 0)
    verdict = judge(rendered.people(), seen, number, outline, threshold=threshold)
    reliefs = (_relief(verdict, pair, rendered, seen) for pair in verdict.hits)
    return replace(verdict, reliefs=tuple(relief for relief in reliefs if relief is not None))


def _relief(
    verdict: ImageMatches, pair: tuple[int, int], rendered: Rendered, seen: Perception
) -> Relief | None:
    if seen.depth_m is None:
        return None
    person = verdict.people[pair[0]]
    mine: Bool[np.ndarray, "h w"] = rendered.instances == person.name
    guess_m = person.far_m(person.box)
    return relief_of(seen.depth_m[mine], rendered.depth_m[mine], metric=True, guess_m=guess_m)
