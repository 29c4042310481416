# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Which metrics a report shows, in which order, with thresholds, targets and baselines."""

from typing import NamedTuple

from thfm_ros.evaluation.confidence_metrics import confidence_table
from thfm_ros.evaluation.crop_metrics import GroupScores
from thfm_ros.evaluation.frame_metrics import DepthScores, FrameScores
from thfm_ros.evaluation.handheld_jitter import HandheldScores
from thfm_ros.evaluation.keypoint_metrics import KeypointScores
from thfm_ros.evaluation.markdown_report import Row, cell, group_table, metric_table, number
from thfm_ros.evaluation.situations import situation_table
from thfm_ros.evaluation.temporal_stability import ClipScores
from thfm_ros.evaluation.tracking_metrics import TrackingScores
from thfm_ros.metrics.crops import CropScores, DensePoseScores
from thfm_ros.metrics.score import Score

_BOX = "the true box, filled"
_POSE = "median pose in the true box"
_FACING = "all people face the camera"
_MIDDLE = "middle of the true part"
_SINGLE_FRAME = "each frame on its own, without memory"


def crop_tables(
    scores: CropScores,
    by_size: dict[str, GroupScores],
    by_body_orientation: dict[str, GroupScores],
) -> str:
    """All tables of held-out crops."""
    return "\n\n".join(
        [
            metric_table([*_crop_rows(scores), *_dense_pose_rows(scores.dense_pose)]),
            "By joint group (baselines in brackets):",
            _joint_group_table(scores),
            "By size, the longer side of the person in sides of the crop:",
            _crop_group_table("size", by_size),
            "By body orientation, the angle between the trunk and the image's up (limits: 45 and "
            "135 degrees):",
            _crop_group_table("body orientation", by_body_orientation),
        ]
    )


def _crop_rows(scores: CropScores) -> list[Row]:
    wrists, ankles = scores.joint_groups["wrists"], scores.joint_groups["ankles"]
    return [
        Row("mask IoU", scores.mask_iou, 3, _BOX, "0.86", "0.92"),
        Row("part mIoU, 16 parts", scores.part_miou, 3, "all torso", "0.45", "0.60"),
        Row("PCK@0.1 of the box", scores.pck10, 3, _POSE, "0.78", "0.90"),
        Row("PCK@0.1, wrists", wrists.pck10, 3, _POSE, "0.60"),
        Row("PCK@0.1, ankles", ankles.pck10, 3, _POSE, "0.65"),
        Row("PCK@0.05", scores.pck05, 3, _POSE),
        Row("left-right swaps, fraction of people", scores.swapped_people, 3, _FACING),
        Row("MPJPE, mm", scores.mpjpe_mm, 0, "mean pose"),
        Row("PA-MPJPE, mm", scores.pa_mpjpe_mm, 0, "mean shape", "110", "70"),
        Row("error along the optical axis, mm", scores.z_error_mm, 0, "mean pose"),
        Row("normals, degrees", scores.normals_deg, 1, "mean normal", "24", "18"),
        Row("root-relative depth, RMSE, cm", scores.relative_depth_cm, 1, "flat person", "8", "5"),
        Row("ln of the crop's width in metres, error", scores.log_width_error, 3, "mean width"),
    ]


def _dense_pose_rows(scores: DensePoseScores) -> list[Row]:
    return [
        Row("dense pose: pixels on the right part", scores.part_accuracy, 3, "all torso"),
        Row("dense pose: error around the part (U), degrees", scores.angle_deg, 1, _MIDDLE),
        Row("dense pose: error along the part (V), of its length", scores.along, 3, _MIDDLE),
        Row(
            "dense pose: pixels on the right part, within 1/8 turn and 0.1 of the length",
            scores.close,
            3,
            _MIDDLE,
        ),
    ]


def _joint_group_table(scores: CropScores) -> str:
    return group_table(
        [
            "joint group",
            "PCK@0.1",
            "MPJPE, mm",
            "PA-MPJPE, mm",
            "IoU of the part that ends there",
        ],
        [
            [
                name,
                cell(group.pck10, 3),
                cell(group.mpjpe_mm, 0),
                cell(group.pa_mpjpe_mm, 0),
                cell(group.part_iou, 3),
            ]
            for name, group in scores.joint_groups.items()
        ],
    )


def _crop_group_table(title: str, groups: dict[str, GroupScores]) -> str:
    return group_table(
        [
            title,
            "people",
            "mask IoU",
            "part mIoU",
            "PCK@0.1",
            "PA-MPJPE, mm",
            "normals, degrees",
            "root-relative depth, cm",
        ],
        [[name, str(group.people), *_crop_cells(group.scores)] for name, group in groups.items()],
    )


def _crop_cells(scores: CropScores | None) -> list[str]:
    if scores is None:
        return ["-"] * 6
    return [
        cell(scores.mask_iou, 3),
        cell(scores.part_miou, 3),
        cell(scores.pck10, 3),
        cell(scores.pa_mpjpe_mm, 0),
        cell(scores.normals_deg, 1),
        cell(scores.relative_depth_cm, 1),
    ]


def clip_table(scores: ClipScores) -> str:
    """The table of held-out clips."""
    return metric_table(
        [
            Row(
                "jitter of people who stand still, % of the person's height",
                scores.jitter, 2, _SINGLE_FRAME, acceptance="1", factor=100,
            ),
            Row(
                "keypoints of people who stand still that jump by more than 10 %, per frame",
                scores.outliers, 3, _SINGLE_FRAME,
            ),
            Row(
                "jitter of people who stand still, without these, % of the person's height",
                scores.jitter_without_outliers, 2, _SINGLE_FRAME, factor=100,
            ),
            Row(
                "acceleration error of keypoints, mm per frame^2",
                scores.acceleration_mm, 1, "no acceleration",
            ),
            Row("PCK@0.1 of the fourth frame", scores.pck10_last, 3, _SINGLE_FRAME),
        ]
    )  # fmt: skip


class _Acceptance(NamedTuple):
    """Acceptance thresholds; empty: none."""

    mask_iou: str = ""
    pck10: str = ""
    swapped_pairs: str = ""
    false_positives: str = ""
    false_positives_target: str = ""


_RENDERED_FRAMES = _Acceptance(false_positives_target="0")
_REAL_IMAGES = _Acceptance(mask_iou="0.80", pck10="0.85", swapped_pairs="0.05", false_positives="0")
"""For real video of one person who is fully in view."""


def rendered_frame_tables(scores: FrameScores, handheld: HandheldScores) -> str:
    """All tables of held-out rendered frames."""
    rows = [
        *_image_rows(scores, _RENDERED_FRAMES),
        *_depth_rows(scores.depth),
        *_tracking_rows(scores.tracking, handheld),
    ]
    return "\n\n".join([metric_table(rows), *_group_tables(scores)])


def real_image_tables(scores: FrameScores) -> str:
    """All tables of annotated real images."""
    rows = _image_rows(scores, _REAL_IMAGES)
    return "\n\n".join([metric_table(rows), *_group_tables(scores)])


def _group_tables(scores: FrameScores) -> list[str]:
    tables = [_keypoint_tables(scores.keypoints)]
    if scores.situations["alone in the image"].number < scores.people:  # else there is one only
        tables.append(situation_table(scores.situations, scores.intervals))
    return [*tables, confidence_table(scores.confidences)]


def _image_rows(scores: FrameScores, acceptance: _Acceptance) -> list[Row]:
    detection, keypoints = scores.detection, scores.keypoints
    return [
        Row(
            "images with the correct number of people",
            detection.correct_count, 3, "always one person",
        ),
        Row("recall of people, IoU >= 0.5", detection.recall, 3, "the mean box"),
        Row("precision of people", detection.precision, 3, "the mean box"),
        Row(
            "false positives per negative image", detection.false_positives, 3,
            "always one person", acceptance.false_positives, acceptance.false_positives_target,
        ),
        Row("mask IoU of the whole image", detection.mask_iou, 3, _BOX, acceptance.mask_iou),
        Row("PCK@0.1 of detected people", keypoints.pck10, 3, _POSE, acceptance.pck10),
        Row("PCK@0.05 of detected people", keypoints.pck05, 3, _POSE),
        Row("PCK@0.1 of all people, 0 if not detected", keypoints.pck10_all, 3, _POSE),
        Row("OKS-AP", keypoints.oks_ap, 3, _POSE),
        Row("OKS-AP at 0.5", keypoints.oks_ap50, 3, _POSE),
        Row(
            "left-right swaps, fraction of keypoint pairs",
            keypoints.swapped_pairs, 3, _FACING, acceptance.swapped_pairs,
        ),
        Row("left-right swaps, fraction of people", keypoints.swapped_people, 3, _FACING),
    ]  # fmt: skip


def _depth_rows(scores: DepthScores) -> list[Row]:
    return [
        Row("depth AbsRel, aligned", scores.abs_rel, 4, "flat person"),
        Row("depth RMSE, cm, aligned", scores.rmse_m, 1, "flat person", factor=100),
        Row("depth within 1.25, aligned", scores.within_125, 3, "flat person"),
        Row(
            "depth AbsRel, metric, not aligned",
            scores.metric_abs_rel, 3, "flat, 1.7 m tall in the true box",
        ),
        Row(
            "distance of the pelvis, mean relative error",
            scores.root_distance, 3, "1.7 m tall in the detected box",
        ),
        Row(
            "position of the pelvis, mean error, m",
            scores.root_position_m, 2, "the true direction, 1.7 m tall in the detected box",
        ),
    ]  # fmt: skip


def _tracking_rows(scores: TrackingScores, handheld: HandheldScores) -> list[Row]:
    return [
        Row(
            "identity switches per person and pair of consecutive frames",
            scores.id_switches, 3, "people numbered from left to right", target="0",
        ),
        Row(
            "jitter on a static person, hand-held camera at 30 Hz, % of the person's height",
            handheld.jitter, 2, "median pose in the detected box", acceptance="1", factor=100,
        ),
        Row(
            "the same jitter of keypoints that stay at the same pixels",
            Score(handheld.frozen_jitter), 2, factor=100,
        ),
        Row(
            "change between two frames / sqrt 2 at 3 to 15 Hz, standing people, % of the person's "
            "height",
            scores.jitter, 2, "median pose in the detected box", factor=100,
        ),
    ]  # fmt: skip


def _keypoint_tables(scores: KeypointScores) -> str:
    groups = [[name, cell(pck10, 3)] for name, pck10 in scores.joint_groups.items()]
    views = [
        [name, str(view.people), number(view.pck10, 3), cell(view.swapped_pairs, 3)]
        for name, view in scores.views.items()
    ]
    sizes = [
        [name, str(size.people), number(size.recall, 3), cell(size.pck10, 3)]
        for name, size in scores.sizes.items()
    ]
    swaps = "left-right swaps, fraction of pairs"
    return "\n\n".join(
        [
            f"By joint group, of detected people ({_POSE} in brackets):",
            group_table(["joint group", "PCK@0.1"], groups),
            f"By view ({_FACING} in brackets):",
            group_table(["view", "people detected", "PCK@0.1", swaps], views),
            "By size, the longer side of the person in image heights:",
            group_table(["size", "people", "recall", "PCK@0.1 of those detected"], sizes),
        ]
    )
