# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Recall of people as robots meet them, by group (`robot_view_images.GROUPS`).

Run as ``python -m thfm_ros.evaluation.robot_views --data DIR``: people are those of the held-out
crops ``DIR/val``, places those of ``DIR/backgrounds.npy``, which training may have seen.
"""

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from thfm_ros.config import config_from
from thfm_ros.contract import Clip, Frame, PerceptionError, Task
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.evaluation.markdown_report import group_table, number, report_or_error
from thfm_ros.evaluation.matching import MIN_IOU, current_bodies, pair_by_iou
from thfm_ros.evaluation.robot_view_images import GROUPS, Composed, Group, compose
from thfm_ros.geometry import iou
from thfm_ros.loading import Pipeline, load_pipeline
from thfm_ros.perception.frame_window import FrameWindow
from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.people_sources import PeopleSource
from thfm_ros.training.shard_store import Store

SECTION = "robot views"


class GroupResult(NamedTuple):
    """Counts of one group."""

    people: int
    found: int
    by_the_mean_box: int  # found by the group's mean box
    false_positives: int
    images: int


def measure(pipeline: Pipeline, images: Sequence[Composed]) -> GroupResult:
    """Run the pipeline on each image by itself."""
    boxes = [box for image in images for box in image.people]
    mean = np.mean(boxes, axis=0) if boxes else np.zeros(4)
    found = false_positives = 0
    window = FrameWindow(pipeline.config.window)
    for number_of, image in enumerate(images):
        window.reset("another image")
        clip = window.push(Frame(image.rgb, number_of * 3_600_000_000_000, "camera", None))
        assert isinstance(clip, Clip)  # stamps rise
        perception = pipeline.step(clip, frozenset({Task.BODIES}))
        detected = {i: body.box for i, body in enumerate(current_bodies(perception))}
        matched = pair_by_iou(dict(enumerate(image.people)), detected, MIN_IOU)
        found += len(matched)
        false_positives += len(detected) - len(matched)
    by_mean = sum(iou(mean, box) >= MIN_IOU for box in boxes)
    return GroupResult(len(boxes), found, by_mean, false_positives, len(images))


def rows_of(results: Iterator[tuple[Group, GroupResult]]) -> list[list[str]]:
    """A row of the table for each group."""
    rows = []
    for group, result in results:
        people = max(result.people, 1)
        recall = number(result.found / people if result.people else float("nan"), 3)
        baseline = number(result.by_the_mean_box / people if result.people else float("nan"), 3)
        false = number(result.false_positives / max(result.images, 1), 3)
        rows.append([group.title, str(result.people), f"{recall} ({baseline})", false])
    return rows


def main() -> int:
    """Print the table, or write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="with val/ and backgrounds.npy")
    parser.add_argument("--images", type=int, default=60, help="of each group")
    parser.add_argument("--checkpoint", default="nano", help="'nano' (shipped) or a file")
    parser.add_argument("--page", type=Path, help="write the table between its markers")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    def measure_groups() -> str:
        try:
            source = PeopleSource(Store(args.data / "val"))
            backgrounds = Backgrounds(args.data / "backgrounds.npy")
        except OSError as error:
            raise PerceptionError(str(error)) from error
        pipeline = load_pipeline(config_from({"engine.checkpoint": args.checkpoint}))
        results = (
            (group, measure(pipeline, _images(group, source, backgrounds, args.images)))
            for group in GROUPS
        )
        columns = ["people", "number", "recall (the group's mean box)", "false positives per image"]
        sha256 = find_checkpoint(args.checkpoint).sha256()
        text = f"Checkpoint SHA-256 {sha256[:16]}..., {args.images} images of each group.\n\n"
        return text + group_table(columns, rows_of(results))

    return report_or_error(args.page, SECTION, measure_groups)


def _images(
    group: Group, source: PeopleSource, backgrounds: Backgrounds, count: int
) -> list[Composed]:
    """The same images in every run."""
    rng = np.random.default_rng([20261201, GROUPS.index(group)])
    return [compose(group, source, backgrounds, rng) for _ in range(count)]


if __name__ == "__main__":
    raise SystemExit(main())
