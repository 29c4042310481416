# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Optimizers: AdamW for all weights, or Muon for the matrices inside the network.

Muon (Jordan et al. 2024, torch.optim.Muon) makes the singular values of a matrix' update equal.
First and last layers, embeddings, norms and biases stay with AdamW, as its authors advise.
"""

from typing import Any

import torch
from torch import Tensor, nn

from thfm_ros.training.prior import is_pretrained

OUTER_LAYERS = (
    *("tokens", "encoder.scratch.at_half", "encoder.shares", "readout", "summary.2"),
    *("joint_visibility", "lifter.space", "lifter.name", "lifter.place.0"),
)
"""Beginnings of the names of weights that Muon does not update, although they are matrices."""

WEIGHT_DECAY = 0.02
BETAS = (0.9, 0.98)


class Optimizer:
    """AdamW for all weights of a network, or with ``muon`` for those that are no inner matrices.

    A convolution counts as a matrix with one row per output channel. Muon's updates are scaled to
    the size of AdamW's, so that one learning rate serves both. Pretrained layers have a smaller
    learning rate and no weight decay, and are never updated by Muon.
    """

    def __init__(self, network: nn.Module, *, muon: bool) -> None:
        self.muon = muon
        named = dict(network.named_parameters())
        pretrained = [p for name, p in named.items() if is_pretrained(name)]
        others = {name: p for name, p in named.items() if not is_pretrained(name)}
        inner = [p for name, p in others.items() if muon and _is_inner_matrix(name, p)]
        outer = [p for name, p in others.items() if not (muon and _is_inner_matrix(name, p))]
        # torch.optim.Muon takes matrices only; these share their memory with the weights.
        self._matrices = [(p, nn.Parameter(p.data.view(len(p), -1))) for p in inner]
        groups = [
            {"params": [p for p in outer if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in outer if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self._optimizers: dict[str, torch.optim.Optimizer] = {
            "adamw": torch.optim.AdamW(groups, betas=BETAS, fused=True)
        }
        if pretrained:
            self._optimizers["prior"] = torch.optim.AdamW(
                pretrained, betas=BETAS, weight_decay=0.0, fused=True
            )
        if muon:
            self._optimizers["muon"] = torch.optim.Muon(
                [matrix for _, matrix in self._matrices],
                weight_decay=WEIGHT_DECAY,
                adjust_lr_fn="match_rms_adamw",
            )

    def set_learning_rate(self, learning_rate: float, prior_share: float = 1.0) -> None:
        """Learning rate of the next step; that of pretrained layers is ``prior_share`` of it."""
        for name, optimizer in self._optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * (prior_share if name == "prior" else 1.0)

    def zero_grad(self) -> None:
        """Delete all gradients."""
        for optimizer in self._optimizers.values():
            optimizer.zero_grad()
        for parameter, _ in self._matrices:
            parameter.grad = None

    def step(self) -> None:
        """Update the weights by their gradients."""
        for parameter, matrix in self._matrices:
            matrix.grad = None if parameter.grad is None else parameter.grad.view(matrix.shape)
        for optimizer in self._optimizers.values():
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """The state of all optimizers, by name."""
        return {name: each.state_dict() for name, each in self._optimizers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`."""
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state[name])


def _is_inner_matrix(name: str, parameter: Tensor) -> bool:
    return parameter.ndim > 1 and not name.startswith(OUTER_LAYERS)
