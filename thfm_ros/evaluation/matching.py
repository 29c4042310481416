"""Who is there, who was found, and which of them are the same: the verdict on one image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from thfm_ros.contract import Body, Perception, TrackState
from thfm_ros.geometry import area, iou, longer_side
from thfm_ros.metrics.oks import Ranked, similarity, similarity_to_box

SAME = 0.5
"""Boxes that overlap so much (IoU) are the same person's."""
SMALLEST_PX = 16.0
"""People whose longer side is shorter may be found, but need not be: the pipeline does not look
at them by default (regions.min_person_px)."""
COCO = 17
USUAL_M = 1.7


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is there, ``k`` joints of skeleton.Joint."""

    name: int  # the same in all frames of a clip
    box: Float[np.ndarray, "4"]  # of what is seen, source pixels
    area: float  # of what is seen, square pixels
    joints: Float[np.ndarray, "k 2"]  # source pixels
    labelled: Bool[np.ndarray, " k"]  # which of them are known, and not hidden if that is known
    counts: bool  # False: may be found, need not be
    root_m: Float[np.ndarray, "3"] | None = None  # the pelvis, optical frame
    focal_px: float = float("nan")

    def far_m(self, box: Float[np.ndarray, "4"]) -> float:
        """How far off somebody in this box is who is 1.7 m long and cut nowhere: a baseline."""
        return USUAL_M * self.focal_px / max(longer_side(box), 1.0)


@dataclass(frozen=True, slots=True)
class Relief:
    """How wrong the depth of one person's pixels is, and that of a flat person.

    "Aligned": after one factor has made the medians of the person equal.
    """

    abs_rel: float  # mean of |d - d*| / d*, aligned
    rmse_m: float  # aligned
    near: float  # share with max(d / d*, d* / d) < 1.25, aligned
    metric_abs_rel: float  # as it was claimed
    guess_abs_rel: float  # if all pixels were where `Person.far_m` says
    flat_abs_rel: float
    flat_rmse_m: float
    flat_near: float


@dataclass(frozen=True, slots=True)
class ImageMatches:
    """One image. ``pairs`` are indices into ``people`` and ``found``."""

    clip: int
    height: int
    people: tuple[Person, ...]
    found: tuple[Body, ...]
    pairs: tuple[tuple[int, int], ...]
    wrong: tuple[int, ...]  # found where nobody is
    mask_iou: float  # of all people together; NaN: nobody there, or no outline known
    box_iou: float  # the same if the true boxes were filled
    reliefs: tuple[Relief, ...] = ()

    @property
    def counted(self) -> list[int]:
        """The people who have to be found."""
        return [number for number, person in enumerate(self.people) if person.counts]

    @property
    def hits(self) -> list[tuple[int, int]]:
        """The pairs whose person counts."""
        return [pair for pair in self.pairs if self.people[pair[0]].counts]

    def ranked(self) -> Ranked:
        """What the average precision asks of this image."""
        joints = [body.keypoints[:COCO, :2].astype(float) for body in self.found]
        alike = np.array(
            [[_alike(each, person) for person in self.people] for each in joints], float
        ).reshape(len(joints), len(self.people))
        counts = [p.counts and bool(p.labelled[:COCO].any()) for p in self.people]
        scores = np.array([body.score for body in self.found], float)
        return Ranked(scores, alike, np.array(counts, bool))


def _alike(joints: Float[np.ndarray, "17 2"], person: Person) -> float:
    labelled = person.labelled[:COCO]
    if not labelled.any():
        return similarity_to_box(joints, person.box, person.area)
    return similarity(joints, person.joints[:COCO], labelled, person.area)


def present(seen: Perception) -> tuple[Body, ...]:
    """The people who are seen in this very frame, confirmed or not, as an overlay shows them."""
    return tuple(body for body in seen.bodies if body.state is not TrackState.LOST)


def match(
    people: Sequence[Person], found: Sequence[Float[np.ndarray, "4"]]
) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Pairs of people and found boxes, best overlap first, and the boxes that show nobody.

    Whoever counts is paired first. A box that lies mostly on somebody who does not count (a
    crowd, somebody tiny) is neither right nor wrong.
    """
    pairs: list[tuple[int, int]] = []
    for counts in (True, False):
        overlaps = [
            (iou(person.box, box), i, j)
            for i, person in enumerate(people)
            for j, box in enumerate(found)
            if person.counts is counts
        ]
        for overlap, i, j in sorted(overlaps, key=lambda each: -each[0]):
            taken = any(i == a or j == b for a, b in pairs)
            if overlap >= SAME and not taken:
                pairs.append((i, j))
    excusing = [person.box for person in people if not person.counts]
    paired = {j for _, j in pairs}
    wrong = [
        j
        for j, box in enumerate(found)
        if j not in paired and not any(_lies_on(box, other) for other in excusing)
    ]
    return tuple(pairs), tuple(wrong)


def _lies_on(box: Float[np.ndarray, "4"], other: Float[np.ndarray, "4"]) -> bool:
    common = np.concatenate([np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])])
    return area(common) > 0.5 * area(box)


def judge(
    people: Sequence[Person],
    seen: Perception,
    clip: int,
    outline: Bool[np.ndarray, "h w"] | None,
    unsure: Bool[np.ndarray, "h w"] | None = None,
    threshold: float = 0.5,
) -> ImageMatches:
    """The verdict on one image.

    Args:
        people: who is there.
        seen: what the pipeline says.
        clip: number of the clip; people of one clip keep their names.
        outline: the pixels of all people; None: not known.
        unsure: pixels that may be people or not, left out of the mask's IoU.
        threshold: probability above which a pixel is a person.
    """
    found = present(seen)
    pairs, wrong = match(people, [body.box.astype(float) for body in found])
    mask_iou = box_iou = float("nan")
    if outline is not None and outline.any() and seen.mask is not None:
        known = np.ones(outline.shape, bool) if unsure is None else ~unsure
        mask_iou = _iou(seen.mask > threshold, outline, known)
        box_iou = _iou(filled([p.box for p in people if p.counts], outline.shape), outline, known)
    return ImageMatches(clip, seen.height, tuple(people), found, pairs, wrong, mask_iou, box_iou)


def _iou(a: np.ndarray, b: np.ndarray, known: np.ndarray) -> float:
    return float((a & b & known).sum() / max(((a | b) & known).sum(), 1))


def filled(
    boxes: Sequence[Float[np.ndarray, "4"]], shape: tuple[int, ...]
) -> Bool[np.ndarray, "h w"]:
    """Pixels whose centre lies in one of the boxes."""
    y, x = np.arange(shape[0])[:, None] + 0.5, np.arange(shape[1]) + 0.5
    found = np.zeros(shape[:2], bool)
    for x0, y0, x1, y1 in boxes:
        found |= (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    return found


def large_enough(box: Float[np.ndarray, "4"]) -> bool:
    """Whether somebody in this box has to be found."""
    return longer_side(box) >= SMALLEST_PX


def relief_of(
    depth: Float[np.ndarray, " n"],
    truth: Float[np.ndarray, " n"],
    metric: bool,
    guess_m: float = float("nan"),
) -> Relief | None:
    """Errors of one person's pixels, metres; None where fewer than 30 are known."""
    known = np.isfinite(depth) & (depth > 0) & (truth > 0)
    if known.sum() < 30:
        return None
    depth, truth = depth[known].astype(float), truth[known].astype(float)
    flat = np.full_like(truth, np.median(truth))
    aligned = depth * (np.median(truth) / np.median(depth))
    claimed = float((np.abs(depth - truth) / truth).mean()) if metric else float("nan")
    guessed = float((np.abs(guess_m - truth) / truth).mean())
    return Relief(*_errors(aligned, truth), claimed, guessed, *_errors(flat, truth))


def _errors(
    depth: Float[np.ndarray, " n"], truth: Float[np.ndarray, " n"]
) -> tuple[float, float, float]:
    """AbsRel, RMSE in metres, share within a factor of 1.25."""
    ratio = np.maximum(depth / truth, truth / depth)
    error = np.abs(depth - truth)
    return (
        float((error / truth).mean()),
        float(np.sqrt((error**2).mean())),
        float((ratio < 1.25).mean()),
    )
