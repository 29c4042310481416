"""The full-size network in PyTorch, as what engines are made of and judged by."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from thfm_ros.engine.base import EngineError
from thfm_ros.genception.checkpoint import GenceptionCheckpoint
from thfm_ros.genception.subgraphs import (
    GenceptionParts,
    Profile,
    make_parts,
    prompt_text,
)
from thfm_ros.genception.vae_steps import Tensors
from thfm_ros.genception.verify import fixed_inputs, fixed_video

PRECISION = torch.bfloat16
"""That of the public weights. In half precision Wan's activations may overflow."""


class Reference:
    """The network in PyTorch, loaded only if something must be built, compared or replaced."""

    def __init__(self, load: Callable[[], GenceptionCheckpoint], profile: Profile) -> None:
        """``load`` puts it where the engines are going to run, in `PRECISION`."""
        self._load, self._profile = load, profile

    @functools.cached_property
    def checkpoint(self) -> GenceptionCheckpoint:
        """All of it."""
        return self._load()

    @functools.cached_property
    def parts(self) -> GenceptionParts:
        """Cut into graphs."""
        loaded = self.checkpoint
        length = int(loaded.card.network["prompt_length"])
        return make_parts(loaded.transformer, loaded.codec, self._profile, prompt_length=length)

    @functools.cached_property
    def texts(self) -> dict[str, Tensor]:
        """`prompt_text` of every task, by its name."""
        loaded = self.checkpoint
        with torch.no_grad():
            return {
                task.value: prompt_text(loaded.transformer, prompt)
                for task, prompt in loaded.prompts.items()
            }

    @functools.cached_property
    def inputs(self) -> dict[str, Tensors]:
        """What each graph is given when the network sees a fixed clip."""
        if not self.texts:
            name = self.checkpoint.card.name
            raise EngineError(f"{name} has no prompts: import it again with its embeddings.")
        video = fixed_video(self._profile, self.checkpoint.device, self.checkpoint.dtype)
        return fixed_inputs(self.parts, video, next(iter(self.texts.values())))

    def module(self, graph: str) -> nn.Module:
        """What a graph, or a whole part, is made of."""
        part, _, step = graph.partition("_")
        if not step:
            whole: nn.Module = getattr(self.parts, part)
            return whole
        steps = self.parts.encoder_steps if part == "encoder" else self.parts.decoder_steps
        assert isinstance(steps.later, nn.Module)
        return steps.later
