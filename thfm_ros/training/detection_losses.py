# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Losses of the detection read-out: focal loss of the centres, generalized IoU of the boxes."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from thfm_ros.model.detection import EDGE_UNIT
from thfm_ros.training.collate import DetectionBatch

FOCAL_HIT, FOCAL_MISS = 2, 4
"""Exponents alpha and beta of CornerNet's focal loss."""


def detection_losses(outputs: Float[Tensor, "b 5 h w"], batch: DetectionBatch) -> dict[str, Tensor]:
    """Unweighted losses by name; ``outputs`` as of `model.detection.DetectionHead`."""
    return {
        "centres": focal_loss(outputs[:, 0], batch.centres, batch.ignored),
        "boxes": box_loss(outputs[:, 1:], batch.edges, batch.positive),
    }


def focal_loss(
    logits: Float[Tensor, "b h w"], truth: Float[Tensor, "b h w"], ignored: Bool[Tensor, "b h w"]
) -> Tensor:
    """CornerNet's penalty-reduced focal loss, per person (Law and Deng, ECCV 2018)."""
    probability = logits.sigmoid()
    centre = truth > 0.999
    hit = -((1 - probability) ** FOCAL_HIT) * F.logsigmoid(logits) * centre
    miss = -((1 - truth) ** FOCAL_MISS) * probability**FOCAL_HIT * F.logsigmoid(-logits)
    miss = miss * (~ignored & ~centre)
    return (hit + miss).sum() / centre.sum().clamp(min=len(logits) / 2)


def box_loss(
    outputs: Float[Tensor, "b 4 h w"],
    truth: Float[Tensor, "b 4 h w"],
    positive: Bool[Tensor, "b h w"],
) -> Tensor:
    """1 - generalized IoU (Rezatofighi et al., CVPR 2019), mean over the positive cells.

    Predicted and true box of a cell share its centre, so distances to the edges are enough.
    """
    edges = EDGE_UNIT * outputs.clamp(-6, 4).exp()
    edges, truth = (values.permute(0, 2, 3, 1)[positive] for values in (edges, truth))
    if not len(edges):
        return outputs.sum() * 0
    # The centre of a cell next to a small person may lie outside of the box: distances below 0.
    low, high = torch.minimum(edges, truth), torch.maximum(edges, truth)
    intersection = (low[:, 0] + low[:, 2]).clamp(min=0) * (low[:, 1] + low[:, 3]).clamp(min=0)
    union = _area(edges) + _area(truth) - intersection
    hull = _area(high)
    loss: Tensor = (1 - intersection / union + (hull - union) / hull).mean()
    return loss


def _area(edges: Float[Tensor, "n 4"]) -> Float[Tensor, " n"]:
    """Areas of boxes, from distances to left, top, right and bottom."""
    return (edges[:, 0] + edges[:, 2]) * (edges[:, 1] + edges[:, 3])
