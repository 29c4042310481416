"""One function per task: how wrong the network is about one batch.

Shapes: ``b`` counts frames (clips are flattened), ``h w`` is half the image's size.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from thfm_ros.model.heads import cell_centres
from thfm_ros.model.network import NetworkOutputs
from thfm_ros.skeleton import FLIP_PAIRS
from thfm_ros.training.crop_samples import Sample

CELL_SIGMA = 1.0  # of the target heatmaps, in cells
STRIDES = (1, 2, 4, 8)
"""Cells between the two ends of a slope; a body is a few dozen high."""

STILL = 0.75
"""Cells that a joint may move between two frames for its heatmaps to have to agree."""

LEFT = [joint for joint, twin in enumerate(map(int, FLIP_PAIRS)) if joint < twin]
RIGHT = [int(FLIP_PAIRS[joint]) for joint in LEFT]
APART = 1.5
"""Cells between a joint and its twin; who is nearer cannot be told apart."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How much each task counts. Found by short runs: see docs/experiments/losses_and_labels.md."""

    mask: float = 1.0
    overlap: float = 0.0
    parts: float = 1.0
    relief: float = 3.0
    slope: float = 0.0
    normals: float = 1.0
    surface: float = 1.0
    votes: float = 2.0
    heatmap: float = 1.0
    peaks: float = 1.0
    steady: float = 0.3
    sides: float = 0.0
    positions: float = 3.0
    shape: float = 0.0
    visibility: float = 0.3
    log_width: float = 0.3
    presence: float = 0.3


@dataclass(frozen=True)
class Batch:
    """Samples stacked, as tensors; ``shape`` is (clips, frames)."""

    image: Tensor  # [b t 3 H W] in 0..255
    instances: Tensor
    parts: Tensor
    relief: Tensor
    relief_known: Tensor
    normals: Tensor
    surface: Tensor
    votes: Tensor
    peaks: Tensor
    visibility: Tensor
    positions: Tensor
    log_width: Tensor
    presence: Tensor


def to_batch(samples: list[Sample]) -> Batch:
    """Stack samples of one size and length; labels are flattened over clips and frames."""
    stacked = [np.stack(values) for values in zip(*samples, strict=True)]
    image = torch.from_numpy(stacked[0]).permute(0, 1, 4, 2, 3).float()
    labels = [torch.from_numpy(np.ascontiguousarray(v)).flatten(0, 1) for v in stacked[1:]]
    return Batch(image, *labels)


def mean_where(values: Tensor, where: Tensor) -> Tensor:
    """Mean over the places where ``where`` is positive (it may weigh them); 0 if there are none."""
    weight = where.to(values.dtype)
    return (torch.nan_to_num(values) * weight).sum() / weight.sum().clamp(min=1)


def mask_loss(logits: Float[Tensor, "b h w"], person: Tensor) -> Tensor:
    """Binary cross-entropy, and Dice so that small people count as much as large ones."""
    cross = F.binary_cross_entropy_with_logits(logits, person.float())
    return cross + 0.5 * overlap_loss(logits, person)


def overlap_loss(logits: Float[Tensor, "b h w"], person: Tensor) -> Tensor:
    """Dice: what each image's mask lacks to the true one, whatever its size."""
    target, belief = person.float(), logits.sigmoid()
    shared = 2 * (belief * target).sum((1, 2)) + 1
    return 1 - (shared / (belief.sum((1, 2)) + target.sum((1, 2)) + 1)).mean()


def heatmap_loss(heatmaps: Float[Tensor, "b k gh gw"], peaks: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy against a Gaussian around the joint."""
    rows, columns = heatmaps.shape[-2:]
    y, x = cell_centres(rows, columns)
    down = (y[:, None] - peaks[..., 1, None, None]) * rows
    right = (x[None, :] - peaks[..., 0, None, None]) * columns
    target = torch.exp(-0.5 * (down**2 + right**2) / CELL_SIGMA**2).flatten(2)
    target = target / target.sum(-1, keepdim=True).clamp(min=1e-6)
    cross = -(target * heatmaps.flatten(2).log_softmax(-1)).sum(-1)
    return mean_where(cross, weight)


def steady_loss(
    heatmaps: Float[Tensor, "b k gh gw"], peaks: Tensor, weight: Tensor, frames: int
) -> Tensor:
    """How much the belief about a joint changes from frame to frame while the joint does not.

    Jensen-Shannon divergence, nats. Jitter is jumps between two places that both look right: a
    loss on each frame alone does not mind them.
    """
    rows, columns = heatmaps.shape[-2:]
    belief = heatmaps.flatten(2).log_softmax(-1).unflatten(0, (-1, frames))
    place = peaks.unflatten(0, (-1, frames)) * torch.tensor([columns, rows])
    known = (weight > 0).unflatten(0, (-1, frames))
    still = (place[:, 1:] - place[:, :-1]).norm(dim=-1) < STILL
    where = still & known[:, 1:] & known[:, :-1]
    before, after = belief[:, :-1], belief[:, 1:]
    both = torch.logaddexp(before, after) - np.log(2)
    apart = before.exp() * (before - both) + after.exp() * (after - both)
    return mean_where(apart.sum(-1) / 2, where)


def sides_loss(heatmaps: Float[Tensor, "b k gh gw"], peaks: Tensor, weight: Tensor) -> Tensor:
    """How much is believed in a left joint where the right one is, and the other way round.

    Cross-entropy of the choice between the two, for joints in the image that are apart. In the
    heatmaps' own loss an exchange is one mistake among many; from the side it is the mistake.
    """
    rows, columns = heatmaps.shape[-2:]
    place = peaks * torch.tensor([columns, rows])
    column = place[..., 0].long().clamp(0, columns - 1)
    row = place[..., 1].long().clamp(0, rows - 1)
    cell = row * columns + column
    belief = heatmaps.flatten(2)

    def at(joint: list[int], where: list[int]) -> Tensor:
        return belief[:, joint].gather(-1, cell[:, where, None])[..., 0]

    straight, crossed = at(LEFT, LEFT) + at(RIGHT, RIGHT), at(LEFT, RIGHT) + at(RIGHT, LEFT)
    apart = (place[:, LEFT] - place[:, RIGHT]).norm(dim=-1) > APART
    both = torch.minimum(weight[:, LEFT], weight[:, RIGHT])
    return mean_where(F.softplus(crossed - straight), both * apart)


def aligned(predicted: Float[Tensor, "b k 3"], truth: Tensor) -> Float[Tensor, "b k 3"]:
    """What is left between skeletons after the similarity transform that fits best, metres.

    The transform is taken as given by the gradient: it is the best one, so it hardly matters how
    it would change (Umeyama 1991; the twin of metrics.procrustes).
    """
    a, b = predicted - predicted.mean(1, keepdim=True), truth - truth.mean(1, keepdim=True)
    with torch.no_grad():
        u, s, vt = torch.linalg.svd(torch.nan_to_num(a.transpose(1, 2) @ b))
        flip = torch.ones_like(s)
        flip[:, 2] = torch.linalg.det(u @ vt).sign()
        turn = (u * flip[:, None]) @ vt
        scale = (s * flip).sum(1) / a.square().sum((1, 2)).clamp(min=1e-6)
    apart: Tensor = scale[:, None, None] * (a @ turn) - b
    return apart


def slope_loss(
    relief: Float[Tensor, "b h w"], truth: Tensor, instances: Tensor, known: Tensor
) -> Tensor:
    """How wrong differences in depth within one person are, metres.

    How far a whole body leans is hard to see and outweighs everything else in the depth itself;
    limbs stand out in differences only (the gradient matching of MegaDepth and MiDaS).
    """
    error = relief - truth
    found = []
    for stride in STRIDES:
        for axis in (1, 2):
            count = relief.shape[axis] - stride
            apart, alike = (v.narrow(axis, stride, count) - v.narrow(axis, 0, count)
                            for v in (error, instances.short()))  # fmt: skip
            both = known.narrow(axis, stride, count) & known.narrow(axis, 0, count)
            found.append(mean_where(apart.abs(), both & (alike == 0)))
    return torch.stack(found).mean()


def dense_losses(maps: Float[Tensor, "b 27 h w"], batch: Batch) -> dict[str, Tensor]:
    """Of all dense prompts; the order of channels is that of prompts.READOUT_CHANNELS."""
    mask, parts, relief, normals, surface, votes = maps.split([1, 17, 1, 3, 3, 2], dim=1)
    person = batch.instances > 0
    class_weight = torch.ones(17)
    class_weight[0] = 0.4
    facing = F.normalize(batch.normals.permute(0, 3, 1, 2), dim=1, eps=1e-3)
    angle = 1 - F.cosine_similarity(normals, facing, dim=1, eps=1e-3)
    far = F.smooth_l1_loss(relief[:, 0], batch.relief, beta=0.1, reduction="none")
    on_body = (surface - batch.surface.permute(0, 3, 1, 2)).abs().sum(1)
    to_centre = (votes - batch.votes.permute(0, 3, 1, 2)).abs().sum(1)
    return {
        "mask": mask_loss(mask[:, 0], person),
        "overlap": overlap_loss(mask[:, 0], person),
        "parts": F.cross_entropy(parts, batch.parts.long(), weight=class_weight),
        "relief": mean_where(far, batch.relief_known),
        "slope": slope_loss(relief[:, 0], batch.relief, batch.instances, batch.relief_known),
        "normals": mean_where(angle, person),
        "surface": mean_where(on_body, person),
        "votes": mean_where(to_centre, person),
    }


def body_losses(out: NetworkOutputs, batch: Batch) -> dict[str, Tensor]:
    """Of the target's joints; hidden joints count half, joints outside the image not at all."""
    weight = (batch.visibility == 2).float() + 0.5 * (batch.visibility == 1).float()
    here = (batch.presence > 0).float()
    asked = (~batch.presence.isnan()).float()
    seen = torch.stack([batch.visibility > 0, batch.visibility == 2], -1).float()
    visibility = F.binary_cross_entropy_with_logits(out.visibility, seen, reduction="none")
    presence = F.binary_cross_entropy_with_logits(
        out.presence, torch.nan_to_num(batch.presence), reduction="none"
    )
    known = here * (~batch.log_width.isnan()).float()
    apart = (out.positions - batch.positions).abs().sum(-1).mean(1)
    # Composed frames have no positions; any numbers do where nothing is asked.
    shape = aligned(out.positions, torch.nan_to_num(batch.positions)).norm(dim=-1).mean(1)
    found = {
        "heatmap": heatmap_loss(out.heatmaps, batch.peaks, weight),
        "sides": sides_loss(out.heatmaps, batch.peaks, weight),
        "peaks": mean_where((out.peaks - batch.peaks).abs().sum(-1), weight),
        "positions": mean_where(apart, known),
        "shape": mean_where(shape, known),
        "visibility": mean_where(visibility.mean((1, 2)), asked),
        "log_width": mean_where((out.log_width - batch.log_width).abs(), known),
        "presence": mean_where(presence, asked),
    }
    frames = batch.image.shape[1]
    if frames > 1:
        found["steady"] = steady_loss(out.heatmaps, batch.peaks, weight, frames)
    return found


def losses(out: NetworkOutputs, batch: Batch) -> dict[str, Tensor]:
    """Unweighted losses by name."""
    found = body_losses(out, batch)
    if out.dense is not None:
        found |= dense_losses(out.dense, batch)
    return found


def total(found: dict[str, Tensor], weights: Weights) -> Tensor:
    """Their weighted sum."""
    of = {field.name: getattr(weights, field.name) for field in fields(weights)}
    return sum((of[name] * value for name, value in found.items()), torch.zeros(()))
