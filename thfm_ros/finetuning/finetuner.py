# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Trains adapters, learned tokens and their read-outs of one loaded full-size checkpoint."""

import functools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint as recomputed

from thfm_ros.contract import PerceptionError, Task
from thfm_ros.finetuning.adapters import add_adapters
from thfm_ros.finetuning.losses import joint_loss, latent_loss, new_token_map
from thfm_ros.finetuning.sharding import mean_over_processes, shard
from thfm_ros.finetuning.targets import Example
from thfm_ros.genception.checkpoint import GenceptionCheckpoint
from thfm_ros.genception.token_map import TABLES, TokenMap, maps_of_card

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinetuneConfig:
    """Settings of a run that determine its result, together with the checkpoint and the clips."""

    tasks: tuple[Task, ...]  # whose videos are trained
    rank: int = 16  # of the adapters
    alpha: int = 16  # the adapters' product is multiplied by alpha / rank
    learning_rate: float = 1e-4
    joint_weight: float = 1.0  # of the joints' loss beside that of the latents
    gradient_norm: float = 1.0  # longer gradients are shortened to this
    batch: int = 1  # clips per step, of all processes together
    seed: int = 1  # of the adapters and of the order of the clips


class Finetuner:
    """One training run; in several processes each has its part of the parameters and clips."""

    def __init__(
        self,
        checkpoint: GenceptionCheckpoint,
        config: FinetuneConfig,
        mesh: DeviceMesh | None,
        precision: torch.dtype = torch.float32,
    ) -> None:
        """Prepare the network of a checkpoint, which is changed.

        Args:
            checkpoint: in float32, the same in all processes.
            config: settings.
            mesh: of all processes, see `sharding.process_mesh`; None: one process, not sharded.
            precision: in which the sharded network computes.

        Raises:
            GenceptionError: peft is not installed.
            CardError: the card has token maps that do not fit the tables.
        """
        self.config, self.checkpoint = config, checkpoint
        self.step_number = 0
        self.token_maps = token_maps(checkpoint)
        if not self.token_maps:
            _log.warning("no token table has three values per row: no joints are trained")
        self.network = checkpoint.transformer
        add_adapters(self.network, config.rank, config.alpha, config.seed)
        trained = {each.table for each in self.token_maps}
        for table, group in zip(TABLES, self.network.groups, strict=True):
            group.requires_grad_(table in trained)
        for block in self.network.wan.blocks:
            # Activations of one block instead of all are kept for the backward pass.
            block.forward = functools.partial(recomputed, block.forward, use_reentrant=False)
        if mesh is not None:
            shard(self.network, mesh, precision)
        self.optimizer = torch.optim.AdamW(
            self.trained_parameters, config.learning_rate, weight_decay=0.0
        )

    @property
    def trained_parameters(self) -> list[nn.Parameter]:
        """Adapters, and the tokens whose tables have a target."""
        return [each for each in self.network.parameters() if each.requires_grad]

    def step(self, examples: Sequence[Example]) -> dict[str, float]:
        """One step of the optimizer.

        Args:
            examples: of this process; every process has as many.

        Returns:
            Mean losses of all processes before the step, by task, and of the "joints".

        Raises:
            PerceptionError: losses or gradients are not finite; no parameter was changed.
        """
        self.optimizer.zero_grad(set_to_none=True)
        names = [*(task.value for task in self.config.tasks), "joints"]
        sums = torch.zeros(len(names), device=self.checkpoint.device)
        for example in examples:
            with torch.no_grad():
                latents = self.checkpoint.encode(example.video)
            for number, task in enumerate(self.config.tasks):
                latent, joints = self._losses(example, latents, task)
                count = len(examples) * len(self.config.tasks)
                loss = (latent + self.config.joint_weight * joints) / count
                loss.backward()
                sums[number] += latent.detach() / len(examples)
                sums[-1] += joints.detach() / count
        means = mean_over_processes(sums)
        losses = dict(zip(names, means.tolist(), strict=True))
        norm = float(
            _whole(nn.utils.clip_grad_norm_(self.trained_parameters, self.config.gradient_norm))
        )
        if not all(map(math.isfinite, (norm, *losses.values()))):
            raise PerceptionError(
                f"The losses of step {self.step_number + 1} or their gradients are not finite "
                f"({losses}, norm of the gradients {norm}). Begin anew, with a smaller "
                "--learning-rate and another --state folder."
            )
        self.optimizer.step()
        self.step_number += 1
        return losses

    def _losses(self, example: Example, latents: Tensor, task: Task) -> tuple[Tensor, Tensor]:
        target = example.targets[task]
        with torch.no_grad():
            wanted = self.checkpoint.encode(target.video)
        outputs = self.network(latents, self.checkpoint.prompts[task])
        return (
            latent_loss(outputs.video_latents, wanted, target.known_cells()),
            joint_loss(outputs, self.token_maps, example.poses),
        )


def token_maps(checkpoint: GenceptionCheckpoint) -> tuple[TokenMap, ...]:
    """What the token tables are trained to mean: what the card says or, else, joints in metres.

    None if the card says nothing and no table can have joints.

    Raises:
        CardError: the card has a map that no release writes, or that does not fit its table.
    """
    known = maps_of_card(checkpoint.card)
    config = checkpoint.transformer.config
    sizes = dict(zip(TABLES, (config.token1_proj_dim, config.token2_proj_dim), strict=True))
    for each in known:
        each.check_size(sizes[each.table])
    new = None if known else new_token_map(config)
    return known if new is None else (new,)


def _whole(value: Tensor) -> Tensor:
    """The value of a tensor that may be divided among processes; every process must call it."""
    return value.full_tensor() if isinstance(value, DTensor) else value
