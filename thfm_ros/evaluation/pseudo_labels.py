# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Pseudo-labels of photographs without labels, for self-training of the detection read-out.

Run as ``python -m thfm_ros.evaluation.pseudo_labels --photos DIR --checkpoint FILE``; it writes
``pseudo_labels.json`` into the folder (training/unlabelled_photos.py reads it). The teacher is the
network itself, in two stages: the detection read-out proposes, a crop of each proposal confirms or
rejects it, both in the image and in its mirror image (as in data distillation, Radosavovic et al.,
CVPR 2018). What is confirmed with certainty is a person, what is neither confirmed nor rejected is
ignored in training, the rest is background. No other network labels anything. In photographs that
are known to show no person (``--empty``), whatever the network takes for one is a hard negative.
``--again`` only looks anew at the boxes that an earlier run has written: better weights outline
the same people better, and confirm others, without the cost of proposing.
"""

import argparse
import json
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from tqdm import tqdm

from thfm_ros.config import config_from
from thfm_ros.contract import Clip, Frame, PerceptionError
from thfm_ros.engine.base import Engine
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.engine.select import load_engine
from thfm_ros.geometry import area, intersection_over_min_area, iou
from thfm_ros.media.errors import VideoError
from thfm_ros.media.images import is_image_name, read_image
from thfm_ros.perception.confirmation import evidence_for, person_probability
from thfm_ros.perception.crop_region import crop_image, frame_tiles, whole_frame
from thfm_ros.perception.crop_stream import CropDetector, CropInputs
from thfm_ros.perception.decoding import Proposal
from thfm_ros.perception.detection_decoding import find_proposals
from thfm_ros.perception.stage_timer import StageTimer
from thfm_ros.training.unlabelled_photos import LABELS

logger = logging.getLogger(__name__)

IGNORED_THRESHOLD = 0.02
"""Score of the detection read-out below which there is no proposal."""

CANDIDATE_THRESHOLD = 0.05
"""Score above which a proposal is looked at; those below it are faint."""

HARD_SCORE = 0.1
"""Score above which a proposal in an image without people is looked at."""

MAX_PROPOSALS = 20
"""Of one image; further ones are faint."""

CERTAIN = 0.65
"""Probability of a person (perception/confirmation.py) above which it is labelled."""

REJECTED = 0.15
"""Probability below which a proposal is background."""

NEUTRAL_SCORE = 0.5
"""Of a proposal whose score is not known: log-odds of zero."""

SAME_IOU = 0.5
"""Of two proposals for one person."""

PART_OVERLAP = 0.7
"""Of the smaller box: of two people who overlap more only the larger one is labelled."""


class PseudoLabels(NamedTuple):
    """Boxes of one image, x_min, y_min, x_max, y_max in pixels."""

    people: Float32[np.ndarray, "n 4"]
    ignored: Float32[np.ndarray, "m 4"]  # looked at in a crop, and neither confirmed nor rejected
    faint: Float32[np.ndarray, "k 4"]  # proposed with too low a score to look at them
    false_positives: Float32[np.ndarray, "f 4"]  # people where there are none


class _View(NamedTuple):
    """The image as it is, or mirrored."""

    frame: Frame
    mirrored: bool

    def box(self, box: Float32[np.ndarray, "4"]) -> Float32[np.ndarray, "4"]:
        """A box of the image in this view, or a box of this view in the image."""
        if not self.mirrored:
            return box
        width = self.frame.rgb.shape[1]
        return np.array([width - box[2], box[1], width - box[0], box[3]], np.float32)


class _Verified(NamedTuple):
    """What the crops of a proposal show."""

    box: Float32[np.ndarray, "4"] | None  # of the person; None: no crop shows one
    probability: float  # of a person, mean of the views that were looked at


def label_image(
    rgb: UInt8[np.ndarray, "h w 3"], engine: Engine, detector: CropDetector
) -> PseudoLabels:
    """Detect and verify the people of one image.

    Args:
        rgb: the image.
        engine: runs the network.
        detector: detects single persons in crops with the same engine.
    """
    views = _views(rgb)
    proposals = _proposals(views, engine)
    candidates = [each for each in proposals if each.score >= CANDIDATE_THRESHOLD][:MAX_PROPOSALS]
    people, ignored = _verified_boxes(candidates, views, detector)
    kept, inside = _distinct(people)
    faint = [each.box for each in proposals[len(candidates) :]]
    none = _stacked([])
    return PseudoLabels(_stacked(kept), _stacked(ignored + inside), _stacked(faint), none)


def label_again(
    rgb: UInt8[np.ndarray, "h w 3"], earlier: PseudoLabels, detector: CropDetector
) -> PseudoLabels:
    """Verify the boxes of an earlier run anew.

    The scores of their proposals are not stored: a neutral one leaves the decision to the crops.

    Args:
        rgb: the image.
        earlier: what was labelled in it before.
        detector: detects single persons in crops.
    """
    boxes = [*earlier.people, *earlier.ignored]
    proposals = [Proposal(np.asarray(box, np.float32), NEUTRAL_SCORE) for box in boxes]
    people, ignored = _verified_boxes(proposals, _views(rgb), detector)
    kept, inside = _distinct(people)
    return earlier._replace(people=_stacked(kept), ignored=_stacked(ignored + inside))


def label_empty_image(
    rgb: UInt8[np.ndarray, "h w 3"], engine: Engine, detector: CropDetector
) -> PseudoLabels:
    """What the network takes for people in an image without any; arguments as of `label_image`."""
    views = [_View(Frame(rgb, 0, "", None), False)]
    proposals = [each for each in _proposals(views, engine) if each.score >= HARD_SCORE]
    verified = [_verify(each, views, detector) for each in proposals[:MAX_PROPOSALS]]
    false = [each.box for each in verified if each.box is not None and each.probability >= REJECTED]
    none = _stacked([])
    return PseudoLabels(none, none, none, _stacked(false))


def _views(rgb: UInt8[np.ndarray, "h w 3"]) -> list[_View]:
    """The image, and its mirror image."""
    mirror = np.ascontiguousarray(rgb[:, ::-1])
    return [_View(Frame(rgb, 0, "", None), False), _View(Frame(mirror, 0, "", None), True)]


def _verified_boxes(
    proposals: list[Proposal], views: list[_View], detector: CropDetector
) -> tuple[list[Float32[np.ndarray, "4"]], list[Float32[np.ndarray, "4"]]]:
    """The boxes of certain people, as their crops show them, and of proposals in doubt."""
    people: list[Float32[np.ndarray, "4"]] = []
    ignored: list[Float32[np.ndarray, "4"]] = []
    for proposal in proposals:
        verified = _verify(proposal, views, detector)
        if verified.box is not None and verified.probability >= CERTAIN:
            people.append(verified.box)
        elif verified.probability >= REJECTED:
            ignored.append(proposal.box)
    return people, ignored


def _proposals(views: list[_View], engine: Engine) -> list[Proposal]:
    """Of both views, the whole image and its tiles: highest scores first, each place once."""
    height, width = views[0].frame.rgb.shape[:2]
    size = engine.card.frame_size
    regions = (whole_frame(width, height, size), *frame_tiles(width, height, size))
    found = [
        Proposal(view.box(each.box), each.score)
        for view in views
        for region in regions
        for each in find_proposals(
            engine.detect(crop_image(view.frame, region)),
            region,
            (width, height),
            IGNORED_THRESHOLD,
        )
    ]
    distinct: list[Proposal] = []
    for each in sorted(found, key=lambda proposal: -proposal.score):
        if all(iou(each.box, other.box) <= SAME_IOU for other in distinct):
            distinct.append(each)
    return distinct


def _verify(proposal: Proposal, views: list[_View], detector: CropDetector) -> _Verified:
    """Look at a crop of the proposal in the image and, if that can decide, in its mirror image."""
    box, total = None, 0.0
    for number, view in enumerate(views, start=1):
        inputs = CropInputs(Clip((view.frame,), 0), True, StageTimer(("crop", "network", "decode")))
        there = Proposal(view.box(proposal.box), proposal.score)
        found = detector.detect_proposal(inputs, there)
        if found is not None:
            total += person_probability(evidence_for(there, found.detection))
            box = view.box(found.detection.body.box) if box is None else box
        if total + len(views) - number < CERTAIN * len(views):
            return _Verified(box, total / number)
    return _Verified(box, total / len(views))


def _distinct(
    boxes: list[Float32[np.ndarray, "4"]],
) -> tuple[list[Float32[np.ndarray, "4"]], list[Float32[np.ndarray, "4"]]]:
    """The boxes of different people, and those that lie inside another: mostly its upper body, at
    times a child in front of an adult.
    """
    kept: list[Float32[np.ndarray, "4"]] = []
    inside: list[Float32[np.ndarray, "4"]] = []
    for box in sorted(boxes, key=lambda each: -area(each)):
        is_part = any(intersection_over_min_area(box, other) > PART_OVERLAP for other in kept)
        (inside if is_part else kept).append(box)
    return kept, inside


def _stacked(boxes: list[Float32[np.ndarray, "4"]]) -> Float32[np.ndarray, "n 4"]:
    return np.array(boxes, np.float32).reshape(-1, 4)


def main() -> int:
    """Label a folder of photographs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="folder of images")
    parser.add_argument("--checkpoint", default="nano", help="'nano' (shipped) or a file")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--empty", action="store_true", help="the images show no people")
    what.add_argument("--again", action="store_true", help="verify the boxes of an earlier run")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    written = args.photos / LABELS
    try:
        earlier = _read_labels(written) if args.again else None
        labels = _label_photos(args, earlier)
    except PerceptionError as error:
        logger.error("%s", error)
        return 2
    written.write_text(json.dumps(labels))
    totals = {key: sum(len(each[key]) for each in labels.values()) for key in PseudoLabels._fields}
    logger.info("%d images: %s", len(labels), totals)
    return 0


def _label_photos(
    args: argparse.Namespace, earlier: dict[str, PseudoLabels] | None
) -> dict[str, dict[str, list[list[float]]]]:
    """The labels of each image that can be read, as they are written."""
    config = config_from({"engine.checkpoint": args.checkpoint})
    engine = load_engine(find_checkpoint(args.checkpoint), config.engine)
    detector = CropDetector(engine, config)
    labels: dict[str, dict[str, list[list[float]]]] = {}
    for path in tqdm(_images_below(args.photos), unit="image"):
        name = path.relative_to(args.photos).as_posix()
        if earlier is not None and name not in earlier:
            continue
        try:
            rgb = read_image(path)
        except VideoError as error:
            logger.warning("%s is left out: %s", path, error)
            continue
        if earlier is not None:
            of_image = label_again(rgb, earlier[name], detector)
        elif args.empty:
            of_image = label_empty_image(rgb, engine, detector)
        else:
            of_image = label_image(rgb, engine, detector)
        labels[name] = {key: boxes.tolist() for key, boxes in of_image._asdict().items()}
    return labels


def _read_labels(path: Path) -> dict[str, PseudoLabels]:
    """Raises PerceptionError if there are none. Older files lack the newer kinds of boxes."""
    try:
        read = json.loads(path.read_text())
        return {
            name: PseudoLabels(*(_stacked(of_image.get(key, [])) for key in PseudoLabels._fields))
            for name, of_image in read.items()
        }
    except (OSError, ValueError, TypeError, AttributeError) as error:
        message = f"{path} cannot be read ({error!r}): first run this command without --again."
        raise PerceptionError(message) from error


def _images_below(folder: Path) -> list[Path]:
    """Raises PerceptionError if there is none."""
    files = sorted(path for path in folder.rglob("*") if is_image_name(path))
    if not files:
        raise PerceptionError(f"There is no image in {folder} or below.")
    return files


if __name__ == "__main__":
    raise SystemExit(main())
