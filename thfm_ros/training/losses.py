# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Losses of crops and whole frames, one function per task.

Shapes: ``b`` counts frames (clips are flattened), ``h w`` is half the image's size, ``k`` counts
joints. Keypoints are in 0..1 of the image; ``weight`` weights joints, 0 for unlabelled ones.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from thfm_ros.contract import Task
from thfm_ros.model.heads import cell_centres
from thfm_ros.model.network import NetworkOutputs
from thfm_ros.model.prompts import READOUT_CHANNELS, TARGET_MASK_CHANNEL, readout_slices
from thfm_ros.skeleton import FLIP_PAIRS
from thfm_ros.training.collate import CropBatch

CELL_SIGMA = 1.0
"""Standard deviation of the target heatmaps, in cells."""

GRADIENT_STRIDES = (1, 2, 4, 8)
"""Distances in cells of the pixels whose depths are compared; people are a few dozen cells high."""

STILL = 0.75
"""Cells that a joint may move between two frames for their heatmaps to be compared."""

LEFT = [joint for joint, flipped in enumerate(map(int, FLIP_PAIRS)) if joint < flipped]
RIGHT = [int(FLIP_PAIRS[joint]) for joint in LEFT]
MIN_PAIR_DISTANCE = 1.5
"""Cells between a left joint and the right one; closer pairs cannot be told apart."""

OCCLUDED_WEIGHT = 0.5
BACKGROUND_WEIGHT = 0.4  # of the background among the body parts


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the losses, found by short runs (docs/experiments/losses_and_labels.md)."""

    mask: float = 1.0
    dice: float = 0.0
    parts: float = 1.0
    relative_depth: float = 3.0
    depth_gradient: float = 0.0
    normals: float = 1.0
    dense_pose: float = 1.0
    votes: float = 2.0
    heatmap: float = 1.0
    peaks: float = 1.0
    temporal_consistency: float = 0.3
    left_right: float = 0.0
    positions: float = 3.0
    pose_shape: float = 0.0
    visibility: float = 0.3
    log_width: float = 0.3
    presence: float = 0.3
    target_mask: float = 2.0
    centres: float = 1.0
    boxes: float = 1.0


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean weighted by ``weight``, which may be a mask; 0 if all weights are 0."""
    weight = weight.to(values.dtype)
    return (torch.nan_to_num(values) * weight).sum() / weight.sum().clamp(min=1)


def mask_loss(logits: Float[Tensor, "b h w"], person: Bool[Tensor, "b h w"]) -> Tensor:
    """Binary cross-entropy and Dice loss, so that small people count as much as large ones."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, person.float())
    return cross_entropy + 0.5 * dice_loss(logits, person)


def dice_loss(logits: Float[Tensor, "b h w"], person: Bool[Tensor, "b h w"]) -> Tensor:
    """1 - Dice coefficient of each image, mean over the images."""
    truth, probability = person.float(), logits.sigmoid()
    intersection = 2 * (probability * truth).sum((1, 2)) + 1
    return 1 - (intersection / (probability.sum((1, 2)) + truth.sum((1, 2)) + 1)).mean()


def heatmap_loss(
    heatmaps: Float[Tensor, "b k gh gw"],
    peaks: Float[Tensor, "b k 2"],
    weight: Float[Tensor, "b k"],
) -> Tensor:
    """Cross-entropy against a Gaussian around the true keypoint."""
    rows, columns = heatmaps.shape[-2:]
    y, x = (centres.to(peaks) for centres in cell_centres(rows, columns))
    down = (y[:, None] - peaks[..., 1, None, None]) * rows
    right = (x[None, :] - peaks[..., 0, None, None]) * columns
    target = torch.exp(-0.5 * (down**2 + right**2) / CELL_SIGMA**2).flatten(2)
    target = target / target.sum(-1, keepdim=True).clamp(min=1e-6)
    cross_entropy = -(target * heatmaps.flatten(2).log_softmax(-1)).sum(-1)
    return weighted_mean(cross_entropy, weight)


def temporal_consistency_loss(
    heatmaps: Float[Tensor, "b k gh gw"],
    peaks: Float[Tensor, "b k 2"],
    weight: Float[Tensor, "b k"],
    frames: int,
) -> Tensor:
    """How much the heatmap of a joint at rest changes between the ``frames`` of a clip.

    Jensen-Shannon divergence in nats. Jitter is a peak that jumps between two likely places, which
    no loss of single frames penalizes.
    """
    rows, columns = heatmaps.shape[-2:]
    log_probability = heatmaps.flatten(2).log_softmax(-1).unflatten(0, (-1, frames))
    cell = peaks.unflatten(0, (-1, frames)) * peaks.new_tensor([columns, rows])
    known = (weight > 0).unflatten(0, (-1, frames))
    still = (cell[:, 1:] - cell[:, :-1]).norm(dim=-1) < STILL
    compared = still & known[:, 1:] & known[:, :-1]
    before, after = log_probability[:, :-1], log_probability[:, 1:]
    mean = torch.logaddexp(before, after) - np.log(2)
    divergence = before.exp() * (before - mean) + after.exp() * (after - mean)
    return weighted_mean(divergence.sum(-1) / 2, compared)


def left_right_loss(
    heatmaps: Float[Tensor, "b k gh gw"],
    peaks: Float[Tensor, "b k 2"],
    weight: Float[Tensor, "b k"],
) -> Tensor:
    """Cross-entropy of the choice between a pair of joints and the pair with its sides swapped.

    For pairs in the image that are far enough from each other. In the heatmaps' own loss a
    left-right swap is one error among many; for people seen from the side it is the main one.
    """
    rows, columns = heatmaps.shape[-2:]
    position = peaks * peaks.new_tensor([columns, rows])
    column = position[..., 0].long().clamp(0, columns - 1)
    row = position[..., 1].long().clamp(0, rows - 1)
    cell = row * columns + column
    logits = heatmaps.flatten(2)

    def at(joint: list[int], place: list[int]) -> Tensor:
        """Logits of some joints at the true cells of others."""
        return logits[:, joint].gather(-1, cell[:, place, None])[..., 0]

    straight, swapped = at(LEFT, LEFT) + at(RIGHT, RIGHT), at(LEFT, RIGHT) + at(RIGHT, LEFT)
    distance = (position[:, LEFT] - position[:, RIGHT]).norm(dim=-1)
    both = torch.minimum(weight[:, LEFT], weight[:, RIGHT])
    return weighted_mean(F.softplus(swapped - straight), both * (distance > MIN_PAIR_DISTANCE))


def aligned_errors(
    predicted: Float[Tensor, "b k 3"], truth: Float[Tensor, "b k 3"]
) -> Float[Tensor, "b k 3"]:
    """Errors in metres after the similarity transform that fits best.

    The transform is constant for the gradient: since it is optimal, its own change hardly matters
    (Umeyama 1991; the counterpart of metrics.pose.procrustes).
    """
    a, b = predicted - predicted.mean(1, keepdim=True), truth - truth.mean(1, keepdim=True)
    with torch.no_grad():
        u, s, vt = torch.linalg.svd(torch.nan_to_num(a.transpose(1, 2) @ b))
        flip = torch.ones_like(s)
        flip[:, 2] = torch.linalg.det(u @ vt).sign()
        rotation = (u * flip[:, None]) @ vt
        scale = (s * flip).sum(1) / a.square().sum((1, 2)).clamp(min=1e-6)
    errors: Tensor = scale[:, None, None] * (a @ rotation) - b
    return errors


def depth_gradient_loss(
    relative_depth: Float[Tensor, "b h w"],
    truth: Float[Tensor, "b h w"],
    instances: UInt8[Tensor, "b h w"],
    known: Bool[Tensor, "b h w"],
) -> Tensor:
    """Errors of depth differences within one person, metres (as in MegaDepth and MiDaS).

    How far a whole body leans is hard to see and dominates errors of the depth itself; limbs
    stand out only in differences.
    """
    error, instances = relative_depth - truth, instances.short()
    means = []
    for stride in GRADIENT_STRIDES:
        for axis in (1, 2):
            count = relative_depth.shape[axis] - stride
            difference, change = (
                values.narrow(axis, stride, count) - values.narrow(axis, 0, count)
                for values in (error, instances)
            )
            both = known.narrow(axis, stride, count) & known.narrow(axis, 0, count)
            means.append(weighted_mean(difference.abs(), both & (change == 0)))
    return torch.stack(means).mean()


def dense_losses(maps: Float[Tensor, "b c h w"], batch: CropBatch) -> dict[str, Tensor]:
    """Losses of all dense tasks, and of the target's mask in networks that have it."""
    of_task = {task: maps[:, channels] for task, channels in readout_slices().items()}
    relative_depth = of_task[Task.DEPTH][:, 0]
    person = batch.instances > 0
    part_weight = maps.new_ones(READOUT_CHANNELS[Task.PARTS])
    part_weight[0] = BACKGROUND_WEIGHT
    normals = F.normalize(batch.normals.permute(0, 3, 1, 2), dim=1, eps=1e-3)
    angle = 1 - F.cosine_similarity(of_task[Task.NORMALS], normals, dim=1, eps=1e-3)
    depth = F.smooth_l1_loss(relative_depth, batch.relative_depth, beta=0.1, reduction="none")
    dense_pose = (of_task[Task.DENSE_POSE] - batch.dense_pose.permute(0, 3, 1, 2)).abs().sum(1)
    votes = (of_task[Task.INSTANCES] - batch.votes.permute(0, 3, 1, 2)).abs().sum(1)
    losses = {}
    labelled = ~batch.presence.isnan()
    if maps.shape[1] > TARGET_MASK_CHANNEL and labelled.any():
        target = batch.instances[labelled] == 1
        losses["target_mask"] = mask_loss(maps[labelled, TARGET_MASK_CHANNEL], target)
    return losses | {
        "mask": mask_loss(of_task[Task.SEGMENTATION][:, 0], person),
        "dice": dice_loss(of_task[Task.SEGMENTATION][:, 0], person),
        "parts": F.cross_entropy(of_task[Task.PARTS], batch.parts.long(), weight=part_weight),
        "relative_depth": weighted_mean(depth, batch.depth_known),
        "depth_gradient": depth_gradient_loss(
            relative_depth, batch.relative_depth, batch.instances, batch.depth_known
        ),
        "normals": weighted_mean(angle, person),
        "dense_pose": weighted_mean(dense_pose, person),
        "votes": weighted_mean(votes, person),
    }


def body_losses(outputs: NetworkOutputs, batch: CropBatch) -> dict[str, Tensor]:
    """Losses of the target's joints; joints outside the image have no weight."""
    weight = (batch.visibility == 2).float() + OCCLUDED_WEIGHT * (batch.visibility == 1).float()
    labelled = (~batch.presence.isnan()).float()
    known = (batch.presence > 0).float() * (~batch.log_width.isnan()).float()
    inside_visible = torch.stack([batch.visibility > 0, batch.visibility == 2], -1).float()
    visibility = F.binary_cross_entropy_with_logits(
        outputs.visibility, inside_visible, reduction="none"
    )
    presence = F.binary_cross_entropy_with_logits(
        outputs.presence, torch.nan_to_num(batch.presence), reduction="none"
    )
    positions = (outputs.positions - batch.positions).abs().sum(-1).mean(1)
    # Where positions are unknown, the result has no weight, but must not be NaN.
    truth = torch.nan_to_num(batch.positions)
    shape = aligned_errors(outputs.positions, truth).norm(dim=-1).mean(1)
    log_width = (outputs.log_width - batch.log_width).abs()
    losses = {
        "heatmap": heatmap_loss(outputs.heatmaps, batch.peaks, weight),
        "left_right": left_right_loss(outputs.heatmaps, batch.peaks, weight),
        "peaks": weighted_mean((outputs.peaks - batch.peaks).abs().sum(-1), weight),
        "positions": weighted_mean(positions, known),
        "pose_shape": weighted_mean(shape, known),
        "visibility": weighted_mean(visibility.mean((1, 2)), labelled),
        "log_width": weighted_mean(log_width, known),
        "presence": weighted_mean(presence, labelled),
    }
    frames = batch.image.shape[1]
    if frames > 1:
        losses["temporal_consistency"] = temporal_consistency_loss(
            outputs.heatmaps, batch.peaks, weight, frames
        )
    return losses


def crop_losses(outputs: NetworkOutputs, batch: CropBatch) -> dict[str, Tensor]:
    """Unweighted losses of a batch by name; those of dense tasks if there are dense outputs."""
    dense = {} if outputs.dense is None else dense_losses(outputs.dense, batch)
    return body_losses(outputs, batch) | dense


def weighted_sum(losses: dict[str, Tensor], weights: LossWeights) -> Tensor:
    """The total of losses, weighted by name."""
    terms = (getattr(weights, name) * value for name, value in losses.items())
    return sum(terms, torch.zeros(()))
