# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""All metrics of person crops, each beside its baseline: predictions against ground truth.

The training loop follows them on held-out crops, and `thfm evaluate` reports them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from thfm_ros.metrics import pose
from thfm_ros.metrics.baselines import median_pose, pose_in_boxes
from thfm_ros.metrics.score import Score, mean_known
from thfm_ros.skeleton import FLIP_PAIRS, PART_NAMES, Joint

ALL_JOINTS: tuple[Joint, ...] = tuple(Joint)

PARTS_OF_GROUP: dict[str, tuple[str, ...]] = {
    "head": ("head", "hair"),
    "shoulders": ("torso",),
    "elbows": ("left_upper_arm", "right_upper_arm"),
    "wrists": ("left_lower_arm", "right_lower_arm"),
    "knees": ("left_upper_leg", "right_upper_leg"),
    "ankles": ("left_lower_leg", "right_lower_leg"),
    "feet": ("left_foot", "right_foot"),
}
"""The body parts that end in the joints of a joint group; the hips have none."""

_TORSO = PART_NAMES.index("torso")
_MIN_DEPTH_PIXELS = 30
"""People with fewer pixels of known depth are left out of the root-relative depth."""


class CropPredictions(NamedTuple):
    """What a network predicts for ``n`` crops; maps are h x w, keypoints k of skeleton.Joint."""

    mask: np.ndarray  # bool [n h w]
    parts: np.ndarray  # u8 [n h w], skeleton.PART_NAMES
    relative_depth_m: np.ndarray  # f32 [n h w], metres behind the hips
    normals: np.ndarray  # f32 [n h w 3]
    dense_pose: np.ndarray  # f32 [n h w 3], cos and sin of the angle around the part, 0..1 along it
    keypoints: np.ndarray  # f32 [n k 2], 0..1 of the crop
    positions_m: np.ndarray  # f32 [n k 3], relative to the middle of the hips
    log_width: np.ndarray  # f32 [n], natural logarithm of the crop's width in metres


class CropLabels(NamedTuple):
    """The ground truth of ``n`` crops, as `CropPredictions`."""

    instances: np.ndarray  # u8 [n h w], 0 background, 1 the target, 2.. other people
    parts: np.ndarray
    relative_depth_m: np.ndarray
    depth_known: np.ndarray  # bool [n h w]
    normals: np.ndarray
    dense_pose: np.ndarray
    keypoints: np.ndarray
    visible: np.ndarray  # bool [n k]
    positions_m: np.ndarray
    log_width: np.ndarray
    person_present: np.ndarray  # bool [n], there is a target


@dataclass(frozen=True, slots=True)
class JointGroupScores:
    """Metrics of one of `pose.JOINT_GROUPS`."""

    pck10: Score
    mpjpe_mm: Score
    pa_mpjpe_mm: Score
    part_iou: Score | None  # of PARTS_OF_GROUP; None for the hips


@dataclass(frozen=True, slots=True)
class DensePoseScores:
    """Dense-pose UV on the pixels of people."""

    part_accuracy: Score  # fraction of pixels on the right part; baseline: all torso
    angle_deg: Score  # error around the part; baseline of this and the next: middle of true part
    along: Score  # error along the part, in lengths of it
    close: Score  # right part, within 1/8 turn and 0.1 lengths; baseline: middle of the true part


@dataclass(frozen=True, slots=True)
class CropScores:
    """Metrics over all crops together."""

    mask_iou: Score  # baseline: the true bounding box, filled
    part_miou: Score  # baseline: all torso
    normals_deg: Score  # baseline: mean normal
    relative_depth_cm: Score  # RMSE; baseline: flat person
    dense_pose: DensePoseScores
    pck10: Score  # baseline of this and the next: median pose in the true box
    pck05: Score
    swapped_people: Score  # left-right swaps; baseline: all people face the camera
    mpjpe_mm: Score  # baseline: mean pose
    pa_mpjpe_mm: Score  # baseline: mean shape
    z_error_mm: Score  # baseline: mean pose
    log_width_error: Score  # baseline: mean width
    joint_groups: dict[str, JointGroupScores]


def crop_scores(predicted: CropPredictions, truth: CropLabels) -> CropScores:
    """All metrics of at least one crop."""
    person = truth.instances > 0
    parts = np.where(predicted.mask, predicted.parts, 0).astype(np.uint8)
    torso = np.where(person, _TORSO, 0).astype(np.uint8)
    part_iou = pose.part_iou(parts, truth.parts, len(PART_NAMES))
    torso_iou = pose.part_iou(torso, truth.parts, len(PART_NAMES))
    normals, true_normals = predicted.normals[person], truth.normals[person]
    mean_normal = np.broadcast_to(true_normals.mean(0), true_normals.shape)
    errors, errors_3d = _keypoint_errors(predicted, truth), _position_errors(predicted, truth)
    width = truth.log_width[truth.person_present]
    predicted_width = predicted.log_width[truth.person_present]
    return CropScores(
        mask_iou=Score(_mean_iou(predicted.mask, person), _mean_iou(_filled_boxes(person), person)),
        part_miou=Score(float(np.nanmean(part_iou)), float(np.nanmean(torso_iou))),
        normals_deg=Score(
            float(pose.angles_deg(normals, true_normals).mean()),
            float(pose.angles_deg(mean_normal, true_normals).mean()),
        ),
        relative_depth_cm=_relative_depth(predicted, truth),
        dense_pose=_dense_pose(predicted, truth, parts),
        pck10=errors.pck(0.1),
        pck05=errors.pck(0.05),
        swapped_people=_swapped_people(predicted, truth),
        mpjpe_mm=errors_3d.mpjpe_mm(),
        pa_mpjpe_mm=errors_3d.pa_mpjpe_mm(),
        z_error_mm=errors_3d.z_error_mm(),
        log_width_error=Score(
            float(np.nanmean(np.abs(predicted_width - width))),
            float(np.nanmean(np.abs(np.nanmean(width) - width))),
        ),
        joint_groups={
            name: JointGroupScores(
                errors.pck(0.1, joints),
                errors_3d.mpjpe_mm(joints),
                errors_3d.pa_mpjpe_mm(joints),
                _group_iou(name, part_iou, torso_iou),
            )
            for name, joints in pose.JOINT_GROUPS.items()
        },
    )


def _mean_iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(np.nanmean(pose.iou(predicted, truth)))


def _filled_boxes(person: np.ndarray) -> np.ndarray:
    """The bounding box of all people of each crop, filled, bool [n h w]."""
    rows, columns = np.asarray(person.any(2)), np.asarray(person.any(1))
    return np.asarray(rows[:, :, None] & columns[:, None, :])


def _group_iou(group: str, part_iou: np.ndarray, torso_iou: np.ndarray) -> Score | None:
    if group not in PARTS_OF_GROUP:
        return None
    numbers = [PART_NAMES.index(name) - 1 for name in PARTS_OF_GROUP[group]]
    return Score(mean_known(part_iou[numbers]), mean_known(torso_iou[numbers]))


def _relative_depth(predicted: CropPredictions, truth: CropLabels) -> Score:
    errors, flat = [], []
    for mine, depth, true_depth in zip(
        truth.depth_known & (truth.instances == 1),
        predicted.relative_depth_m,
        truth.relative_depth_m,
        strict=True,
    ):
        if mine.sum() >= _MIN_DEPTH_PIXELS:
            errors.append(pose.relative_depth_rmse(depth[mine], true_depth[mine]))
            flat.append(pose.relative_depth_rmse(np.zeros(mine.sum()), true_depth[mine]))
    return Score(100 * float(np.mean(errors)), 100 * float(np.mean(flat)))


def _dense_pose(
    predicted: CropPredictions, truth: CropLabels, predicted_parts: np.ndarray
) -> DensePoseScores:
    person = truth.instances > 0
    parts = truth.parts[person]
    uv, true_uv = predicted.dense_pose[person], truth.dense_pose[person]
    middle = np.zeros_like(true_uv)
    for part in np.unique(parts):
        middle[parts == part] = true_uv[parts == part].mean(0)
    right_part = predicted_parts[person] == parts
    angle, along = _angle_deg(uv, true_uv), np.abs(uv[:, 2] - true_uv[:, 2])
    middle_angle = _angle_deg(middle, true_uv)
    middle_along = np.abs(middle[:, 2] - true_uv[:, 2])
    return DensePoseScores(
        Score(float(right_part.mean()), float((parts == _TORSO).mean())),
        Score(float(angle.mean()), float(middle_angle.mean())),
        Score(float(along.mean()), float(middle_along.mean())),
        Score(
            float((right_part & (angle < 45) & (along < 0.1)).mean()),
            float(((middle_angle < 45) & (middle_along < 0.1)).mean()),
        ),
    )


def _angle_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle between two dense-pose UV around the part, degrees, [n]."""
    around_only = np.array([1, 1, 0])
    return pose.angles_deg(a * around_only, b * around_only)


class _KeypointErrors(NamedTuple):
    """`pose.normalised_errors`, [n k] each."""

    network: np.ndarray
    median_pose: np.ndarray

    def pck(self, threshold: float, joints: Sequence[Joint] = ALL_JOINTS) -> Score:
        return Score(*(pose.pck(errors[:, list(joints)], threshold) for errors in self))


def _keypoint_errors(predicted: CropPredictions, truth: CropLabels) -> _KeypointErrors:
    # The box of all keypoints, hidden ones too; the baseline knows it, the network must find it.
    boxes = np.concatenate([truth.keypoints.min(1), truth.keypoints.max(1)], 1)
    median = median_pose(truth.keypoints, np.ones_like(truth.visible), boxes)
    guess = pose_in_boxes(median, boxes)
    return _KeypointErrors(
        pose.normalised_errors(predicted.keypoints, truth.keypoints, truth.visible),
        pose.normalised_errors(guess, truth.keypoints, truth.visible),
    )


def _swapped_people(predicted: CropPredictions, truth: CropLabels) -> Score:
    def fraction(keypoints: np.ndarray) -> float:
        errors, flipped = (
            pose.normalised_errors(each, truth.keypoints, truth.visible)
            for each in (keypoints, keypoints[:, list(FLIP_PAIRS)])
        )
        return float(pose.swapped_people(errors, flipped).mean())

    frontal = pose.sides_as_if_frontal(truth.keypoints, truth.visible)
    return Score(fraction(predicted.keypoints), fraction(frontal))


class _PositionErrors(NamedTuple):
    """Errors of 3D keypoints relative to the hips, metres, [n k] each."""

    network: np.ndarray
    mean_pose: np.ndarray
    network_aligned: np.ndarray
    mean_shape_aligned: np.ndarray
    network_z: np.ndarray
    mean_pose_z: np.ndarray

    def mpjpe_mm(self, joints: Sequence[Joint] = ALL_JOINTS) -> Score:
        return _mean_mm(self.network, self.mean_pose, joints)

    def pa_mpjpe_mm(self, joints: Sequence[Joint] = ALL_JOINTS) -> Score:
        return _mean_mm(self.network_aligned, self.mean_shape_aligned, joints)

    def z_error_mm(self) -> Score:
        return _mean_mm(self.network_z, self.mean_pose_z, ALL_JOINTS)


def _mean_mm(errors: np.ndarray, baseline: np.ndarray, joints: Sequence[Joint]) -> Score:
    columns = list(joints)
    return Score(1000 * float(errors[:, columns].mean()), 1000 * float(baseline[:, columns].mean()))


def _position_errors(predicted: CropPredictions, truth: CropLabels) -> _PositionErrors:
    here = truth.person_present
    positions, true_positions = predicted.positions_m[here], truth.positions_m[here]
    mean_pose = np.broadcast_to(true_positions.mean(0), true_positions.shape)
    mean_shape = np.broadcast_to(pose.mean_shape(true_positions), true_positions.shape)
    return _PositionErrors(
        network=np.linalg.norm(positions - true_positions, axis=-1),
        mean_pose=np.linalg.norm(mean_pose - true_positions, axis=-1),
        network_aligned=pose.procrustes_errors(positions, true_positions),
        mean_shape_aligned=pose.procrustes_errors(mean_shape, true_positions),
        network_z=np.abs(positions - true_positions)[..., 2],
        mean_pose_z=np.abs(mean_pose - true_positions)[..., 2],
    )
