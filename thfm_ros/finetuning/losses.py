# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Losses of the full-size network: latents of the predicted videos, joints of the token tables."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import mse_loss, smooth_l1_loss

from thfm_ros.genception.config import GenceptionConfig
from thfm_ros.genception.token_calibration import KnownPoses
from thfm_ros.genception.token_map import TokenMap
from thfm_ros.genception.transformer import GenceptionOutputs
from thfm_ros.skeleton import JOINT_NAMES

JOINT_TOLERANCE = 0.1
"""Metres or image widths from which on the loss of a joint grows linearly."""


def latent_loss(
    predicted: Float[Tensor, "b z s i j"],
    target: Float[Tensor, "b z s i j"],
    known: Bool[Tensor, "b 1 s i j"],
) -> Float[Tensor, ""]:
    """Mean squared error of the known cells; 0 without any."""
    squared = mse_loss(predicted.float(), target.float(), reduction="none") * known
    return squared.sum() / (known.sum() * predicted.shape[1]).clamp_min(1)


def joint_loss(
    outputs: GenceptionOutputs, maps: tuple[TokenMap, ...], poses: KnownPoses
) -> Float[Tensor, ""]:
    """Smooth L1 error of the joints that the tables have, in metres or image widths.

    Args:
        outputs: of one clip.
        maps: what the tables mean; the mean over them is returned, 0 without any.
        poses: of the frames of the clip. Joints that are NaN do not count.
    """
    losses = [outputs.tokens1.new_zeros((), dtype=torch.float32)]
    for each in maps:
        table = getattr(outputs, each.table)[0].float().flatten(1)
        count = len(each.joints)
        by_row = each.layout == "rows"
        rows = table.unflatten(1, (count, -1) if by_row else (-1, count))
        rows = rows if by_row else rows.transpose(1, 2)
        inverse = torch.linalg.inv(table.new_tensor(each.matrix))
        points = (rows[..., list(each.columns)] - table.new_tensor(each.offset)) @ inverse.T
        named = [row for row, name in enumerate(each.joints) if name]
        joints = [JOINT_NAMES.index(each.joints[row]) for row in named]
        losses.append(_known_loss(points[:, named], poses.points(each.space)[:, joints]))
    return torch.stack(losses).sum() / max(len(maps), 1)


def _known_loss(
    points: Float[Tensor, "f k a"], joints: Float[np.ndarray, "f k a"]
) -> Float[Tensor, ""]:
    """Of the joints that are known; 0 without any, but with gradients.

    All processes must have gradients of the same parameters, or their sums would wait for ever.
    """
    expected = torch.from_numpy(joints).to(points)
    known = expected.isfinite().all(-1, keepdim=True)
    errors = smooth_l1_loss(points, expected.nan_to_num(), beta=JOINT_TOLERANCE, reduction="none")
    return (errors * known).sum() / (known.sum() * points.shape[-1]).clamp_min(1)


def new_token_map(config: GenceptionConfig) -> TokenMap | None:
    """The meaning that a table is trained to have if nothing is known of it.

    Row i of the second table is our joint i in metres of the optical frame; None if its rows have
    fewer than three values.
    """
    width = config.token2_output_dim
    rows = config.token2_proj_dim // width
    if width < 3:
        return None
    names = tuple(JOINT_NAMES[:rows]) + ("",) * (rows - len(JOINT_NAMES))
    identity = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    return TokenMap(
        table="tokens2", layout="rows", space="camera", columns=(0, 1, 2), joints=names,
        matrix=identity, offset=(0.0, 0.0, 0.0), residual=float("nan"), baseline=float("nan"),
        joint_residuals=(float("nan"),) * rows, frames=0, prompt="",
    )  # fmt: skip
