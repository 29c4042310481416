"""Held-out clips: how quietly joints follow, frame after frame, with the network's memory.

The network alone, without the tracker's smoothing, which would make it look better and later.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from thfm_ros.metrics import pose as metrics
from thfm_ros.model.network import NanoNetwork
from thfm_ros.training.crop_samples import plain_sample
from thfm_ros.training.shard_store import FrameRef, Store

Scores = dict[str, float]

STILL = 0.01
"""Somebody whose joints truly move less between frames, in heights of theirs, stands still."""
LEAST_JOINTS = 8
JUMP = 0.1
"""A joint that strays farther, in heights of the person, is not trembling but elsewhere."""


class Clip:
    """The joints of one clip, true and as they were said, [t k ...]; pixels of the crop."""

    def __init__(
        self, truth: np.ndarray, space: np.ndarray, visible: np.ndarray, said: dict[str, np.ndarray]
    ) -> None:
        self.truth, self.space = truth, space
        self.seen = visible.all(0)  # in all frames
        self.seen_last = visible[-1]
        self.said = said

    @property
    def height(self) -> float:
        """Longer side of the box of the joints that are seen, over all frames."""
        joints = self.truth[:, self.seen].reshape(-1, 2)
        return float((joints.max(0) - joints.min(0)).max())

    def still(self) -> bool:
        """Whether the person stands still, and enough of them is seen to say so."""
        if self.seen.sum() < LEAST_JOINTS:
            return False
        steps = np.linalg.norm(np.diff(self.truth[:, self.seen], axis=0), axis=-1)
        return bool(steps.mean() < STILL * self.height)


def clips_of(network: NanoNetwork, folder: Path, size: int, count: int) -> list[Clip]:
    """Run ``count`` held-out clips of four frames, with memory and frame by frame."""
    store = Store(folder)
    long = [ref for ref, length in store.clips if length >= 4]
    picks = np.random.default_rng(0).permutation(len(long))[:count]
    network.eval()
    found = []
    for pick in tqdm(picks, unit="clip", desc="clips", disable=None):
        first = long[pick]
        refs = [FrameRef(first.shard, first.row + i) for i in range(4)]
        sample = plain_sample(store, refs, size)
        image = torch.from_numpy(sample.image).permute(0, 3, 1, 2).float()
        with torch.no_grad():
            followed = network(image[None], dense=False)
            alone = network(image[:, None], dense=False)
        said = {
            "peaks": followed.peaks.numpy() * size,
            "positions": followed.positions.numpy(),
            "alone": alone.peaks.numpy() * size,
        }
        visible = np.asarray(sample.visibility == 2)
        found.append(Clip(sample.peaks * size, sample.positions, visible, said))
    return found


def scores_of(clips: Sequence[Clip]) -> Scores:
    """Jitter, acceleration error, and what memory brings.

    Accelerations are second differences per frame, since shards do not say their rate; of the
    joints relative to the hips, mm. Their baseline is somebody who never accelerates.
    """
    still = [clip for clip in clips if clip.still()]
    newest, first = _last_and_first_errors(clips)
    return {
        "clips": float(len(clips)),
        "still_clips": float(len(still)),
        "jitter": _mean([jitter(clip.said["peaks"], clip) for clip in still]),
        "jitter_alone": _mean([jitter(clip.said["alone"], clip) for clip in still]),
        **{
            f"{name}{suffix}": value
            for suffix, key in (("", "peaks"), ("_alone", "alone"))
            for name, value in _jumps(still, key).items()
        },
        "acceleration_mm": _mean([_acceleration(clip, clip.said["positions"]) for clip in clips]),
        "acceleration_mm_still": _mean(
            [_acceleration(clip, np.zeros_like(clip.space)) for clip in clips]
        ),
        "pck10_newest": newest,
        "pck10_newest_alone": first,
    }


def jitter(said: np.ndarray, clip: Clip) -> float:
    """How far joints stray about their own mean error from frame to frame, in heights.

    Root mean square over the joints that are seen. A constant error is no jitter, and what the
    person truly moves is taken off.
    """
    return metrics.stray((said - clip.truth)[:, clip.seen]) / clip.height


def _jumps(clips: Sequence[Clip], name: str) -> Scores:
    """How often joints are elsewhere than in most frames of their clip, and how much the others
    stray; in heights of the person."""
    strays = [np.zeros(0)]
    for clip in clips:
        error = (clip.said[name] - clip.truth)[:, clip.seen]
        stray = np.linalg.norm(error - np.median(error, axis=0), axis=-1)
        strays.append(stray.ravel() / clip.height)
    stray = np.concatenate(strays)
    jumped = stray > JUMP
    rest = stray[~jumped]
    return {
        "jumps": float(jumped.mean()) if len(stray) else float("nan"),
        "jitter_rest": float(np.sqrt((rest**2).mean())) if len(rest) else float("nan"),
    }


def _acceleration(clip: Clip, positions: np.ndarray) -> float:
    error = np.diff(positions, 2, axis=0) - np.diff(clip.space, 2, axis=0)
    return 1000 * float(np.linalg.norm(error, axis=-1).mean())


def _last_and_first_errors(clips: Sequence[Clip]) -> tuple[float, float]:
    """PCK@0.1 of the newest frames, with the memory of three others and without."""
    if not clips:
        return float("nan"), float("nan")
    truth = np.stack([clip.truth[-1] for clip in clips])
    seen = np.stack([clip.seen_last for clip in clips])
    found = []
    for name in ("peaks", "alone"):
        said = np.stack([clip.said[name][-1] for clip in clips])
        found.append(metrics.pck(metrics.normalised_errors(said, truth, seen), 0.1))
    return found[0], found[1]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
