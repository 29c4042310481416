"""How weights are moved: AdamW everywhere, or Muon for the matrices inside the network.

Muon (Jordan et al. 2024, torch.optim.Muon) makes the singular values of a matrix' step alike.
The first and the last layers, tables, norms and biases stay with AdamW, as its authors advise.
"""

from typing import Any

import torch
from torch import Tensor, nn

OUTER = (
    *("tokens", "encoder.at_half", "readout", "summary.2", "joint_visibility"),
    *("lifter.space", "lifter.name", "lifter.place.0"),
)
DECAY = 0.02


class Optimizer:
    """AdamW for all of a network's weights, or with ``muon`` for those that are not inner matrices.

    A convolution is a matrix of one row per output channel. Muon's steps are scaled to the size of
    AdamW's, so that one rate serves both.
    """

    def __init__(self, network: nn.Module, *, muon: bool) -> None:
        self.muon = muon
        weights = {name: (p, muon and _is_inner(name, p)) for name, p in network.named_parameters()}
        # torch.optim.Muon takes matrices only; these share their memory with the weights.
        self._views = [
            (p, nn.Parameter(p.data.view(len(p), -1))) for p, inner in weights.values() if inner
        ]
        others = [p for p, inner in weights.values() if not inner]
        groups = [
            {"params": [p for p in others if p.ndim > 1], "weight_decay": DECAY},
            {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self._parts: dict[str, torch.optim.Optimizer] = {
            "adamw": torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), fused=True)
        }
        if muon:
            flat = [view for _, view in self._views]
            self._parts["muon"] = torch.optim.Muon(
                flat, lr=1e-3, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"
            )

    def set_rate(self, rate: float) -> None:
        """Learning rate of the next step."""
        for part in self._parts.values():
            for group in part.param_groups:
                group["lr"] = rate

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self._parts.values():
            part.zero_grad()
        for parameter, _ in self._views:
            parameter.grad = None

    def step(self) -> None:
        """Move the weights along their gradients."""
        for parameter, view in self._views:
            view.grad = None if parameter.grad is None else parameter.grad.view(view.shape)
        for part in self._parts.values():
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """All that is remembered between steps."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`, or from the state of an AdamW that was all there was."""
        for name, part in self._parts.items():
            part.load_state_dict(state if "param_groups" in state else state[name])


def _is_inner(name: str, parameter: Tensor) -> bool:
    return parameter.ndim > 1 and not name.startswith(OUTER)
