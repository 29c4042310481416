# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A mean teacher on real crops without labels: what the averaged weights see in a crop, the network
shall see in an altered version of it (Tarvainen and Valpola, NeurIPS 2017).

The teacher's certainty weights each term, so that what it does not know is not learned. Whether the
cue is a person is not the teacher's but the pseudo-label's word (evaluation/pseudo_labels.py).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from thfm_ros.contract import Task
from thfm_ros.model.network import NetworkOutputs
from thfm_ros.model.prompts import TARGET_MASK_CHANNEL, readout_slices
from thfm_ros.training.losses import weighted_mean

SHARPENING = 1.5
"""Exponent of the teacher's heatmaps: the mean of many weights is smoother than any of them."""


def consistency_losses(
    student: NetworkOutputs, teacher: NetworkOutputs, present: Float[Tensor, " b"]
) -> dict[str, Tensor]:
    """Unweighted losses by the names of the supervised ones they stand in for.

    Args:
        student: outputs for the altered crops, with gradient.
        teacher: outputs for the same crops as they are; same shapes.
        present: 1 where the cue is a person, 0 where there is none.
    """
    losses = {
        "heatmap": _heatmap_loss(student.heatmaps, teacher, present),
        "visibility": _soft_cross_entropy(student.visibility, teacher.visibility),
        "presence": F.binary_cross_entropy_with_logits(student.presence, present),
    }
    if student.dense is None or teacher.dense is None:
        return losses
    person = readout_slices()[Task.SEGMENTATION].start
    normals = readout_slices()[Task.NORMALS]
    angle = 1 - F.cosine_similarity(
        student.dense[:, normals], teacher.dense[:, normals], dim=1, eps=1e-3
    )
    return losses | {
        "mask": _soft_cross_entropy(student.dense[:, person], teacher.dense[:, person]),
        "target_mask": _target_mask_loss(student.dense, teacher.dense, present),
        "normals": weighted_mean(angle, teacher.dense[:, person].sigmoid()),
    }


def _target_mask_loss(
    student: Float[Tensor, "b c h w"], teacher: Float[Tensor, "b c h w"], present: Tensor
) -> Tensor:
    """Cross-entropy against the teacher's mask; without a person nothing belongs to the target."""
    logits, sure = student[:, TARGET_MASK_CHANNEL], teacher[:, TARGET_MASK_CHANNEL]
    target = sure.sigmoid() * present[:, None, None]
    weight = torch.where(present[:, None, None] > 0, (2 * sure.sigmoid() - 1).abs(), 1.0)
    values = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return weighted_mean(values, weight)


def _heatmap_loss(
    heatmaps: Float[Tensor, "b k gh gw"], teacher: NetworkOutputs, present: Float[Tensor, " b"]
) -> Tensor:
    """Cross-entropy against the teacher's heatmaps, weighted by how sharp and visible they are."""
    target = (teacher.heatmaps.flatten(2) * SHARPENING).softmax(-1)
    inside = teacher.visibility[..., 0].sigmoid()
    weight = target.amax(-1) * inside * present[:, None]
    cross_entropy = -(target * heatmaps.flatten(2).log_softmax(-1)).sum(-1)
    return weighted_mean(cross_entropy, weight)


def _soft_cross_entropy(logits: Tensor, teacher: Tensor) -> Tensor:
    """Binary cross-entropy against probabilities, weighted by their distance from one half."""
    target = teacher.sigmoid()
    values = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return weighted_mean(values, (2 * target - 1).abs())
