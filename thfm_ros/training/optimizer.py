"""How weights are moved: AdamW everywhere, or Muon for the matrices inside the network.

Muon (Jordan et al. 2024, torch.optim.Muon) makes the singular values of a matrix' step alike.
The first and the last layers, tables, norms and biases stay with AdamW, as its authors advise.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

OUTER = ("tokens", "encoder.at_half", "readout", "summary.2", "joint_visibility")
OUTER_OF_LIFTER = ("lifter.space", "lifter.name", "lifter.place.0")
DECAY = 0.02


class AllAdam:
    """AdamW; norms, biases and scales do not decay."""

    kind = "adamw"

    def __init__(self, network: nn.Module) -> None:
        self._adam = _adam(list(network.parameters()))

    def set_rate(self, rate: float) -> None:
        """Learning rate of the next step."""
        for group in self._adam.param_groups:
            group["lr"] = rate

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._adam.zero_grad()

    def step(self) -> None:
        """Move the weights along their gradients."""
        self._adam.step()

    def state_dict(self) -> dict[str, Any]:
        """All that is remembered between steps."""
        return self._adam.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._adam.load_state_dict(state)


class MuonInside:
    """Muon for inner matrices and convolutions (one row per output channel), AdamW for the rest.

    Muon's steps are scaled to the size of AdamW's, so that one rate serves both.
    """

    kind = "muon"

    def __init__(self, network: nn.Module) -> None:
        inner = [p for name, p in network.named_parameters() if _is_inner(name, p)]
        # torch.optim.Muon takes matrices only; these share their memory with the weights.
        self._views = [(p, nn.Parameter(p.data.view(len(p), -1))) for p in inner]
        flat = [view for _, view in self._views]
        self._muon = torch.optim.Muon(
            flat, lr=1e-3, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw"
        )
        others = [p for name, p in network.named_parameters() if not _is_inner(name, p)]
        self._adam = _adam(others)

    def set_rate(self, rate: float) -> None:
        """Learning rate of the next step."""
        for group in (*self._muon.param_groups, *self._adam.param_groups):
            group["lr"] = rate

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._adam.zero_grad()
        for parameter, view in self._views:
            parameter.grad = view.grad = None

    def step(self) -> None:
        """Move the weights along their gradients."""
        for parameter, view in self._views:
            view.grad = None if parameter.grad is None else parameter.grad.view(view.shape)
        self._muon.step()
        self._adam.step()

    def state_dict(self) -> dict[str, Any]:
        """All that is remembered between steps."""
        return {"muon": self._muon.state_dict(), "adamw": self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._muon.load_state_dict(state["muon"])
        self._adam.load_state_dict(state["adamw"])


Optimizer = AllAdam | MuonInside


def make_optimizer(network: nn.Module, muon: bool) -> Optimizer:
    """A fresh optimizer for all of a network's weights."""
    return MuonInside(network) if muon else AllAdam(network)


def _is_inner(name: str, parameter: Tensor) -> bool:
    return parameter.ndim > 1 and not name.startswith((*OUTER, *OUTER_OF_LIFTER))


def _adam(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    def of(decays: bool) -> Iterator[nn.Parameter]:
        return (p for p in parameters if (p.ndim > 1) == decays)

    groups = [
        {"params": list(of(True)), "weight_decay": DECAY},
        {"params": list(of(False)), "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), fused=True)
