"""Which figures are shown, in which order, with the project's marks and their baselines."""

from thfm_ros.evaluation import crop_metrics as crops
from thfm_ros.evaluation import frame_metrics as whole
from thfm_ros.evaluation.markdown_report import Column, Line, Scores, breakdown, table
from thfm_ros.metrics.pose import LIMBS

_BOX, _POSE = "the true box, filled", "median pose in the true box"

CROPS: tuple[Line, ...] = (
    Line("mask IoU", "mask_iou", 3, "0.86", "0.92", "mask_iou_box", _BOX),
    Line("part mIoU, 16 parts", "part_miou", 3, "0.45", "0.60", "part_miou_torso", "all torso"),
    Line("PCK@0.1 of the box", "pck10", 3, "0.78", "0.90", "pck10_mean", _POSE),
    Line("PCK@0.1, wrists", "pck10_wrists", 3, "0.60", "", "pck10_mean_wrists", _POSE),
    Line("PCK@0.1, ankles", "pck10_ankles", 3, "0.65", "", "pck10_mean_ankles", _POSE),
    Line("PCK@0.05", "pck05", 3, "", "", "pck05_mean", _POSE),
    Line(
        "left and right exchanged, share of people",
        "swapped", 3, "", "", "swapped_facing", "everybody faces the camera",
    ),
    Line("MPJPE, mm", "mpjpe_mm", 0, "", "", "mpjpe_mm_mean_pose", "mean pose"),
    Line("PA-MPJPE, mm", "pa_mpjpe_mm", 0, "110", "70", "pa_mpjpe_mm_mean_shape", "mean shape"),
    Line("error along the axis, mm", "z_error_mm", 0, "", "", "z_error_mm_mean_pose", "mean pose"),
    Line("normals, degrees", "normals_deg", 1, "24", "18", "normals_deg_constant", "mean normal"),
    Line("depth relief, cm RMSE", "relief_cm", 1, "8", "5", "relief_cm_constant", "flat person"),
    Line(
        "dense pose: pixels on the right part",
        "surface_part_right", 3, "", "", "surface_part_right_torso", "all torso",
    ),
    Line(
        "dense pose: error round the part, degrees",
        "surface_turn_deg", 1, "", "", "surface_turn_deg_middle", "middle of the true part",
    ),
    Line(
        "dense pose: error along the part, of its length",
        "surface_along", 3, "", "", "surface_along_middle", "middle of the true part",
    ),
    Line(
        "dense pose: pixels on the right part, right to 1/8 turn and 0.1 of the length",
        "surface_near", 3, "", "", "surface_near_middle", "middle of the true part",
    ),
    Line(
        "ln of the image's width in metres, mean error",
        "log_width_error", 3, "", "", "log_width_error_mean", "mean width",
    ),
)  # fmt: skip

CROP_LIMBS: tuple[Column, ...] = (
    Column("PCK@0.1", "pck10_{}", 3, "pck10_mean_{}"),
    Column("MPJPE, mm", "mpjpe_mm_{}", 0, "mpjpe_mm_mean_pose_{}"),
    Column("PA-MPJPE, mm", "pa_mpjpe_mm_{}", 0, "pa_mpjpe_mm_mean_shape_{}"),
    Column("IoU of the part that ends there", "part_iou_{}", 3, "part_iou_torso_{}"),
)

CROP_SIZES: tuple[Column, ...] = (
    Column("people", "people_{}", 0),
    Column("mask IoU", "mask_iou_{}", 3, "mask_iou_box_{}"),
    Column("part mIoU", "part_miou_{}", 3, "part_miou_torso_{}"),
    Column("PCK@0.1", "pck10_{}", 3, "pck10_mean_{}"),
    Column("PA-MPJPE, mm", "pa_mpjpe_mm_{}", 0, "pa_mpjpe_mm_mean_shape_{}"),
    Column("normals, degrees", "normals_deg_{}", 1, "normals_deg_constant_{}"),
    Column("relief, cm", "relief_cm_{}", 1, "relief_cm_constant_{}"),
)

CLIPS: tuple[Line, ...] = (
    Line(
        "jitter of somebody who stands still, % of the height",
        "jitter", 2, "1", "", "jitter_alone", "each frame alone, without memory", 100,
    ),
    Line(
        "the same: frames of a joint that jumps by more than 10 %",
        "jumps", 3, "", "", "jumps_alone", "each frame alone, without memory",
    ),
    Line(
        "the same: jitter of all others, % of the height",
        "jitter_rest", 2, "", "", "jitter_rest_alone", "each frame alone, without memory", 100,
    ),
    Line(
        "acceleration error of joints, mm per frame^2",
        "acceleration_mm", 1, "", "", "acceleration_mm_still", "nothing accelerates",
    ),
    Line(
        "PCK@0.1 of the fourth frame",
        "pck10_newest", 3, "", "", "pck10_newest_alone", "that frame alone, without memory",
    ),
)  # fmt: skip

_FINDING: tuple[Line, ...] = (
    Line(
        "images with the right number of people",
        "right_number", 3, "", "", "right_number_one", "always one person",
    ),
    Line("recall of people, IoU >= 0.5", "recall", 3, "", "", "recall_box", "the mean box"),
    Line("precision of people", "precision", 3, "", "", "precision_box", "the mean box"),
    Line(
        "people found per empty image",
        "false_per_empty", 3, "", "0", "false_per_empty_box", "always one person",
    ),
    Line("mask IoU of the whole image", "mask_iou", 3, "", "", "mask_iou_box", _BOX),
    Line("PCK@0.1 of the people found", "pck10", 3, "", "", "pck10_mean", _POSE),
    Line("PCK@0.05 of the people found", "pck05", 3, "", "", "pck05_mean", _POSE),
    Line(
        "PCK@0.1 of all people, not found is wrong",
        "pck10_all", 3, "", "", "pck10_all_mean", _POSE,
    ),
    Line("OKS-AP", "oks_ap", 3, "", "", "oks_ap_mean", _POSE),
    Line("OKS-AP at 0.5", "oks_ap50", 3, "", "", "oks_ap50_mean", _POSE),
    Line(
        "left-right swaps, share of pairs of joints",
        "swapped_pairs", 3, "", "", "swapped_pairs_facing", "everybody faces the camera",
    ),
    Line(
        "left and right exchanged, share of people",
        "swapped", 3, "", "", "swapped_facing", "everybody faces the camera",
    ),
)  # fmt: skip

FRAMES: tuple[Line, ...] = (
    *_FINDING,
    Line("depth AbsRel, aligned", "depth_abs_rel", 4, "", "", "depth_flat_abs_rel", "flat person"),
    Line(
        "depth RMSE, cm, aligned",
        "depth_rmse_m", 1, "", "", "depth_flat_rmse_m", "flat person", 100,
    ),
    Line("depth within 1.25, aligned", "depth_near", 3, "", "", "depth_flat_near", "flat person"),
    Line(
        "depth AbsRel, metric as claimed",
        "depth_metric_abs_rel", 3, "", "", "depth_guess_abs_rel", "flat, 1.7 m in the true box",
    ),
    Line(
        "distance of the pelvis, mean error, share of it",
        "root_z", 3, "", "", "root_z_guess", "1.7 m tall in the box found",
    ),
    Line(
        "place of the pelvis, mean error, m",
        "root_m", 2, "", "", "root_m_guess", "the true direction, 1.7 m tall in the box found",
    ),
    Line(
        "identity switches between two frames running, per person followed",
        "switches", 3, "", "0", "switches_by_place", "names counted from left to right",
    ),
    Line(
        "jitter of somebody who does not move before a hand-held camera of 30 Hz, % of the height",
        "jitter_held", 2, "1", "", "jitter_median_pose_held", "median pose in the box found", 100,
    ),
    Line("the same, of joints that stay in their pixels", "jitter_frozen_held", 2, factor=100),
    Line(
        "change between two frames / sqrt 2 at 3 to 15 Hz, standing people, % of the height",
        "jitter", 2, "", "", "jitter_median_pose", "median pose in the box found", 100,
    ),
)  # fmt: skip

_PASSED = {"mask_iou": "0.80", "pck10": "0.85", "swapped_pairs": "0.05", "false_per_empty": "0"}

IMAGES: tuple[Line, ...] = tuple(
    Line(
        line.title, line.key, line.decimals, _PASSED.get(line.key, ""), "", line.baseline,
        line.baseline_means,
    )
    for line in _FINDING
)  # fmt: skip
"""The marks are those of issue 4 for real video of one full body."""

WHOLE_LIMBS: tuple[Column, ...] = (Column("PCK@0.1", "pck10_{}", 3, "pck10_mean_{}"),)

WHOLE_VIEWS: tuple[Column, ...] = (
    Column("people found", "people_{}", 0),
    Column("PCK@0.1", "pck10_{}", 3),
    Column("left-right swaps, share of pairs", "swapped_pairs_{}", 3, "swapped_pairs_facing_{}"),
)

WHOLE_SIZES: tuple[Column, ...] = (
    Column("people", "people_{}", 0),
    Column("recall", "recall_{}", 3),
    Column("PCK@0.1 of those found", "pck10_{}", 3, "pck10_mean_{}"),
)


def crop_tables(scores: Scores) -> str:
    """Everything about crops."""
    return "\n\n".join(
        [
            table(scores, CROPS),
            "By limb (baselines in brackets):",
            breakdown(scores, "limb", tuple(LIMBS), CROP_LIMBS),
            "By size, the longer side of the person in sides of the crop:",
            breakdown(scores, "size", tuple(crops.SIZES), CROP_SIZES),
            "By attitude, the trunk's angle to the image's up (45 and 135 degrees part them):",
            breakdown(scores, "attitude", tuple(crops.ATTITUDES), CROP_SIZES),
        ]
    )


def whole_tables(scores: Scores, lines: tuple[Line, ...]) -> str:
    """Everything about whole images."""
    limbs = [limb for limb in LIMBS if f"pck10_{limb}" in scores]
    return "\n\n".join(
        [
            table(scores, lines),
            "By limb, of the people found (median pose in the true box in brackets):",
            breakdown(scores, "limb", limbs, WHOLE_LIMBS),
            "By view (everybody faces the camera in brackets):",
            breakdown(scores, "view", tuple(whole.VIEWS), WHOLE_VIEWS),
            "By size, the longer side of the person in heights of the image:",
            breakdown(scores, "size", tuple(whole.SIZES), WHOLE_SIZES),
        ]
    )
