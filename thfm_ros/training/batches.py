"""The stream of batches: step s is made from (seed, s, process) alone, so a run can resume."""

import signal
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.augmentation.geometric import CropStyle
from thfm_ros.training.crop_samples import Sample, crop_sample, plain_sample
from thfm_ros.training.distributed import rank
from thfm_ros.training.frame_samples import frame_sample, rendered_sample
from thfm_ros.training.losses import Batch, to_batch
from thfm_ros.training.negative_crops import Nobody
from thfm_ros.training.recipe import Recipe, Stage
from thfm_ros.training.shard_store import Store

RENDERED = 0.5
"""Share of the whole frames that were rendered as such; the others are composed."""

BACKGROUND_ID = 0.1
"""Share of the still crops that show a place without people, where whole frames were rendered."""

REFRESH = 400  # steps between looks for new shards


class Batches(IterableDataset[Batch]):
    """Batches of one run from a step on."""

    def __init__(self, folder: Path, recipe: Recipe, first_step: int) -> None:
        self._folder, self._recipe, self._first = folder, recipe, first_step
        self._rank = rank()  # of the process that trains, not of the one that loads

    def __iter__(self) -> Iterator[Batch]:
        cv2.setNumThreads(1)
        if get_worker_info() is not None:  # these are for the process that trains, which saves
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        store, frames = Store(self._folder / "train"), _whole_frames(self._folder)
        backgrounds = Backgrounds(self._folder / "backgrounds.npy")
        mistakes = self._folder / "mistakes.npy"
        nobody = None
        if frames is not None:
            nobody = Nobody(frames, mistakes if mistakes.exists() else None)
        for step in range(self._first, self._recipe.steps):
            if step % REFRESH == 0:
                store.refresh()
                if frames is not None:
                    frames.refresh()
            place = self._recipe.stage_of(step)
            assert place is not None
            stage = self._recipe.stages[place[0]]
            rng = np.random.default_rng([self._recipe.seed, step, self._rank])
            yield to_batch(draw(store, frames, nobody, backgrounds, rng, stage))


def _whole_frames(folder: Path) -> Store | None:
    """Rendered whole frames, where there are any."""
    return Store(folder / "frames") if (folder / "frames").exists() else None


def draw(
    store: Store,
    frames: Store | None,
    nobody: Nobody | None,
    backgrounds: Backgrounds,
    rng: np.random.Generator,
    stage: Stage,
) -> list[Sample]:
    """The samples of one step: whole frames, still crops, or crops of a short clip."""
    if rng.random() < stage.frame_share:
        count = max(1, stage.batch // 2)  # a whole frame holds about twice a crop's pixels
        return [
            rendered_sample(frames, rng, stage.frame_size)
            if frames is not None and rng.random() < RENDERED
            else frame_sample(store, backgrounds, rng, stage.frame_size)
            for _ in range(count)
        ]
    style = CropStyle(size=stage.size, ease=stage.ease, calm=stage.calm)
    if rng.random() < stage.clip_share:
        clips = [store.pick_clip(rng, 4) for _ in range(max(1, stage.batch // 4))]
        clips = [clip[::-1] if rng.random() < 0.5 else clip for clip in clips]
        clips = [clip[:1] * len(clip) if rng.random() < stage.held else clip for clip in clips]
    else:
        clips = [[store.pick(rng)] for _ in range(stage.batch)]
    return [
        nobody.draw(rng, stage.size)
        if nobody is not None and len(clip) == 1 and rng.random() < BACKGROUND_ID
        else crop_sample(store, clip, backgrounds, rng, style)
        for clip in clips
    ]


def stream(folder: Path, recipe: Recipe, first_step: int, workers: int) -> Iterator[Batch]:
    """Batches made ahead by ``workers`` processes (0: in this one). One worker keeps the order."""
    batches = Batches(folder, recipe, first_step)
    if workers == 0:
        return iter(batches)
    # Not forked: OpenCV's threads would be copied holding their locks.
    return iter(
        DataLoader(
            batches,
            batch_size=None,
            num_workers=1,
            prefetch_factor=8,
            multiprocessing_context="spawn",
        )
    )


def held_out(folder: Path, size: int, count: int) -> list[Batch]:
    """Fixed, undisturbed crops of the validation shards: first frames of clips."""
    store = Store(folder / "val")
    rng = np.random.default_rng(0)
    picks = rng.permutation(len(store.clips))[:count]
    samples = [plain_sample(store, [store.clips[i][0]], size) for i in picks]
    return [to_batch(samples[i : i + 16]) for i in range(0, len(samples), 16)]
