# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Jitter and acceleration errors of the network alone on held-out clips, with its memory.

Without the tracker's filter, which smooths the keypoints at the price of delay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from tqdm import tqdm

from thfm_ros.metrics import pose as metrics
from thfm_ros.metrics.score import Score
from thfm_ros.model.network import NanoNetwork
from thfm_ros.training.crop_samples import plain_sample
from thfm_ros.training.shard_store import FrameRef, Store

FRAMES = 4
MAX_MOTION = 0.01
"""People whose true keypoints move less between frames, in person heights, stand still."""
MIN_KEYPOINTS = 8
OUTLIER = 0.1
"""In person heights: a keypoint farther from its median error is an outlier, not jitter."""


@dataclass(frozen=True, slots=True)
class ClipKeypoints:
    """True and predicted keypoints of one clip; 2D in pixels of the crop, 3D in metres."""

    truth: Float[np.ndarray, "t k 2"]
    truth_3d: Float[np.ndarray, "t k 3"]  # relative to the hips
    visible: Bool[np.ndarray, "t k"]
    with_memory: Float[np.ndarray, "t k 2"]  # the network sees the clip frame after frame
    single_frame: Float[np.ndarray, "t k 2"]  # the network sees each frame on its own
    positions: Float[np.ndarray, "t k 3"]  # relative to the hips, with memory

    @property
    def always_visible(self) -> Bool[np.ndarray, " k"]:
        """Keypoints that are visible in all frames."""
        return np.asarray(self.visible.all(0))

    @property
    def height(self) -> float:
        """Person height: longer side of the box of the always visible keypoints of all frames."""
        keypoints = self.truth[:, self.always_visible].reshape(-1, 2)
        return float((keypoints.max(0) - keypoints.min(0)).max())

    def stands_still(self) -> bool:
        """Whether the person stands still; False if too few keypoints are visible to tell."""
        if self.always_visible.sum() < MIN_KEYPOINTS:
            return False
        motion = np.linalg.norm(np.diff(self.truth[:, self.always_visible], axis=0), axis=-1)
        return bool(motion.mean() < MAX_MOTION * self.height)


@dataclass(frozen=True, slots=True)
class ClipScores:
    """Metrics of clips; jitter in person heights, baselines: each frame on its own."""

    clips: int
    still_clips: int  # of people who stand still
    jitter: Score  # of people who stand still
    outliers: Score  # fraction of their keypoints that are outliers, per frame
    jitter_without_outliers: Score
    acceleration_mm: Score  # baseline: no acceleration
    pck10_last: Score  # of the last frame


def run_clips(network: NanoNetwork, folder: Path, size: int, count: int) -> list[ClipKeypoints]:
    """Run a network on held-out clips of four frames, with memory and frame by frame.

    Args:
        network: nano.
        folder: of validation shards of crops.
        size: of the crops, pixels.
        count: of the clips, at most.
    """
    store = Store(folder)
    long = [ref for ref, length in store.clips if length >= FRAMES]
    picks = np.random.default_rng(0).permutation(len(long))[:count]
    network.eval()
    found = []
    for pick in tqdm(picks, unit="clip", desc="clips", disable=None):
        first = long[pick]
        refs = [FrameRef(first.shard, first.row + i) for i in range(FRAMES)]
        sample = plain_sample(store, refs, size)
        image = torch.from_numpy(sample.image).permute(0, 3, 1, 2).float()
        with torch.no_grad():
            with_memory = network(image[None], dense=False)
            single_frame = network(image[:, None], dense=False)
        found.append(
            ClipKeypoints(
                truth=sample.peaks * size,
                truth_3d=sample.positions,
                visible=np.asarray(sample.visibility == 2),
                with_memory=with_memory.peaks.numpy() * size,
                single_frame=single_frame.peaks.numpy() * size,
                positions=with_memory.positions.numpy(),
            )
        )
    return found


def clip_scores(clips: Sequence[ClipKeypoints]) -> ClipScores:
    """All metrics; NaN where there is nothing to measure on.

    Accelerations are second differences per frame, since shards do not store the frame rate.
    """
    still = [clip for clip in clips if clip.stands_still()]
    with_memory = _outliers([(clip, clip.with_memory) for clip in still])
    single_frame = _outliers([(clip, clip.single_frame) for clip in still])
    return ClipScores(
        clips=len(clips),
        still_clips=len(still),
        jitter=Score(
            _mean([jitter(clip.with_memory, clip) for clip in still]),
            _mean([jitter(clip.single_frame, clip) for clip in still]),
        ),
        outliers=Score(with_memory.fraction, single_frame.fraction),
        jitter_without_outliers=Score(with_memory.rest, single_frame.rest),
        acceleration_mm=Score(
            _mean([_acceleration_mm(clip.positions, clip) for clip in clips]),
            _mean([_acceleration_mm(np.zeros_like(clip.truth_3d), clip) for clip in clips]),
        ),
        pck10_last=_last_pck(clips),
    )


def jitter(predicted: Float[np.ndarray, "t k 2"], clip: ClipKeypoints) -> float:
    """`metrics.jitter` of the always visible keypoints, in person heights."""
    return metrics.jitter((predicted - clip.truth)[:, clip.always_visible]) / clip.height


class _Outliers(NamedTuple):
    fraction: float  # of keypoints and frames
    rest: float  # root mean square deviation of the others, person heights


def _outliers(clips: Sequence[tuple[ClipKeypoints, np.ndarray]]) -> _Outliers:
    """Split the deviations from each keypoint's median error into outliers and the rest."""
    deviations = [np.zeros(0)]
    for clip, predicted in clips:
        error = (predicted - clip.truth)[:, clip.always_visible]
        deviation = np.linalg.norm(error - np.median(error, axis=0), axis=-1)
        deviations.append(deviation.ravel() / clip.height)
    deviation = np.concatenate(deviations)
    outlier = deviation > OUTLIER
    rest = deviation[~outlier]
    return _Outliers(
        float(outlier.mean()) if len(deviation) else float("nan"),
        float(np.sqrt((rest**2).mean())) if len(rest) else float("nan"),
    )


def _acceleration_mm(positions: np.ndarray, clip: ClipKeypoints) -> float:
    error = np.diff(positions, 2, axis=0) - np.diff(clip.truth_3d, 2, axis=0)
    return 1000 * float(np.linalg.norm(error, axis=-1).mean())


def _last_pck(clips: Sequence[ClipKeypoints]) -> Score:
    """PCK@0.1 of the last frames, with the memory of the frames before and without."""
    if not clips:
        return Score(float("nan"))
    truth = np.stack([clip.truth[-1] for clip in clips])
    visible = np.stack([clip.visible[-1] for clip in clips])

    def pck(keypoints: list[np.ndarray]) -> float:
        return metrics.pck(metrics.normalised_errors(np.stack(keypoints), truth, visible), 0.1)

    return Score(
        pck([clip.with_memory[-1] for clip in clips]),
        pck([clip.single_frame[-1] for clip in clips]),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
