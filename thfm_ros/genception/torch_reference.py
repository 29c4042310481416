# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The full-size network in PyTorch: engines are compiled from it and compared with it."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from thfm_ros.engine.base import EngineError
from thfm_ros.genception.checkpoint import GenceptionCheckpoint
from thfm_ros.genception.subgraphs import (
    GenceptionSubgraphs,
    Profile,
    make_subgraphs,
    prompt_key_values,
)
from thfm_ros.genception.vae_steps import Tensors
from thfm_ros.genception.verify import fixed_inputs, fixed_video

PRECISION = torch.bfloat16
"""Precision of the public weights. In float16 Wan's activations may overflow."""


class TorchReference:
    """The network in PyTorch, loaded when an engine must be built, compared or replaced."""

    def __init__(self, load: Callable[[], GenceptionCheckpoint], profile: Profile) -> None:
        """``load`` loads the checkpoint on the device of the engines, in `PRECISION`."""
        self._load, self._profile = load, profile

    @functools.cached_property
    def checkpoint(self) -> GenceptionCheckpoint:
        """The loaded checkpoint."""
        return self._load()

    @functools.cached_property
    def subgraphs(self) -> GenceptionSubgraphs:
        """Its subgraphs, with the prompt as an input."""
        loaded = self.checkpoint
        length = int(loaded.card.network["prompt_length"])
        return make_subgraphs(loaded.transformer, loaded.vae, self._profile, prompt_length=length)

    @functools.cached_property
    def prompts(self) -> dict[str, Tensor]:
        """`prompt_key_values` of every task, by the task's name."""
        loaded = self.checkpoint
        with torch.no_grad():
            return {
                task.value: prompt_key_values(loaded.transformer, prompt)
                for task, prompt in loaded.prompts.items()
            }

    @functools.cached_property
    def inputs(self) -> dict[str, Tensors]:
        """Inputs of each compiled graph, by its name, on a fixed clip.

        Raises:
            EngineError: the checkpoint has no prompts.
        """
        if not self.prompts:
            name = self.checkpoint.card.name
            raise EngineError(f"{name} has no prompts: import it again with its embeddings.")
        video = fixed_video(self._profile, self.checkpoint.device, self.checkpoint.dtype)
        return fixed_inputs(self.subgraphs, video, next(iter(self.prompts.values())))

    def module(self, name: str) -> nn.Module:
        """The module of a compiled graph ("decoder_later") or of a whole subgraph ("decoder")."""
        subgraph, _, step = name.partition("_")
        if not step:
            whole: nn.Module = getattr(self.subgraphs, subgraph)
            return whole
        both = self.subgraphs
        steps = both.encoder_steps if subgraph == "encoder" else both.decoder_steps
        assert isinstance(steps.later, nn.Module)
        return steps.later
