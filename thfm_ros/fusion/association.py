# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Which bodies of different cameras are one person: evidence per pair, and groups from it.

Evidence is the logarithm of a likelihood ratio, "one person" to "two people", averaged over a
short time: from the distance of the pelvises, given their covariances, and from the poses, whose
root-relative joints must agree in the world's axes. The world's z axis points upwards (REP-103).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.optimize import linear_sum_assignment

from thfm_ros.fusion.detections import CameraFrame, Detection, Member, predicted
from thfm_ros.fusion.settings import FusionSettings
from thfm_ros.skeleton import Joint

OTHERS_SIGMA_M = (3.0, 3.0, 0.3)
"""Standard deviation of the distance between two different people; z is that of pelvis heights."""
SAME_POSE_SIGMA_M, OTHER_POSE_SIGMA_M = 0.07, 0.16
"""RMS difference per axis of the poses of one person seen by two cameras, and of two people."""
INDEPENDENT_VALUES = 4.0
"""Independent values in the difference of two poses, whose joints err together."""
MAX_EVIDENCE = 20.0
POSE_JOINTS = tuple(
    [Joint.NECK, Joint.HEAD]
    + [
        Joint[f"{side}_{name}"]
        for name in ("SHOULDER", "ELBOW", "WRIST", "HIP", "KNEE", "ANKLE")
        for side in ("LEFT", "RIGHT")
    ]
)
MIN_POSE_JOINTS = 6

Pair = tuple[Member, Member]


@dataclass(frozen=True, slots=True)
class Evidence:
    """That two bodies are one person, if positive; averaged up to ``stamp_ns``."""

    value: float
    stamp_ns: int


def pair_of(a: Member, b: Member) -> Pair:
    """The pair in its one order."""
    return (a, b) if a < b else (b, a)


def instant_evidence(
    ones: Sequence[Detection], others: Sequence[Detection], size_sigma: float
) -> Float64[np.ndarray, "n m"]:
    """The evidence for each pair of one camera's and another camera's bodies at one time.

    A person of another size than assumed is nearer to, or farther from, both cameras by one
    factor: the distance of the two positions may be any multiple of the difference of their rays.
    """
    roots = np.stack([each.root_m for each in ones])[:, None]
    away = roots - np.stack([each.root_m for each in others])
    covariance = np.stack([each.root_covariance for each in ones])[:, None]
    same = covariance + np.stack([each.root_covariance for each in others])
    rays = np.stack([each.offset_m for each in ones])[:, None]
    rays = rays - np.stack([each.offset_m for each in others])
    same = same + size_sigma**2 * rays[..., :, None] * rays[..., None, :]
    apart = same + np.diag(np.square(OTHERS_SIGMA_M))
    position = _log_density(away, same) - _log_density(away, apart)
    total = position + _pose_evidence(ones, others)
    return np.asarray(np.clip(total, -MAX_EVIDENCE, MAX_EVIDENCE))


def _log_density(
    away: Float64[np.ndarray, "n m 3"], covariance: Float64[np.ndarray, "n m 3 3"]
) -> Float64[np.ndarray, "n m"]:
    solved = np.linalg.solve(covariance, away[..., None])[..., 0]
    return np.asarray(-0.5 * ((away * solved).sum(-1) + np.linalg.slogdet(covariance)[1]))


def _pose_evidence(
    ones: Sequence[Detection], others: Sequence[Detection]
) -> Float64[np.ndarray, "n m"]:
    difference = _poses(ones)[:, None] - _poses(others)
    known = np.isfinite(difference).all(-1)
    count = known.sum(-1)
    squares = np.where(known[..., None], difference, 0.0) ** 2
    variance = squares.sum((-1, -2)) / np.maximum(3 * count, 1)
    ratio = math.log(OTHER_POSE_SIGMA_M / SAME_POSE_SIGMA_M)
    precision = SAME_POSE_SIGMA_M**-2 - OTHER_POSE_SIGMA_M**-2
    evidence = INDEPENDENT_VALUES * (ratio - 0.5 * variance * precision)
    return np.where(count >= MIN_POSE_JOINTS, evidence, 0.0)


def _poses(detections: Sequence[Detection]) -> Float64[np.ndarray, "n j 3"]:
    joints = np.stack([each.joints_m[list(POSE_JOINTS)] for each in detections])
    return np.asarray(joints - np.stack([each.root_m for each in detections])[:, None])


def updated_evidence(
    evidence: Mapping[Pair, Evidence],
    frame: CameraFrame,
    others: Sequence[CameraFrame],
    settings: FusionSettings,
) -> dict[Pair, Evidence]:
    """The evidence after one more frame, beside the newest ``others`` of all other cameras."""
    result = dict(evidence)
    measured = [each for each in frame.detections if each.is_measured]
    for other in others:
        seconds = (frame.stamp_ns - other.stamp_ns) * 1e-9
        seen = [predicted(s, seconds, settings) for s in other.detections if s.is_measured]
        if not measured or not seen:
            continue
        values = instant_evidence(measured, seen, settings.size_sigma)
        for i, one in enumerate(measured):
            for j, two in enumerate(seen):
                pair = pair_of(one.member, two.member)
                result[pair] = _averaged(
                    evidence.get(pair), float(values[i, j]), frame.stamp_ns, settings
                )
    return result


def _averaged(
    before: Evidence | None, value: float, stamp_ns: int, settings: FusionSettings
) -> Evidence:
    if before is None:
        return Evidence(value, stamp_ns)
    seconds = (stamp_ns - before.stamp_ns) * 1e-9
    gain = 1 - math.exp(-seconds / settings.evidence_time_s)
    return Evidence(before.value + gain * (value - before.value), stamp_ns)


def grouped(
    frames: Sequence[CameraFrame],
    evidence: Mapping[Pair, Evidence],
    before: Sequence[frozenset[Member]],
    settings: FusionSettings,
) -> tuple[frozenset[Member], ...]:
    """The bodies of all cameras as people: at most one body of each camera is one person.

    Camera by camera, bodies are assigned to the people so far so that the sum of the evidence is
    largest, and become people of their own where that is not positive. Bodies that were one person
    ``before`` remain so unless the evidence against it is larger than the hysteresis.
    """
    together = {pair_of(a, b) for group in before for a in group for b in group if a < b}
    groups: list[list[Member]] = []
    for frame in sorted(frames, key=lambda each: each.camera):
        members = sorted(each.member for each in frame.detections)
        gains = np.array(
            [[_gain(m, group, evidence, together, settings) for group in groups] for m in members]
        ).reshape(len(members), len(groups))
        rows, columns = linear_sum_assignment(np.maximum(gains, 0.0), maximize=True)
        joined = {i: j for i, j in zip(rows, columns, strict=True) if gains[i, j] > 0}
        for i, member in enumerate(members):
            if i in joined:
                groups[joined[i]].append(member)
            else:
                groups.append([member])
    return tuple(frozenset(group) for group in groups)


def _gain(
    member: Member,
    group: Sequence[Member],
    evidence: Mapping[Pair, Evidence],
    together: set[Pair],
    settings: FusionSettings,
) -> float:
    """The mean evidence that a body belongs to a group."""
    total = 0.0
    for other in group:
        pair = pair_of(member, other)
        if pair in evidence:
            total += evidence[pair].value
        if pair in together:
            total += settings.hysteresis
    return total / len(group)
