# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Detections of one image matched to its ground truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float

from thfm_ros.contract import Body, Perception, TrackState
from thfm_ros.geometry import area, iou, longer_side
from thfm_ros.metrics.baselines import median_pose
from thfm_ros.metrics.oks import ImageSimilarities, box_similarity, keypoint_similarity
from thfm_ros.metrics.score import Score
from thfm_ros.skeleton import Joint

MIN_IOU = 0.5
"""A detection and a person whose boxes overlap at least so much are matched."""
MIN_PERSON_PX = 16.0
"""People whose longer side is shorter are ignored: the pipeline does not search for them by
default (regions.min_person_px)."""
COCO_KEYPOINTS = 17
ASSUMED_HEIGHT_M = 1.7
_MIN_DEPTH_PIXELS = 30

Name = TypeVar("Name", int, str)


@dataclass(frozen=True, slots=True)
class GroundTruthPerson:
    """An annotated person with ``k`` keypoints of skeleton.Joint."""

    track_id: int  # the same in all frames of a clip
    box: Float[np.ndarray, "4"]  # of the visible pixels, x_min, y_min, x_max, y_max, source pixels
    area: float  # of the visible pixels, square pixels
    keypoints: Float[np.ndarray, "k 2"]  # source pixels
    labelled: Bool[np.ndarray, " k"]  # which keypoints are annotated, and visible if that is known
    ignore: bool  # True: a detection of this person is neither right nor wrong
    root_m: Float[np.ndarray, "3"] | None = None  # the pelvis, optical frame
    focal_px: float = float("nan")

    def assumed_distance_m(self, box: Float[np.ndarray, "4"]) -> float:
        """Distance baseline: a person in ``box`` is 1.7 m long and fully in view."""
        return ASSUMED_HEIGHT_M * self.focal_px / max(longer_side(box), 1.0)


@dataclass(frozen=True, slots=True)
class DepthErrors:
    """Depth errors on the pixels of one person.

    "Aligned": after the scale factor that makes the person's median depth right; the baseline is
    a flat person at the median depth.
    """

    abs_rel: Score  # mean of |d - d*| / d*, aligned
    rmse_m: Score  # aligned
    within_125: Score  # fraction with max(d / d*, d* / d) < 1.25, aligned
    metric_abs_rel: Score  # not aligned; baseline: `GroundTruthPerson.assumed_distance_m`


class Match(NamedTuple):
    """Indices of one person and of the detection that is matched to it."""

    person: int
    detection: int


class BoxMatches(NamedTuple):
    """What `match_boxes` finds."""

    pairs: tuple[Match, ...]
    false_positives: tuple[int, ...]  # indices of detections


@dataclass(frozen=True, slots=True)
class ImageMatches:
    """All detections of one image and what they are matched to."""

    clip: int  # images of one clip have the same number, and people keep their track_id
    width: int  # of the image, pixels
    height: int
    people: tuple[GroundTruthPerson, ...]
    detections: tuple[Body, ...]
    pairs: tuple[Match, ...]  # with ignored people, too
    false_positives: tuple[int, ...]  # indices of detections
    mask_iou: Score  # of all people together, baseline: true boxes filled; NaN: no ground truth
    depth_errors: tuple[DepthErrors, ...] = ()

    @property
    def targets(self) -> list[int]:
        """Indices of the people who must be detected: those who are not ignored."""
        return [index for index, person in enumerate(self.people) if not person.ignore]

    @property
    def true_positives(self) -> list[Match]:
        """The pairs whose person is not ignored."""
        return [pair for pair in self.pairs if not self.people[pair.person].ignore]

    def similarities(self) -> ImageSimilarities:
        """OKS of all detections to all people, for the average precision."""
        keypoints = [body.keypoints[:COCO_KEYPOINTS, :2].astype(float) for body in self.detections]
        oks = np.array([[_oks(each, person) for person in self.people] for each in keypoints])
        ignore = [p.ignore or not p.labelled[:COCO_KEYPOINTS].any() for p in self.people]
        scores = np.array([body.score for body in self.detections], float)
        shape = len(self.detections), len(self.people)
        return ImageSimilarities(scores, oks.astype(float).reshape(shape), np.array(ignore, bool))


def _oks(keypoints: Float[np.ndarray, "17 2"], person: GroundTruthPerson) -> float:
    labelled = person.labelled[:COCO_KEYPOINTS]
    if not labelled.any():
        return box_similarity(keypoints, person.box, person.area)
    return keypoint_similarity(keypoints, person.keypoints[:COCO_KEYPOINTS], labelled, person.area)


def median_pose_of(people: Sequence[GroundTruthPerson]) -> Float[np.ndarray, "k 2"]:
    """The median pose of these people; see `metrics.baselines.median_pose`."""
    keypoints = np.array([person.keypoints for person in people], float)
    labelled = np.array([person.labelled for person in people], bool)
    boxes = np.array([person.box for person in people], float)
    k = len(Joint)
    return median_pose(keypoints.reshape(-1, k, 2), labelled.reshape(-1, k), boxes.reshape(-1, 4))


def current_bodies(perception: Perception) -> tuple[Body, ...]:
    """The bodies detected in this very frame, confirmed or not: those that an overlay shows."""
    return tuple(body for body in perception.bodies if body.state is not TrackState.LOST)


def pair_by_iou(
    wanted: Mapping[Name, Float[np.ndarray, "4"]],
    boxes: Mapping[int, Float[np.ndarray, "4"]],
    min_iou: float,
) -> dict[Name, int]:
    """The key of a box for each wanted one: greedily, highest IoU first, none of them twice."""
    overlaps = [
        (iou(target, box), name, index)
        for name, target in wanted.items()
        for index, box in boxes.items()
    ]
    pairs: dict[Name, int] = {}
    for overlap, name, index in sorted(overlaps, key=lambda each: -each[0]):
        if overlap >= min_iou and name not in pairs and index not in pairs.values():
            pairs[name] = index
    return pairs


def match_boxes(
    people: Sequence[GroundTruthPerson], boxes: Sequence[Float[np.ndarray, "4"]]
) -> BoxMatches:
    """Match detected boxes to people greedily, highest IoU first.

    People who are not ignored are matched first. An unmatched box that lies mostly inside the box
    of an ignored person (a crowd, a tiny person) is no false positive.
    """
    found: dict[int, int] = {}
    for ignored in (False, True):
        wanted = {i: each.box for i, each in enumerate(people) if each.ignore is ignored}
        free = {j: box for j, box in enumerate(boxes) if j not in found.values()}
        found |= pair_by_iou(wanted, free, MIN_IOU)
    pairs = [Match(*pair) for pair in found.items()]
    ignore_regions = [person.box for person in people if person.ignore]
    matched = {pair.detection for pair in pairs}
    false_positives = [
        index
        for index, box in enumerate(boxes)
        if index not in matched and not any(_lies_in(box, region) for region in ignore_regions)
    ]
    return BoxMatches(tuple(pairs), tuple(false_positives))


def _lies_in(box: Float[np.ndarray, "4"], region: Float[np.ndarray, "4"]) -> bool:
    common = np.concatenate([np.maximum(box[:2], region[:2]), np.minimum(box[2:], region[2:])])
    return area(common) > 0.5 * area(box)


def match_detections(
    people: Sequence[GroundTruthPerson],
    perception: Perception,
    clip: int,
    person_mask: Bool[np.ndarray, "h w"] | None,
    ignore_mask: Bool[np.ndarray, "h w"] | None = None,
    threshold: float = 0.5,
) -> ImageMatches:
    """Match what the pipeline detects in one image to the ground truth.

    Args:
        people: the ground truth.
        perception: the pipeline's result.
        clip: number of the clip; people of one clip keep their track_id.
        person_mask: the pixels of all people; None if that is not known.
        ignore_mask: pixels to leave out of the mask IoU (crowds).
        threshold: probability above which a pixel belongs to a person.
    """
    detections = current_bodies(perception)
    matches = match_boxes(people, [body.box.astype(float) for body in detections])
    mask_iou = Score(float("nan"))
    if person_mask is not None and person_mask.any() and perception.mask is not None:
        known = np.ones(person_mask.shape, bool) if ignore_mask is None else ~ignore_mask
        boxes = filled_boxes([p.box for p in people if not p.ignore], person_mask.shape)
        mask_iou = Score(
            _mask_iou(perception.mask > threshold, person_mask, known),
            _mask_iou(boxes, person_mask, known),
        )
    return ImageMatches(
        clip,
        perception.width,
        perception.height,
        tuple(people),
        detections,
        matches.pairs,
        matches.false_positives,
        mask_iou,
    )


def _mask_iou(a: np.ndarray, b: np.ndarray, known: np.ndarray) -> float:
    return float((a & b & known).sum() / max(((a | b) & known).sum(), 1))


def filled_boxes(
    boxes: Sequence[Float[np.ndarray, "4"]], shape: tuple[int, ...]
) -> Bool[np.ndarray, "h w"]:
    """Pixels of an image of ``shape`` (rows, columns) whose centre lies in one of the boxes."""
    y, x = np.arange(shape[0])[:, None] + 0.5, np.arange(shape[1]) + 0.5
    found = np.zeros(shape[:2], bool)
    for x0, y0, x1, y1 in boxes:
        found |= (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    return found


def is_large_enough(box: Float[np.ndarray, "4"]) -> bool:
    """Whether a person in this box must be detected."""
    return longer_side(box) >= MIN_PERSON_PX


def depth_errors(
    depth: Float[np.ndarray, " n"],
    truth: Float[np.ndarray, " n"],
    metric: bool,
    assumed_m: float = float("nan"),
) -> DepthErrors | None:
    """Depth errors on the pixels of one person, or None if fewer than 30 are known.

    Args:
        depth: predicted, metres; NaN where unknown.
        truth: metres; 0 where unknown.
        metric: whether ``depth`` claims to be metric.
        assumed_m: the baseline of the metric error: all pixels at this distance.
    """
    known = np.isfinite(depth) & (depth > 0) & (truth > 0)
    if known.sum() < _MIN_DEPTH_PIXELS:
        return None
    depth, truth = depth[known].astype(float), truth[known].astype(float)
    flat = _depth_errors(np.full_like(truth, np.median(truth)), truth)
    aligned = _depth_errors(depth * (np.median(truth) / np.median(depth)), truth)
    return DepthErrors(
        abs_rel=Score(aligned.abs_rel, flat.abs_rel),
        rmse_m=Score(aligned.rmse_m, flat.rmse_m),
        within_125=Score(aligned.within_125, flat.within_125),
        metric_abs_rel=Score(
            float((np.abs(depth - truth) / truth).mean()) if metric else float("nan"),
            float((np.abs(assumed_m - truth) / truth).mean()),
        ),
    )


class _DepthErrorValues(NamedTuple):
    abs_rel: float
    rmse_m: float
    within_125: float


def _depth_errors(
    depth: Float[np.ndarray, " n"], truth: Float[np.ndarray, " n"]
) -> _DepthErrorValues:
    ratio = np.maximum(depth / truth, truth / depth)
    error = np.abs(depth - truth)
    return _DepthErrorValues(
        float((error / truth).mean()),
        float(np.sqrt((error**2).mean())),
        float((ratio < 1.25).mean()),
    )
