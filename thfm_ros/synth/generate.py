"""Render many clips into shards: a plan that can be taken up again, worked off by processes."""

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
from thfm_ros.synth.clip import CROP, FRAME, PEOPLE, Recipe, crop_clip, frame_clip
from thfm_ros.synth.dataset import ShardError, read_about, read_shard, write_shard
from thfm_ros.synth.pack import load_pack
from thfm_ros.synth.rendering.render import Timings
from thfm_ros.synth.scene.asset_choices import STRIDING, Choices, choose
from thfm_ros.synth.scene.stage import Cast, random_cast

logger = logging.getLogger(__name__)
ATTEMPTS = 20  # how often a clip in which nobody can be seen is drawn anew
VIEWS = {"crop": CROP, "frame": FRAME}
CROWDS = {"crop": (0, 0.72, 0.2, 0.06, 0.02), "frame": (0.08, 0.36, 0.3, 0.16, 0.1)}
"""Probability of 0, 1, .. PEOPLE people in a clip."""


@dataclass(frozen=True)
class Order:
    """All that decides about the pixels of a data set."""

    pack: str
    seed: int
    split: str  # train, val, all
    view: str  # crop, frame
    clips: int
    shard: int  # clips per shard
    frames: tuple[int, ...]  # lengths of clips, in turn
    size: int  # of a crop; a whole frame is 1.5 times as wide and 1.125 times as high
    samples: int = 2
    flow: bool = False
    bones: bool = False
    artefacts: float = 0.5
    reuse: int = 7  # clips in which the same people act
    store: str = "small"  # see dataset.write_shard
    striding: float = STRIDING  # share of the people who walk, run or lunge past the camera

    @property
    def image(self) -> tuple[int, int]:
        """Width and height."""
        if self.view == "crop":
            return self.size, self.size
        return self.size * 3 // 2, self.size * 9 // 8

    @property
    def shards(self) -> int:
        """How many files there will be."""
        return -(-self.clips // self.shard)

    def path(self, folder: Path, number: int) -> Path:
        """Where a shard goes."""
        return folder / f"{self.view}-{self.split}-{self.seed}-{number:05d}.npz"


def render_shard(order: Order, choices: Choices, folder: Path, number: int) -> int:
    """Make one shard; returns its frames."""
    first = number * order.shard
    clips = list(make_clips(order, choices, range(first, min(first + order.shard, order.clips))))
    arrays = {name: np.concatenate([clip[name] for clip in clips]) for name in clips[0]}
    about = {
        **{name: value for name, value in asdict(order).items() if name != "pack"},
        "generator": __version__,
        "number": number,
        "frames_total": len(arrays["rgb"]),
        "image": list(order.image),
        "joint_names": list(JOINT_NAMES),
        "part_names": list(PART_NAMES),
        "bone_names": [str(name) for name in choices.pack.body.bone_names] if order.bones else [],
        "assets": choices.pack.about,
    }
    write_shard(order.path(folder, number), arrays, about, store=order.store)
    return len(arrays["rgb"])


def make_clips(order: Order, choices: Choices, numbers: range) -> Iterator[dict[str, np.ndarray]]:
    """The clips with these numbers; each depends on the seed and its number alone."""
    cast: Cast | None = None
    troupe = -1
    for number in numbers:
        if cast is None or number // order.reuse != troupe:
            troupe = number // order.reuse
            cast = make_cast(order, choices, troupe)
        yield make_clip(order, choices, cast, number)


def make_cast(order: Order, choices: Choices, troupe: int, people: int | None = None) -> Cast:
    """The people of a group of clips; as many as chance says, or ``people``."""
    rng = np.random.default_rng((order.seed, VIEWS[order.view], 0, troupe))
    count = int(rng.choice(PEOPLE + 1, p=CROWDS[order.view])) if people is None else people
    return random_cast(rng, choices, count)


def make_clip(
    order: Order,
    choices: Choices,
    cast: Cast,
    number: int,
    timings: Timings | None = None,
) -> dict[str, np.ndarray]:
    """One clip of a cast, drawn anew until somebody is to be seen in a crop.

    Raises:
        ShardError: after ATTEMPTS without success.
    """
    view, frames = VIEWS[order.view], order.frames[number % len(order.frames)]
    recipe = Recipe(
        view, order.image, frames, order.samples, order.flow, order.bones, order.artefacts
    )
    make = crop_clip if view == CROP else frame_clip
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng((order.seed, view, 1, number, attempt))
        clip = make(rng, choices, cast, recipe, timings)
        if clip is not None:
            clip["scene"] = np.full(frames, number // order.reuse, np.int32)
            return clip
    raise ShardError(f"clip {number} shows nobody after {ATTEMPTS} attempts; use another --seed")


def missing(order: Order, folder: Path) -> list[int]:
    """Numbers of the shards that are not there yet; damaged ones are deleted and count as such.

    Raises:
        ShardError: the folder holds shards of the same name made by another recipe.
    """
    out = []
    for number in range(order.shards):
        path = order.path(folder, number)
        if not path.exists():
            out.append(number)
            continue
        try:
            about = read_about(path)
            read_shard(path, names=())
        except ShardError:
            logger.warning("%s is damaged and is rendered again", path)
            path.unlink()
            out.append(number)
            continue
        different = _differences(order, about)
        if different:
            raise ShardError(
                f"{path} was made with another {', '.join(different)}. "
                "Take another --out or --seed, or delete it."
            )
    return out


def _differences(order: Order, about: dict[str, Any]) -> list[str]:
    names = (
        "size", "samples", "flow", "bones", "artefacts", "reuse", "shard", "frames", "striding",
    )  # fmt: skip
    wanted = {name: value for name, value in asdict(order).items() if name in names}
    wanted["frames"] = list(order.frames)
    return [name for name, value in wanted.items() if about.get(name) != value]


def render_all(order: Order, folder: Path, workers: int) -> Iterator[tuple[int, int]]:
    """Make every missing shard; yields (number, frames) as each is finished.

    Raises:
        PackError: the pack cannot be read.
        ShardError: the folder cannot be written, or holds shards of another recipe.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ShardError(
            f"{folder} cannot be made ({error.strerror}); choose another --out"
        ) from error
    todo = missing(order, folder)
    _prepare(order)  # here too when others work: what is wrong with the pack is told at once
    if workers <= 1:
        for number in todo:
            yield number, _work(folder, number)
        return
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, context, _prepare_worker, (order,)) as pool:
        jobs = {pool.submit(_work, folder, number): number for number in todo}
        try:
            for job in as_completed(jobs):
                yield jobs[job], job.result()
        except BaseException:
            # Else each worker would finish its shard, and the ones that are queued after it.
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_STATE: dict[str, Any] = {}


def _prepare(order: Order) -> None:
    cv2.setNumThreads(1)
    _STATE["order"] = order
    _STATE["choices"] = choose(load_pack(Path(order.pack)), order.split, order.striding)


def _prepare_worker(order: Order) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    os.nice(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _prepare(order)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for orders for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(folder: Path, number: int) -> int:
    return render_shard(_STATE["order"], _STATE["choices"], folder, number)
