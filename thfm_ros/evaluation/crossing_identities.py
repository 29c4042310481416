# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Ids of rendered people who pass before one another: how many keep theirs.

    python -m thfm_ros.synth.crossings --pack pack.npz --out DIR      # renders the films
    python -m thfm_ros.evaluation.crossing_identities DIR --first 16

prints the table of all films from number 16 on; `--page` writes it into a page. Every frame counts,
and people of whom less than a quarter is visible are ignored.
"""

import argparse
import logging
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int

from thfm_ros.config import config_from
from thfm_ros.contract import PerceptionError, Task
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.evaluation.film_identities import TrackedFilm, tracked_film
from thfm_ros.evaluation.identity_metrics import (
    IdentityFrame,
    IdentityScores,
    Outcome,
    identity_scores,
    matched_frame,
)
from thfm_ros.evaluation.markdown_report import group_table, number, report_or_error
from thfm_ros.evaluation.matching import GroundTruthPerson
from thfm_ros.loading import Pipeline, load_pipeline
from thfm_ros.offline.sources import open_source

SECTION = "crossings"
RENDER = "python -m thfm_ros.synth.crossings --pack PACK --out DIR"
LEAST_VISIBLE = 0.25
"""Of the pixels that the person has in the median frame; with fewer they are ignored."""
_COLUMNS = (
    "tracker", "IDF1", "IDF1 of detected", "recall", "precision", "identity switches",
    "false returns", "ids / people",
)  # fmt: skip


@dataclass(frozen=True)
class Crossing:
    """One film, and the people in each of its frames."""

    path: Path
    people: tuple[tuple[GroundTruthPerson, ...], ...]


def crossings(folder: Path, first: int, end: int) -> list[Crossing]:
    """The films from number ``first`` up to, but without, ``end``.

    Raises:
        PerceptionError: there is none, or one cannot be read.
    """
    paths = sorted(folder.glob("crossing_*.npz"))
    chosen = [path for path in paths if first <= int(path.stem.split("_")[1]) < end]
    if not chosen:
        raise PerceptionError(
            f"There is no crossing_NN.npz from {first} to {end - 1} in {folder}. Render: {RENDER}"
        )
    return [_crossing(path) for path in chosen]


def _crossing(path: Path) -> Crossing:
    try:
        with np.load(path) as arrays:
            boxes, visible = arrays["boxes"], arrays["visible_px"]
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise PerceptionError(f"{path} cannot be read ({error}). Render it: {RENDER}") from error
    return Crossing(path.with_suffix(".mp4"), annotated(boxes, visible))


def annotated(
    boxes: Float64[np.ndarray, "t p 4"], visible_px: Int[np.ndarray, "t p"]
) -> tuple[tuple[GroundTruthPerson, ...], ...]:
    """The people of each frame; those who are not visible at all are left out."""
    least = LEAST_VISIBLE * np.median(visible_px, axis=0)
    none = np.zeros((0, 2)), np.zeros(0, bool)
    return tuple(
        tuple(
            GroundTruthPerson(index, box, float(count), *none, bool(count < least[index]))
            for index, (box, count) in enumerate(zip(*frame, strict=True))
            if count
        )
        for frame in zip(boxes, visible_px, strict=True)
    )


def scores_of(films: Sequence[TrackedFilm], scenes: Sequence[Crossing]) -> IdentityScores:
    """The metrics of all films together; no person and no id is in two of them."""
    return identity_scores(list(_frames(films, scenes)))


def _frames(films: Sequence[TrackedFilm], scenes: Sequence[Crossing]) -> Iterator[IdentityFrame]:
    for index, (film, scene) in enumerate(zip(films, scenes, strict=True)):
        for number_, (boxes, people) in enumerate(zip(film.frames, scene.people, strict=True)):
            frame = matched_frame(number_, people, boxes)
            yield IdentityFrame(
                number_,
                frozenset(1000 * index + each for each in frame.people),
                frozenset(f"{index} {each}" for each in frame.tracks),
                {1000 * index + key: f"{index} {value}" for key, value in frame.pairs.items()},
            )


def tracked_crossings(
    pipeline: Pipeline, scenes: Sequence[Crossing], tasks: frozenset[Task]
) -> list[TrackedFilm]:
    """The tracks of each film; nothing is remembered from one to the next."""
    films = []
    for scene in scenes:
        pipeline.reset()
        films.append(tracked_film(pipeline, open_source(scene.path), tasks))
    return films


def report(trackers: dict[str, list[TrackedFilm]], scenes: Sequence[Crossing]) -> str:
    """The table of all trackers, as Markdown."""
    rows = []
    for name, films in trackers.items():
        scores = scores_of(films, scenes)
        ratios = scores.idf1, scores.idf1_detected, scores.recall, scores.precision
        false = scores.count(Outcome.FALSE_RETURN, Outcome.FALSE_ARRIVAL)
        ids = sum(len(film.ids) for film in films)
        people = len({(i, p.track_id) for i, s in enumerate(scenes) for f in s.people for p in f})
        cells = [number(each, 3) for each in ratios]
        rows.append([name, *cells, str(scores.switches), str(false), f"{ids} / {people}"])
    return group_table(_COLUMNS, rows)


def measured(scenes: Sequence[Crossing]) -> str:
    """Run all trackers; returns the report."""
    pipeline = load_pipeline(config_from({"track.seed": 1}))
    never = config_from({"track.remember_for_s": 0.0}, pipeline.config)
    tasks = frozenset(pipeline.engine.card.tasks)
    default = tracked_crossings(pipeline, scenes, tasks)
    trackers = {
        "default": default,
        "`track.remember_for_s: 0`": tracked_crossings(pipeline.with_config(never), scenes, tasks),
        "only bodies asked for": tracked_crossings(
            pipeline.with_config(pipeline.config), scenes, frozenset({Task.BODIES})
        ),
        "IoU alone": [film.linked_by_iou() for film in default],
    }
    frames = sum(len(film.frames) for film in default)
    return f"{len(scenes)} films, {frames} frames.\n\n{report(trackers, scenes)}"


def main() -> int:
    """Print the table, or write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("films", type=Path, help="folder of the films")
    parser.add_argument("--first", type=int, default=0, help="number of the first film")
    parser.add_argument("--end", type=int, default=1000, help="number after the last film")
    parser.add_argument("--page", type=Path, help="write the table between its markers")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    def measure() -> str:
        scenes = crossings(args.films, args.first, args.end)
        sha256 = find_checkpoint(config_from({}).engine.checkpoint).sha256()
        return f"Checkpoint SHA-256 {sha256[:16]}... {measured(scenes)}"

    return report_or_error(args.page, SECTION, measure)


if __name__ == "__main__":
    raise SystemExit(main())
