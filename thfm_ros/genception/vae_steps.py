"""The VAE of the full-size network in steps of one latent frame, for torch.export.

The memory of the past is an input and an output of each step, so that two small graphs per half
serve a window of any length.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thfm_ros.genception.wan_vae import Cache, WanCodec

Tensors: TypeAlias = tuple[Tensor, ...]
Step: TypeAlias = Callable[..., Tensors]


class EncoderStep(nn.Module):
    """One latent frame: the first image of a clip, or four more and what is remembered."""

    def __init__(self, codec: WanCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, video: Float[Tensor, "b 3 n h w"], *memory: Tensor) -> Tensors:
        """Latents [b, z, 1, h/8, w/8], then the memory for the next step."""
        cache = _as_cache(memory, self.codec.encoder_slots)
        latents = self.codec.encode_chunk(video, cache)
        return latents, *_as_memory(cache, [])


class DecoderStep(nn.Module):
    """One latent frame to one image (the first of a clip) or four."""

    def __init__(self, codec: WanCodec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, latents: Float[Tensor, "b z 1 i j"], *memory: Tensor) -> Tensors:
        """Images [b, 3, 1 or 4, h, w], then the memory for the next step."""
        cache = _as_cache(memory, self.codec.decoder_slots)
        video = self.codec.decode_chunk(latents, cache)
        return video, *_as_memory(cache, self.codec.empty_doublings(latents))


def _as_cache(memory: Tensors, slots: int) -> Cache:
    return [*memory, *[None] * (slots - len(memory))]


def _as_memory(cache: Cache, empty: list[Tensor]) -> Tensors:
    """Two frames each, so that every step but the first has inputs of the same shapes.

    diffusers keeps one frame where there has been but one, and marks a doubling in time that has
    seen nothing by the text "Rep". Frames of zeros before say the same: causal padding is zeros.
    """
    waiting = iter(empty)
    known = (next(waiting) if isinstance(x, str) else x for x in cache if x is not None)
    return tuple(x if x.shape[2] == 2 else torch.cat((torch.zeros_like(x), x), 2) for x in known)


@dataclass(frozen=True)
class CodecSteps:
    """One half of the codec as two graphs: the first step, and every later one."""

    first: Step
    later: Step
    chunk: int  # frames of input that a later step takes

    @torch.no_grad()
    def examples(self, x: Float[Tensor, "b c t h w"]) -> tuple[Tensors, Tensors]:
        """Inputs of the first step and of the next, when they see ``x``."""
        memory = self.first(x[:, :, :1])[1:]
        return (x[:, :, :1],), (x[:, :, 1 : 1 + self.chunk], *memory)

    def run(self, x: Float[Tensor, "b c t h w"]) -> Tensor:
        """The whole clip, step by step; the same as the unrolled half."""
        out, *memory = self.first(x[:, :, :1])
        parts = [out]
        for start in range(1, x.shape[2], self.chunk):
            out, *memory = self.later(x[:, :, start : start + self.chunk], *memory)
            parts.append(out)
        return torch.cat(parts, dim=2)
