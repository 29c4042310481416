# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Fit the weights with which the evidence for a person is joined (perception/confirmation.py).

Run as ``python -m thfm_ros.evaluation.confirmation_fit --frames data/frames-val --empty PHOTOS``.
The proposals of held-out rendered frames are people or not; those of photographs without people,
which the network was not trained on, are not. Logistic regression by Newton's method.
"""

import argparse
import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from tqdm import tqdm

from thfm_ros.config import Config, config_from
from thfm_ros.contract import Clip, Frame, PerceptionError
from thfm_ros.engine.base import Engine
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.engine.select import load_engine
from thfm_ros.evaluation.matching import is_large_enough
from thfm_ros.evaluation.synthetic_frames import frame_clips
from thfm_ros.geometry import iou
from thfm_ros.media.images import image_files, read_image
from thfm_ros.perception.confirmation import Evidence, evidence_for, log_odds, person_probability
from thfm_ros.perception.crop_stream import CropDetector, CropInputs
from thfm_ros.perception.person_search import PersonDetector
from thfm_ros.perception.proposal_selection import select_proposals
from thfm_ros.perception.stage_timer import StageTimer

logger = logging.getLogger(__name__)

MIN_IOU = 0.5
"""Between the box of a detection and that of a person whom it is meant to be."""

RIDGE = 0.5
"""Of the standardized weights: few examples decide nothing with certainty."""

LIMITS = (0.5, 0.6, 0.65, 0.7, 0.8, 0.9)


class Labelled(NamedTuple):
    """An image with the boxes of its people, and of people who are too small to count."""

    rgb: UInt8[np.ndarray, "h w 3"]
    people: list[Float[np.ndarray, "4"]]
    ignored: list[Float[np.ndarray, "4"]]


class Example(NamedTuple):
    """The evidence for one proposal."""

    image: int
    evidence: Evidence
    person: int  # index of the person, -1 for none


class Examples:
    """Runs detection pass and crops on single images, as the pipeline does at their first frame."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine, self._config = engine, config
        self._crops = CropDetector(engine, config)

    def of(self, number: int, image: Labelled) -> Iterator[Example]:
        """One example per proposal that a crop does not reject at once."""
        frame = Frame(image.rgb, 0, "", None)
        timer = StageTimer(("crop", "network", "decode"))
        search = PersonDetector(self._engine, self._config, live=False)
        found = search.detect(frame, timer, no_tracks=True, at_capacity=False)
        inputs = CropInputs(Clip((frame,), 0), True, timer)
        min_side_px = self._config.regions.min_person_px
        for proposal in select_proposals(found or [], [], min_side_px):
            if (crop := self._crops.detect_proposal(inputs, proposal)) is None:
                continue
            box = crop.detection.body.box
            overlaps = [iou(box, person) for person in image.people]
            person = int(np.argmax(overlaps)) if max(overlaps, default=0.0) >= MIN_IOU else -1
            if person < 0 and any(iou(box, each) >= MIN_IOU for each in image.ignored):
                continue
            yield Example(number, evidence_for(proposal, crop.detection), person)


def rendered_images(folder: Path, most: int) -> Iterator[Labelled]:
    """The first frames of held-out clips."""
    for clip in islice(frame_clips(folder, "val"), most):
        boxes = [person.box for person in clip[0].people()]
        large = [is_large_enough(box) for box in boxes]
        yield Labelled(
            np.ascontiguousarray(clip[0].rgb),
            [box for box, ok in zip(boxes, large, strict=True) if ok],
            [box for box, ok in zip(boxes, large, strict=True) if not ok],
        )


def fit(
    features: Float[np.ndarray, "n f"], labels: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " f"], float]:
    """Weights and bias of a logistic regression with a ridge on the standardized weights."""
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    x = np.column_stack([(features - mean) / deviation, np.ones(len(features))])
    weights = np.zeros(x.shape[1])
    ridge = RIDGE * np.eye(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ weights))
        curvature = (x.T * (p * (1 - p))) @ x + ridge
        weights -= np.linalg.solve(curvature, x.T @ (p - labels) + ridge @ weights)
    scaled = weights[:-1] / deviation
    return scaled, float(weights[-1] - scaled @ mean)


def table(examples: list[Example], people: int, empty: range) -> list[str]:
    """Rows: limit, recall and precision of rendered people, false positives per empty image."""
    rows = ["| limit | recall | precision | per image without people |", "|---|---|---|---|"]
    for limit in LIMITS:
        accepted = [e for e in examples if person_probability(e.evidence) >= limit]
        found = {(e.image, e.person) for e in accepted if e.person >= 0}
        false = [e for e in accepted if e.person < 0]
        in_empty = sum(e.image in empty for e in false)
        counted = len(found) + len(false) - in_empty
        rows.append(
            f"| {limit} | {len(found) / max(people, 1):.3f} "
            f"| {len(found) / max(counted, 1):.3f} | {in_empty / max(len(empty), 1):.3f} |"
        )
    return rows


def main() -> int:
    """Print the fitted weights, and what the weights in use give."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=Path, required=True, help="shards of whole frames")
    parser.add_argument("--empty", type=Path, required=True, help="photographs without people")
    parser.add_argument("--checkpoint", default="nano", help="'nano' (shipped) or a file")
    parser.add_argument("--max-clips", type=int, default=200, help="default: %(default)s")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = config_from({"engine.checkpoint": args.checkpoint})
    examples: list[Example] = []
    try:
        source = Examples(load_engine(find_checkpoint(args.checkpoint), config.engine), config)
        images = list(rendered_images(args.frames, args.max_clips))
        rendered = len(images)
        images += [Labelled(read_image(path), [], []) for path in image_files(args.empty)]
        for number, image in enumerate(tqdm(images, unit="image")):
            examples += source.of(number, image)
    except PerceptionError as error:
        logger.error("%s", error)
        return 2
    features = np.array([log_odds(each.evidence) for each in examples])
    weights, bias = fit(features, np.array([each.person >= 0 for each in examples]))
    fitted = {name: round(float(w), 2) for name, w in zip(Evidence._fields, weights, strict=True)}
    logger.info("%d proposals. Fitted: %s, bias %.2f", len(examples), fitted, bias)
    people = sum(len(image.people) for image in images)
    logger.info("%s", "\n".join(table(examples, people, range(rendered, len(images)))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
