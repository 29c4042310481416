"""From one frame of a clip to the next: who keeps their name, and whose joints keep still."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from thfm_ros.contract import Body
from thfm_ros.evaluation.baselines import mean, median_pose, put_into
from thfm_ros.evaluation.matching import ImageMatches, Person
from thfm_ros.geometry import longer_side

Scores = dict[str, float]

STILL = 0.01
"""Somebody whose joints truly move less from frame to frame, in longer sides of their box,
stands still."""
LEAST_JOINTS = 8


@dataclass(frozen=True, slots=True)
class Step:
    """One person who was found in two frames running; places are indices into ``found``."""

    person: tuple[Person, Person]
    body: tuple[Body, Body]
    place: tuple[int, int]
    images: tuple[ImageMatches, ImageMatches]


def steps_of(images: Sequence[ImageMatches]) -> Iterator[Step]:
    """Everybody who is followed from a frame to the next one of the same clip."""
    for before, after in pairwise(images):
        if before.clip != after.clip:
            continue
        old = {before.people[i].name: (i, j) for i, j in before.hits}
        for i, j in after.hits:
            if after.people[i].name in old:
                i0, j0 = old[after.people[i].name]
                yield Step(
                    (before.people[i0], after.people[i]),
                    (before.found[j0], after.found[j]),
                    (j0, j),
                    (before, after),
                )


def over_time(images: Sequence[ImageMatches]) -> Scores:
    """Identity switches and jitter, per person and step; NaN where nobody was followed."""
    steps = list(steps_of(images))
    still = [step for step in steps if _stands_still(step)]
    pose = median_pose([step.person[1] for step in steps])

    def said(step: Step) -> tuple[np.ndarray, np.ndarray]:
        first, second = (body.keypoints[:, :2].astype(float) for body in step.body)
        return first, second

    def in_the_box(step: Step) -> tuple[np.ndarray, np.ndarray]:
        first, second = put_into(np.array([body.box for body in step.body], float), pose)
        return first, second

    return {
        "followed": float(len(steps)),
        "still": float(len(still)),
        "switches": mean([step.body[0].id != step.body[1].id for step in steps]),
        "switches_by_place": mean(
            [_from_left(step, 0) != _from_left(step, 1) for step in steps]
        ),
        "jitter": mean([_jitter(step, said) for step in still]),
        "jitter_median_pose": mean([_jitter(step, in_the_box) for step in still]),
    }  # fmt: skip


def _from_left(step: Step, which: int) -> int:
    """How many were found to the left of this person: a name that needs no tracker."""
    mine = step.body[which].box
    others = step.images[which].found
    return sum(bool(other.box[0] + other.box[2] < mine[0] + mine[2]) for other in others)


def _stands_still(step: Step) -> bool:
    first, second = step.person
    seen = first.labelled & second.labelled
    moved = np.linalg.norm(second.joints - first.joints, axis=1)[seen]
    return bool(seen.sum() >= LEAST_JOINTS and moved.mean() < STILL * longer_side(first.box))


def _jitter(step: Step, joints_of: Callable[[Step], tuple[np.ndarray, np.ndarray]]) -> float:
    """Standard deviation of the error of joints that are seen, in longer sides of the box.

    From two frames: half of the squared change is the variance. What the person truly moves is
    taken off, and a constant error is no jitter.
    """
    first, second = joints_of(step)
    truth = step.person[1].joints - step.person[0].joints
    seen = step.person[0].labelled & step.person[1].labelled
    changed = ((second - first - truth) ** 2).sum(1)[seen]
    known = changed[np.isfinite(changed)]
    if len(known) < LEAST_JOINTS:
        return float("nan")
    return float(np.sqrt(known.mean() / 2) / longer_side(step.person[0].box))
