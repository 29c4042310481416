# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The VAE of the full-size network in steps of one latent frame, for torch.export.

The feature cache of the previous frames is an input and an output of each step, so that two small
graphs per half (encoder, decoder) serve a window of any length.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thfm_ros.genception.wan_vae import FeatureCache, WanVae

Tensors: TypeAlias = tuple[Tensor, ...]
Step: TypeAlias = Callable[..., Tensors]


class EncoderStep(nn.Module):
    """Encodes the first frame of a clip, or the next four, to one latent frame."""

    def __init__(self, vae: WanVae) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, video: Float[Tensor, "b 3 n h w"], *cached: Tensor) -> Tensors:
        """Latents [b, z, 1, h/8, w/8], then the feature cache for the next step."""
        cache = _as_cache(cached, self.vae.encoder_cache_size)
        latents = self.vae.encode_chunk(video, cache)
        return latents, *_as_tensors(cache, [])


class DecoderStep(nn.Module):
    """Decodes one latent frame to one frame (the first of a clip) or four."""

    def __init__(self, vae: WanVae) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Float[Tensor, "b z 1 i j"], *cached: Tensor) -> Tensors:
        """Video [b, 3, 1 or 4, h, w] in -1..1, then the feature cache for the next step."""
        cache = _as_cache(cached, self.vae.decoder_cache_size)
        video = self.vae.decode_chunk(latents, cache)
        return video, *_as_tensors(cache, self.vae.empty_upsample_caches(latents))


def _as_cache(cached: Tensors, size: int) -> FeatureCache:
    return [*cached, *[None] * (size - len(cached))]


def _as_tensors(cache: FeatureCache, empty: list[Tensor]) -> Tensors:
    """Two frames per entry, so that all steps except the first have inputs of the same shapes.

    diffusers stores one frame where only one was processed, and marks a temporal upsampling layer
    that has not run yet by the string "Rep". Preceding frames of zeros are equivalent, since
    causal padding is zeros.
    """
    empty_caches = iter(empty)
    stored = (next(empty_caches) if isinstance(x, str) else x for x in cache if x is not None)
    return tuple(x if x.shape[2] == 2 else torch.cat((torch.zeros_like(x), x), 2) for x in stored)


@dataclass(frozen=True)
class VaeSteps:
    """Encoder or decoder of the VAE as two graphs: the first step, and all later ones."""

    first: Step
    later: Step
    chunk: int  # input frames of a later step

    @torch.no_grad()
    def examples(self, x: Float[Tensor, "b c t h w"]) -> tuple[Tensors, Tensors]:
        """Inputs of the first and of the second step when ``x`` is processed."""
        cached = self.first(x[:, :, :1])[1:]
        return (x[:, :, :1],), (x[:, :, 1 : 1 + self.chunk], *cached)

    def run(self, x: Float[Tensor, "b c t h w"]) -> Tensor:
        """The whole clip, step by step; equal to the unrolled encoder or decoder."""
        out, *cached = self.first(x[:, :, :1])
        chunks = [out]
        for start in range(1, x.shape[2], self.chunk):
            out, *cached = self.later(x[:, :, start : start + self.chunk], *cached)
            chunks.append(out)
        return torch.cat(chunks, dim=2)
