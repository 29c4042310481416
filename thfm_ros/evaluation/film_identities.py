# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Ids of real people on an annotated film: with re-identification, without it, and by IoU alone.

    python -m thfm_ros.evaluation.film_identities

runs the pipeline on the shipped street clip, as `thfm perceive` does, and prints the tables.
`--film vtest.avi` measures the whole film that the clip is cut from (clips/README.md says where it
is from); its people are annotated by hand in every tenth frame, in clips/street_people.csv.
"""

import argparse
import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

import thfm_ros
from thfm_ros.config import config_from
from thfm_ros.contract import Perception, PerceptionError, Task, TrackState
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.evaluation.identity_causes import cause_table
from thfm_ros.evaluation.identity_metrics import (
    IdentityEvent,
    IdentityScores,
    Outcome,
    identity_scores,
    linked_by_iou,
    matched_frame,
)
from thfm_ros.evaluation.markdown_report import group_table, number, report_or_error
from thfm_ros.evaluation.matching import GroundTruthPerson
from thfm_ros.geometry import area
from thfm_ros.loading import Pipeline, load_pipeline
from thfm_ros.media.video import VideoFrame
from thfm_ros.offline.perceive import perceive
from thfm_ros.offline.sources import FocalLength, FrameSource, open_source

CLIPS = Path(thfm_ros.__file__).resolve().parent / "clips"
ANNOTATIONS, CLIP = CLIPS / "street_people.csv", CLIPS / "street.mp4"
CLIP_BEGIN = 500
"""Number of the clip's first frame in the film."""
SIZE = (768, 576)
"""Width and height of the annotated film, pixels."""
_COLUMNS = ("frame", "person", "x_min", "y_min", "x_max", "y_max", "ignored")
_HFOV_DEG = 60.0  # assumed; ids do not depend on it
_NAMES = "default", "`track.remember_for_s: 0`", "only bodies asked for", "IoU alone"

Boxes = Mapping[str, Float[np.ndarray, "4"]]
"""By track id, pixels."""


def read_annotations(path: Path = ANNOTATIONS) -> dict[int, list[GroundTruthPerson]]:
    """The people of each annotated frame, by its number; they have no keypoints.

    Raises:
        PerceptionError: the file cannot be read, or has other columns.
    """
    people: dict[int, list[GroundTruthPerson]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) != _COLUMNS:
                raise PerceptionError(f"{path} must have the columns {', '.join(_COLUMNS)}.")
            for row in rows:
                frame, person, *corners, ignored = (int(row[name]) for name in _COLUMNS)
                box = np.array(corners, float)
                none = np.zeros((0, 2)), np.zeros(0, bool)
                found = GroundTruthPerson(person, box, float(area(box)), *none, bool(ignored))
                people.setdefault(frame, []).append(found)
    except (OSError, ValueError, TypeError) as error:
        raise PerceptionError(f"{path} cannot be read as annotations: {error}") from error
    return people


@dataclass(frozen=True)
class TrackedFilm:
    """Boxes of the confirmed tracks that are detected, frame by frame."""

    frames: Sequence[Boxes]
    minutes: float

    @property
    def ids(self) -> set[str]:
        """All ids."""
        return {track_id for frame in self.frames for track_id in frame}

    def scores(
        self, people: Mapping[int, Sequence[GroundTruthPerson]], begin: int
    ) -> IdentityScores:
        """The metrics; ``people`` by frame, of which ``begin`` is the first one of the film."""
        annotated = [each for each in sorted(people) if begin <= each < begin + len(self.frames)]
        return identity_scores(
            [matched_frame(each, people[each], self.frames[each - begin]) for each in annotated]
        )

    def linked_by_iou(self) -> "TrackedFilm":
        """The same boxes with ids by IoU alone."""
        boxes = [list(frame.values()) for frame in self.frames]
        return TrackedFilm(linked_by_iou(boxes), self.minutes)


def tracked_film(pipeline: Pipeline, film: FrameSource, tasks: frozenset[Task]) -> TrackedFilm:
    """Run the pipeline on all frames of a film."""
    frames: list[Boxes] = []

    def observe(image: VideoFrame, perception: Perception) -> None:
        frames.extend({} for _ in range(image.index - len(frames)))  # frames left out
        tracked = (each for each in perception.bodies if each.state is TrackState.TRACKED)
        frames.append({each.id: each.box.astype(float) for each in tracked})

    perceive(pipeline, film, (), tasks, focal_length=FocalLength(_HFOV_DEG), observe=observe)
    return TrackedFilm(frames, len(frames) / film.fps / 60)


def all_trackers(film: FrameSource, settings: Mapping[str, object]) -> dict[str, TrackedFilm]:
    """The film by all trackers of the tables, by name."""
    pipeline = load_pipeline(config_from({"track.seed": 1, **settings}))
    never = config_from({"track.remember_for_s": 0.0}, pipeline.config)
    tasks = frozenset(pipeline.engine.card.tasks)
    default = tracked_film(pipeline, film, tasks)
    others = (
        tracked_film(pipeline.with_config(never), film, tasks),
        tracked_film(pipeline.with_config(pipeline.config), film, frozenset({Task.BODIES})),
        default.linked_by_iou(),
    )
    return dict(zip(_NAMES, (default, *others), strict=True))


def report(
    films: Mapping[str, TrackedFilm],
    people: Mapping[int, Sequence[GroundTruthPerson]],
    begin: int,
) -> str:
    """The tables of all trackers, and the default's events, as Markdown."""
    scores = {name: film.scores(people, begin) for name, film in films.items()}
    quality = [
        [name, *(number(value, 3) for value in _ratios(each)),
         str(each.switches), str(each.fragmentations)]
        for name, each in scores.items()
    ]  # fmt: skip
    returns = [
        [name, *_outcomes(each), str(len(films[name].ids)),
         number(len(films[name].ids) / films[name].minutes, 1)]
        for name, each in scores.items()
    ]  # fmt: skip
    ratios = ["tracker", "IDF1", "IDP", "IDR", "IDF1 of detected", "recall", "precision"]
    outcomes = ["tracker", "back after absence", "back after a miss", "first arrivals, false"]
    lines = [_line(each) for each in next(iter(scores.values())).events]
    return "\n\n".join(
        [
            _extent(films, people, begin),
            group_table([*ratios, "identity switches", "fragmentations"], quality),
            group_table([*outcomes, "ids", "ids per minute"], returns),
            "Wrong ids of the first row, by what happened since the person was last matched:",
            cause_table(next(iter(scores.values())).events, people),
            "All of them:",
            "\n".join(each for each in lines if each),
        ]
    )


def _extent(
    films: Mapping[str, TrackedFilm],
    people: Mapping[int, Sequence[GroundTruthPerson]],
    begin: int,
) -> str:
    first = next(iter(films.values()))
    seen = [people[each] for each in people if begin <= each < begin + len(first.frames)]
    targets = [each.track_id for frame in seen for each in frame if not each.ignore]
    return (
        f"{len(first.frames)} frames, {first.minutes * 60:.1f} s; {len(seen)} of them annotated, "
        f"with {len(set(targets))} people in {len(targets)} boxes."
    )


def _ratios(scores: IdentityScores) -> tuple[float, ...]:
    return (
        scores.idf1,
        scores.idp,
        scores.idr,
        scores.idf1_detected,
        scores.recall,
        scores.precision,
    )


def _outcomes(scores: IdentityScores) -> list[str]:
    """Correct / refused / false returns after absence and after misses; false first arrivals."""
    outcomes = (Outcome.CORRECT, Outcome.REFUSED, Outcome.FALSE_RETURN)
    returns = [
        " / ".join(str(scores.count(each, in_view=in_view)) for each in outcomes)
        for in_view in (False, True)
    ]
    return [*returns, str(scores.count(Outcome.FALSE_ARRIVAL))]


def _line(event: IdentityEvent) -> str:
    """A line on what went wrong; empty: nothing did."""
    if event.outcome in (Outcome.NEW, Outcome.CORRECT):
        return ""
    where = "" if event.before is None else f", {event.before} before"
    missed = ", after a miss" if event.in_view else ""
    text = f"person {event.person} {event.outcome.value}{missed} ({event.track_id}{where})"
    return f"* frame {event.frame}: {text}"


def _checked_film(path: Path, begin: int, people: Mapping[int, object]) -> FrameSource:
    """The film, if the annotations can be of it.

    Raises:
        PerceptionError: it has another size, or none of its frames is annotated.
    """
    film = open_source(path)
    size = film.width, film.height
    if size != SIZE:
        raise PerceptionError(
            f"{path} has {size[0]}x{size[1]} pixels, but the annotated film {SIZE[0]}x{SIZE[1]}: "
            "give --film vtest.avi of OpenCV's samples, or nothing."
        )
    if not any(begin <= each < begin + film.length for each in people):
        raise PerceptionError(f"No frame from {begin} on is annotated in {ANNOTATIONS}.")
    return film


def main() -> int:
    """Print the tables, or write them into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--film", type=Path, help="all of vtest.avi; default: the shipped clip")
    parser.add_argument("--max-people", type=int, help="regions.max_people")
    parser.add_argument("--page", type=Path, help="write the tables between its markers")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    section = "clip" if args.film is None else "film"
    settings = {} if args.max_people is None else {"regions.max_people": args.max_people}
    begin = CLIP_BEGIN if args.film is None else 0

    def measure() -> str:
        people = read_annotations()
        film = _checked_film(args.film or CLIP, begin, people)
        sha256 = find_checkpoint(config_from({}).engine.checkpoint).sha256()
        tables = report(all_trackers(film, settings), people, begin)
        return f"Checkpoint SHA-256 {sha256[:16]}... {tables}"

    return report_or_error(args.page, section, measure)


if __name__ == "__main__":
    raise SystemExit(main())
