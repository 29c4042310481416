# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The stream of batches: each depends only on seed, step and process, so that runs can resume."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from thfm_ros.model.crop_shapes import tall_crop_size
from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.augmentation.geometric import CropStyle
from thfm_ros.training.collate import (
    Batch,
    CropBatch,
    collate_crops,
    collate_detections,
    collate_photo_crops,
)
from thfm_ros.training.crop_samples import CropSample, crop_sample, plain_sample
from thfm_ros.training.detection_samples import (
    DetectionSample,
    composed_detection,
    rendered_detection,
)
from thfm_ros.training.distributed import rank
from thfm_ros.training.frame_samples import frame_sample, rendered_sample
from thfm_ros.training.negative_crops import NegativeCrops
from thfm_ros.training.people_sources import PHOTO_CUTOUTS, PeopleSource
from thfm_ros.training.recipe import TrainingRecipe, TrainingStage
from thfm_ros.training.shard_store import FrameRef, Store
from thfm_ros.training.tall_crops import tall_photo, tall_sample
from thfm_ros.training.unlabelled_photos import PhotoCrop, UnlabelledPhotos

RENDERED_SHARE = 0.5
"""Share of whole frames, and of images for detection, that were rendered; others are composed."""

PHOTO_PERSON_SHARE = 0.35
"""Share of the people in composed images who were cut out of photographs, if there are any."""

NEGATIVE_SHARE = 0.15
"""Share of the single-frame crops without a person, if there are rendered whole frames."""

KIND_SEED = 99
"""Of the choice between crops and detection, in the place of a process' number."""

CLIP_FRAMES = 4
REFRESH_STEPS = 400
"""Steps between searches for new shards."""


@dataclass(frozen=True)
class TrainingData:
    """The data folder of a run, opened."""

    crops: Store  # train/
    frames: Store | None  # frames/: rendered whole frames
    large_frames: Store | None  # frames320/: larger ones for detection; by default ``frames``
    negatives: NegativeCrops | None  # of ``frames``, and hard_negatives.npy
    backgrounds: Backgrounds  # backgrounds.npy
    photos: UnlabelledPhotos | None  # unlabelled/: photographs with pseudo-labels
    people: PeopleSource  # of ``crops``, and unlabelled/people/: cut out of photographs

    @classmethod
    def open(cls, folder: Path) -> "TrainingData":
        """Open a folder; only train/ and backgrounds.npy must be there."""
        frames = _open_if_there(folder / "frames")
        backgrounds = Backgrounds(folder / "backgrounds.npy")
        mined = folder / "hard_negatives.npy"
        unlabelled = folder / "unlabelled"
        negatives = None
        if frames is not None:
            negatives = NegativeCrops(frames, backgrounds, mined if mined.exists() else None)
        crops, cutouts = Store(folder / "train"), unlabelled / PHOTO_CUTOUTS
        has_cutouts = cutouts.exists()
        return cls(
            crops=crops,
            frames=frames,
            large_frames=_open_if_there(folder / "frames320") or frames,
            negatives=negatives,
            backgrounds=backgrounds,
            photos=UnlabelledPhotos(unlabelled) if unlabelled.exists() else None,
            people=PeopleSource(crops, cutouts if has_cutouts else None, PHOTO_PERSON_SHARE),
        )

    def refresh(self) -> None:
        """Add shards that have appeared since."""
        for store in (self.crops, self.frames, self.large_frames):
            if store is not None:
                store.refresh()

    def draw_detections(
        self, rng: np.random.Generator, stage: TrainingStage
    ) -> list[DetectionSample]:
        """The samples of one step of detection."""
        return [self._draw_detection(rng, stage) for _ in range(stage.detect_batch)]

    def _draw_detection(self, rng: np.random.Generator, stage: TrainingStage) -> DetectionSample:
        share = stage.unlabelled_share
        if self.photos is not None and share and rng.random() < share:
            return self.photos.draw(rng, stage.detect_size)
        if self.large_frames is not None and rng.random() < RENDERED_SHARE:
            return rendered_detection(self.large_frames, rng, stage.detect_size)
        return composed_detection(self.people, self.backgrounds, rng, stage.detect_size)

    def draw_crops(self, rng: np.random.Generator, stage: TrainingStage) -> list[CropSample]:
        """The samples of one other step: whole frames, single-frame crops, or crops of clips."""
        if rng.random() < stage.frame_share:
            return self._draw_frames(rng, stage)
        tall = _tall_or_square(rng, stage)
        size = stage.size if tall is None else tall[1]
        style = CropStyle(
            size=size,
            augmentation_ramp=stage.augmentation_ramp,
            clean_share=stage.clean_share,
        )
        samples = [
            self.negatives.draw(rng, size)
            if self.negatives is not None and len(clip) == 1 and rng.random() < NEGATIVE_SHARE
            else crop_sample(self.crops, clip, self.backgrounds, rng, style)
            for clip in self._draw_clips(rng, stage)
        ]
        return samples if tall is None else [tall_sample(each, tall[0]) for each in samples]

    def _draw_frames(self, rng: np.random.Generator, stage: TrainingStage) -> list[CropSample]:
        count = max(1, stage.batch // 2)  # a whole frame has about twice the pixels of a crop
        return [
            rendered_sample(self.frames, rng, stage.frame_size)
            if self.frames is not None and rng.random() < RENDERED_SHARE
            else frame_sample(self.crops, self.backgrounds, rng, stage.frame_size)
            for _ in range(count)
        ]

    def _draw_clips(self, rng: np.random.Generator, stage: TrainingStage) -> list[list[FrameRef]]:
        """Frames of each sample; clips run forwards, backwards, or show one frame all the time."""
        if rng.random() >= stage.clip_share:
            return [[self.crops.pick(rng)] for _ in range(stage.batch)]
        count = max(1, stage.batch // CLIP_FRAMES)
        clips = [self.crops.pick_clip(rng, CLIP_FRAMES) for _ in range(count)]
        clips = [clip[::-1] if rng.random() < 0.5 else clip for clip in clips]
        static = stage.static_clip_share
        return [clip[:1] * len(clip) if rng.random() < static else clip for clip in clips]


def draw_photo_crops(
    photos: UnlabelledPhotos, rng: np.random.Generator, stage: TrainingStage
) -> list[PhotoCrop]:
    """The crops of photographs of one step, all square or all tall."""
    tall = _tall_or_square(rng, stage)
    size = stage.size if tall is None else tall[1]
    crops = [photos.draw_crop(rng, size) for _ in range(stage.batch)]
    return crops if tall is None else [tall_photo(each, tall[0]) for each in crops]


def _tall_or_square(rng: np.random.Generator, stage: TrainingStage) -> tuple[int, int] | None:
    """The size of tall crops for a share of the steps, None for the others."""
    if not stage.tall_share or rng.random() >= stage.tall_share:
        return None  # without tall crops no number is drawn: earlier recipes see what they saw
    return tall_crop_size((stage.size, stage.size))


def _open_if_there(folder: Path) -> Store | None:
    return Store(folder) if folder.exists() else None


class Batches(IterableDataset[Batch]):
    """The batches of one run from a step on."""

    def __init__(self, folder: Path, recipe: TrainingRecipe, first_step: int) -> None:
        self._folder, self._recipe, self._first_step = folder, recipe, first_step
        self._rank = rank()  # of the training process; a loading process has none

    def __iter__(self) -> Iterator[Batch]:
        cv2.setNumThreads(1)
        if get_worker_info() is not None:  # the training process saves and ends this one
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        data = TrainingData.open(self._folder)
        for step in range(self._first_step, self._recipe.steps):
            if step % REFRESH_STEPS == 0:
                data.refresh()
            stage, _ = self._recipe.stage_at(step)
            rng = np.random.default_rng([self._recipe.seed, step, self._rank])
            # All processes share their gradients, so their steps are of the same kind.
            kind = np.random.default_rng([self._recipe.seed, step, KIND_SEED])
            if kind.random() < stage.detect_share:
                yield collate_detections(data.draw_detections(rng, stage))
            elif data.photos is not None and kind.random() < stage.consistency_share:
                yield collate_photo_crops(draw_photo_crops(data.photos, rng, stage))
            else:
                yield collate_crops(data.draw_crops(rng, stage))


def stream(folder: Path, recipe: TrainingRecipe, first_step: int, workers: int) -> Iterator[Batch]:
    """Batches from ``first_step`` on.

    Args:
        folder: of the data; see `TrainingData`.
        recipe: of the run.
        first_step: of the recipe.
        workers: 0: made in this process; otherwise by one other process, ahead and in order.
    """
    batches = Batches(folder, recipe, first_step)
    if workers == 0:
        return iter(batches)
    # Not forked: OpenCV's threads would be copied while they hold their locks.
    return iter(
        DataLoader(
            batches,
            batch_size=None,
            num_workers=1,
            prefetch_factor=8,
            multiprocessing_context="spawn",
        )
    )


def held_out(folder: Path, size: int, count: int) -> list[CropBatch]:
    """At most ``count`` fixed crops of the shards in val/: first frames of clips, as rendered."""
    store = Store(folder / "val")
    rng = np.random.default_rng(0)
    picks = rng.permutation(len(store.clips))[:count]
    samples = [plain_sample(store, [store.clips[i][0]], size) for i in picks]
    return [collate_crops(samples[i : i + 16]) for i in range(0, len(samples), 16)]
