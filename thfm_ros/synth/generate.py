# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Render clips into shards: resumable, with one or several worker processes."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from thfm_ros import __version__
from thfm_ros.skeleton import JOINT_NAMES, PART_NAMES
from thfm_ros.synth.clip import CROP, FRAME, MAX_PEOPLE, ClipConfig, crop_clip, frame_clip
from thfm_ros.synth.dataset import FormatError, ShardError, read_about, read_shard, write_shard
from thfm_ros.synth.pack import load_pack
from thfm_ros.synth.rendering.render import Timings
from thfm_ros.synth.scene.asset_choices import STRIDING_SHARE, AssetChoices, choose_assets
from thfm_ros.synth.scene.stage import PersonGroup, random_person_group

logger = logging.getLogger(__name__)
MAX_ATTEMPTS = 20  # attempts at a clip in which a person is visible
VIEWS = {"crop": CROP, "frame": FRAME}
PEOPLE_COUNT_PROBABILITIES = {
    "crop": (0, 0.72, 0.2, 0.06, 0.02),
    "frame": (0.08, 0.36, 0.3, 0.16, 0.1),
}
"""Probability of 0, 1, .. MAX_PEOPLE people in a clip, per view."""


@dataclass(frozen=True)
class DatasetConfig:
    """All options that determine the pixels of a data set.

    Names follow the options of ``thfm synth render``; they are stored in each shard's header.
    """

    pack: str
    seed: int
    split: str  # train, val, all
    view: str  # crop, frame
    clips: int
    shard: int  # clips per shard
    frames: tuple[int, ...]  # frames per clip; lengths alternate
    size: int  # of a crop, pixels; a whole frame is 1.5 times as wide and 1.125 times as high
    samples: int = 2  # per pixel and axis
    flow: bool = False
    bones: bool = False
    artefacts: float = 0.5  # share of clips with artefacts of a bad camera
    clips_per_group: int = 7  # clips with the same group of people
    store: str = "small"  # see dataset.write_shard
    striding: float = STRIDING_SHARE  # share of the people who walk, run or lunge past the camera

    @property
    def image(self) -> tuple[int, int]:
        """Width and height of the images, pixels."""
        if self.view == "crop":
            return self.size, self.size
        return self.size * 3 // 2, self.size * 9 // 8

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.clips // self.shard)

    def path(self, folder: Path, number: int) -> Path:
        """Path of a shard in a folder."""
        return folder / f"{self.view}-{self.split}-{self.seed}-{number:05d}.npz"


def render_shard(config: DatasetConfig, choices: AssetChoices, folder: Path, number: int) -> int:
    """Render and write one shard; returns its number of frames."""
    first = number * config.shard
    clips = list(make_clips(config, choices, range(first, min(first + config.shard, config.clips))))
    arrays = {name: np.concatenate([clip[name] for clip in clips]) for name in clips[0]}
    about = {
        **{name: value for name, value in asdict(config).items() if name != "pack"},
        "generator": __version__,
        "number": number,
        "frames_total": len(arrays["rgb"]),
        "image": list(config.image),
        "joint_names": list(JOINT_NAMES),
        "part_names": list(PART_NAMES),
        "bone_names": [str(name) for name in choices.pack.body.bone_names] if config.bones else [],
        "assets": choices.pack.about,
    }
    write_shard(config.path(folder, number), arrays, about, store=config.store)
    return len(arrays["rgb"])


def make_clips(
    config: DatasetConfig, choices: AssetChoices, numbers: range
) -> Iterator[dict[str, np.ndarray]]:
    """Render the clips with these numbers; each depends on the seed and its number alone."""
    group: PersonGroup | None = None
    group_number = -1
    for number in numbers:
        if group is None or number // config.clips_per_group != group_number:
            group_number = number // config.clips_per_group
            group = make_person_group(config, choices, group_number)
        yield make_clip(config, choices, group, number)


def make_person_group(
    config: DatasetConfig, choices: AssetChoices, group_number: int, people: int | None = None
) -> PersonGroup:
    """Draw the people of a group of clips: a random number of them, or ``people``."""
    rng = np.random.default_rng((config.seed, VIEWS[config.view], 0, group_number))
    count = (
        int(rng.choice(MAX_PEOPLE + 1, p=PEOPLE_COUNT_PROBABILITIES[config.view]))
        if people is None
        else people
    )
    return random_person_group(rng, choices, count)


def make_clip(
    config: DatasetConfig,
    choices: AssetChoices,
    group: PersonGroup,
    number: int,
    timings: Timings | None = None,
) -> dict[str, np.ndarray]:
    """Render one clip of a group of people, redrawn until enough of a person is visible.

    Raises:
        ShardError: after MAX_ATTEMPTS without success.
    """
    view, frames = VIEWS[config.view], config.frames[number % len(config.frames)]
    clip_config = ClipConfig(
        view, config.image, frames, config.samples, config.flow, config.bones, config.artefacts
    )
    make = crop_clip if view == CROP else frame_clip
    for attempt in range(MAX_ATTEMPTS):
        rng = np.random.default_rng((config.seed, view, 1, number, attempt))
        clip = make(rng, choices, group, clip_config, timings)
        if clip is not None:
            clip["scene"] = np.full(frames, number // config.clips_per_group, np.int32)
            return clip
    raise ShardError(
        f"Clip {number}: no person is visible after {MAX_ATTEMPTS} attempts; use another --seed."
    )


def missing_shards(config: DatasetConfig, folder: Path) -> list[int]:
    """Numbers of the shards to be rendered: missing ones, damaged ones, which are deleted, and the
    last one of a data set that had fewer clips.

    Raises:
        ShardError: the folder holds shards of the same name with other options or another format.
    """
    out = []
    for number in range(config.shards):
        path = config.path(folder, number)
        if not path.exists():
            out.append(number)
            continue
        try:
            about = read_about(path)
            read_shard(path, names=())
        except FormatError as error:
            raise ShardError(f"{error} Choose another --out, or delete it.") from error
        except ShardError:
            logger.warning("%s is damaged and is rendered again", path)
            path.unlink()
            out.append(number)
            continue
        different = _differences(config, about)
        if different:
            raise ShardError(
                f"{path} was rendered with another {', '.join(different)}. "
                "Choose another --out or --seed, or delete it."
            )
        if _clip_count(about["clips"], about["shard"], number) < _clip_count(
            config.clips, config.shard, number
        ):
            logger.info("%s was rendered with fewer --clips and is rendered again", path)
            out.append(number)
    return out


def _clip_count(clips: int, shard: int, number: int) -> int:
    """Number of clips in a shard of a data set."""
    return min(clips - number * shard, shard)


def _differences(config: DatasetConfig, about: dict[str, Any]) -> list[str]:
    names = (
        "size", "samples", "flow", "bones", "artefacts", "clips_per_group", "shard", "frames",
        "striding",
    )  # fmt: skip
    expected = {name: value for name, value in asdict(config).items() if name in names}
    expected["frames"] = list(config.frames)
    if about.get("clips", 0) == about.get("shard") and about["shard"] <= config.shard:
        del expected["shard"]  # the only shard of a smaller data set, which it begins like this one
    return [name for name, value in expected.items() if about.get(name) != value]


def render_all(config: DatasetConfig, folder: Path, workers: int) -> Iterator[tuple[int, int]]:
    """Render every missing shard; yields (number, frames) as each is finished.

    Raises:
        PackError: the pack cannot be read.
        ShardError: the folder cannot be written, or holds shards with other options.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ShardError(
            f"{folder} cannot be created ({error.strerror}); choose another --out"
        ) from error
    numbers = missing_shards(config, folder)
    _load_state(config)  # in the parent too, so that a faulty pack is reported at once
    if workers <= 1:
        for number in numbers:
            yield number, _render_in_worker(folder, number)
        return
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, context, _start_worker, (config,)) as pool:
        jobs = {pool.submit(_render_in_worker, folder, number): number for number in numbers}
        try:
            for job in as_completed(jobs):
                yield jobs[job], job.result()
        except BaseException:
            # Otherwise each worker would finish its shard and the queued ones after it.
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_STATE: dict[str, Any] = {}


def _load_state(config: DatasetConfig) -> None:
    cv2.setNumThreads(1)
    _STATE["config"] = config
    _STATE["choices"] = choose_assets(load_pack(Path(config.pack)), config.split, config.striding)


def _start_worker(config: DatasetConfig) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    os.nice(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _load_state(config)


def _end_with_parent() -> None:
    """End this worker when its parent ends; otherwise it would wait for tasks for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _render_in_worker(folder: Path, number: int) -> int:
    return render_shard(_STATE["config"], _STATE["choices"], folder, number)
