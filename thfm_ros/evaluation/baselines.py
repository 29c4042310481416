"""What needs no network: the median pose put into a box, means of what was measured."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from thfm_ros.evaluation.matching import Person
from thfm_ros.skeleton import FLIP_PAIRS, Joint


def mean(values: Sequence[float] | np.ndarray) -> float:
    """Of what is known; NaN where nothing is."""
    known = np.asarray(values, float)
    known = known[~np.isnan(known)]
    return float(known.mean()) if known.size else float("nan")


def median_pose(people: Sequence[Person]) -> Float[np.ndarray, "k 2"]:
    """The median pose of these people, as likely mirrored as not, in shares of a person's box.

    Of these very people: none that can be had in the field fits them as well. Not the mean: a few
    who stand on their hands would pull its head down.
    """
    if not people:
        return np.full((len(Joint), 2), 0.5)
    boxes = np.array([person.box for person in people])
    low, side = boxes[:, None, :2], np.maximum(boxes[:, None, 2:] - boxes[:, None, :2], 1e-6)
    labelled = np.array([person.labelled for person in people])
    inside = (np.array([person.joints for person in people]) - low) / side
    pose = np.full((len(Joint), 2), 0.5)
    for joint in np.flatnonzero(labelled.any(0)):
        pose[joint] = np.median(inside[labelled[:, joint], joint], axis=0)
    mirrored = pose[list(FLIP_PAIRS)] * [-1, 1] + [1, 0]
    found: np.ndarray = (pose + mirrored) / 2
    return found


def put_into(
    boxes: Float[np.ndarray, "n 4"], pose: Float[np.ndarray, "k 2"]
) -> Float[np.ndarray, "n k 2"]:
    """A pose of `median_pose` in each of these boxes, source pixels."""
    return np.asarray(boxes[:, None, :2] + pose * (boxes[:, None, 2:] - boxes[:, None, :2]))
