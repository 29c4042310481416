# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Held-out rendered frames through the whole pipeline, person detection included."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from tqdm import tqdm

from thfm_ros.contract import Frame, Intrinsics, Perception, PerceptionError, Task
from thfm_ros.evaluation.matching import (
    COCO_KEYPOINTS,
    DepthErrors,
    GroundTruthPerson,
    ImageMatches,
    depth_errors,
    is_large_enough,
    match_detections,
)
from thfm_ros.geometry import mask_bounds
from thfm_ros.loading import Pipeline
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.skeleton import Joint
from thfm_ros.synth.dataset import read_shards

TASKS = frozenset({Task.BODIES, Task.SEGMENTATION, Task.DEPTH})
STEP_NS = 100_000_000
"""Between the frames of a clip. Shards do not store it: they were rendered at 3 to 15 Hz."""

MIN_COCO_KEYPOINTS = 4
"""People with fewer visible COCO keypoints are ignored."""

KEYS = (
    "rgb", "instances", "depth_m", "keypoints2d", "keypoints3d", "visibility", "intrinsics",
    "frame_index",
)  # fmt: skip
_HIPS = [int(Joint.LEFT_HIP), int(Joint.RIGHT_HIP)]


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """One rendered frame with its ground truth, as the shard stores it."""

    rgb: UInt8[np.ndarray, "h w 3"]
    instances: UInt8[np.ndarray, "h w"]  # 0 background, 1.. the people
    depth_m: Float[np.ndarray, "h w"]
    keypoints2d: Float[np.ndarray, "p k 2"]  # pixels
    keypoints3d: Float[np.ndarray, "p k 3"]  # metres, optical frame
    visibility: UInt8[np.ndarray, "p k"]  # 0 outside, 1 hidden, 2 visible
    intrinsics: Float[np.ndarray, "4"]  # fx, fy, cx, cy, pixels

    def camera(self) -> Intrinsics:
        """The camera in the form of the contract."""
        height, width = self.rgb.shape[:2]
        fx, fy, cx, cy = (float(value) for value in self.intrinsics)
        return Intrinsics(fx, fy, cx, cy, width, height)

    def people(self) -> list[GroundTruthPerson]:
        """All people of whom at least one pixel is visible."""
        found = []
        for number in np.unique(self.instances[self.instances > 0]):
            mine = self.instances == number
            box = np.array(mask_bounds(mine), float)
            row = int(number) - 1  # of the keypoints; people without such a row are ignored
            known = row < len(self.visibility)
            labelled = self.visibility[row] == 2 if known else np.zeros(len(Joint), bool)
            keypoints = self.keypoints2d[row] if known else np.zeros((len(Joint), 2))
            enough = labelled[:COCO_KEYPOINTS].sum() >= MIN_COCO_KEYPOINTS
            found.append(
                GroundTruthPerson(
                    track_id=int(number),
                    box=box,
                    area=float(mine.sum()),
                    keypoints=np.where(labelled[:, None], keypoints, 0).astype(float),
                    labelled=labelled,
                    ignore=not (enough and is_large_enough(box)),
                    root_m=self.keypoints3d[row, _HIPS].mean(0) if known else None,
                    focal_px=float(self.intrinsics[1]),
                )
            )
        return found


def frame_clips(folder: Path, split: str = "val") -> Iterator[list[LabelledFrame]]:
    """The clips of a folder of shards, each as a list of its frames.

    Args:
        folder: of .npz shards.
        split: only for the error text: which split to render.

    Raises:
        PerceptionError: the folder holds no shard.
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
            yield [_frame(arrays, row) for row in range(begin, end)]


def _frame(arrays: dict[str, np.ndarray], row: int) -> LabelledFrame:
    return LabelledFrame(
        rgb=arrays["rgb"][row],
        instances=arrays["instances"][row],
        depth_m=arrays["depth_m"][row],
        keypoints2d=arrays["keypoints2d"][row],
        keypoints3d=arrays["keypoints3d"][row],
        visibility=arrays["visibility"][row],
        intrinsics=arrays["intrinsics"][row],
    )


def matched_clips(
    pipeline: Pipeline, clips: Iterable[list[LabelledFrame]], max_clips: int, step_ns: int = STEP_NS
) -> list[ImageMatches]:
    """Run the pipeline on the first ``max_clips`` clips and match every frame's detections."""
    bar = tqdm(islice(clips, max_clips), unit="clip", desc="whole frames", disable=None)
    return [_matched(pipeline, each) for each in run_pipeline(pipeline, bar, TASKS, step_ns)]


class PerceivedFrame(NamedTuple):
    """One frame and what the pipeline perceives in it."""

    clip: int  # number of the clip
    frame: LabelledFrame
    perception: Perception


def run_pipeline(
    pipeline: Pipeline,
    clips: Iterable[list[LabelledFrame]],
    tasks: frozenset[Task],
    step_ns: int = STEP_NS,
) -> Iterator[PerceivedFrame]:
    """All frames of all clips in order, ``step_ns`` apart; each clip is a new stream."""
    window = FrameWindow(pipeline.config.window)
    for number, frames in enumerate(clips):
        window.reset("another clip")
        for index, frame in enumerate(frames):
            stamp = number * 3_600_000_000_000 + index * step_ns
            clip = window.push(Frame(frame.rgb, stamp, "camera", frame.camera()))
            assert clip is not None  # stamps rise
            yield PerceivedFrame(number, frame, pipeline.step(clip, tasks))


def _matched(pipeline: Pipeline, perceived: PerceivedFrame) -> ImageMatches:
    frame, perception = perceived.frame, perceived.perception
    matches = match_detections(
        frame.people(),
        perception,
        perceived.clip,
        np.asarray(frame.instances > 0),
        threshold=pipeline.config.decode.mask_threshold,
    )
    errors = (
        _depth_errors(matches.people[pair.person], frame, perception)
        for pair in matches.true_positives
    )
    return replace(matches, depth_errors=tuple(each for each in errors if each is not None))


def _depth_errors(
    person: GroundTruthPerson, frame: LabelledFrame, perception: Perception
) -> DepthErrors | None:
    if perception.depth_m is None:
        return None
    pixels = frame.instances == person.track_id
    return depth_errors(
        perception.depth_m[pixels],
        frame.depth_m[pixels],
        metric=True,
        assumed_m=person.assumed_distance_m(person.box),
    )
