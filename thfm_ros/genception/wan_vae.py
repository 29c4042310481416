# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The VAE of the full-size family: diffusers' Wan 2.1 VAE, in two variants.

``stock`` is the Wan VAE as diffusers computes it. ``as_released`` also reproduces two deviations
of the code that was released with the public checkpoints, which runs the same weights:

1. its mid-block attention attends to one cell at a time, and so returns its value projection;
2. after the second temporal upsampling, the four frames of a chunk are in the order 0, 2, 1, 3
   while the remaining causal convolutions run over them; only the output is sorted.

Both variants match their reference data within 1e-5. Which of them the public
transformer was trained with is not known, nor how much the difference matters with the real
weights: see docs/full_size.md.
"""

import json
import reprlib
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thfm_ros.genception.config import VAE_SPATIAL, VAE_TEMPORAL, GenceptionError

FeatureCache = list[Any]
"""diffusers' feature cache of the causal convolutions: tensors, None, or the string "Rep"."""


class VaeVariant(str, Enum):
    """How the VAE computes with its one set of weights; see the module."""

    STOCK = "stock"
    AS_RELEASED = "as_released"


# Position of frame i in a chunk of four. The permutation is its own inverse.
_RELEASED_ORDER = [0, 2, 1, 3]


class _ValueAttention(nn.Module):
    """The mid-block attention over a sequence of length one, with the original's weights."""

    def __init__(self, original: Any) -> None:
        super().__init__()
        self.norm, self.to_qkv, self.proj = original.norm, original.to_qkv, original.proj

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t h w"]:
        batch, _, count = x.shape[:3]
        frames = x.transpose(1, 2).flatten(0, 1)
        value = self.to_qkv(self.norm(frames)).chunk(3, dim=1)[2]
        out: Tensor = self.proj(value).reshape(batch, count, *frames.shape[1:])
        return out.transpose(1, 2) + x


def _shuffle(_: Any, __: Any, out: Tensor) -> Tensor:
    return out[:, :, _RELEASED_ORDER] if out.shape[2] == VAE_TEMPORAL else out


class WanVae(nn.Module):
    """Encodes video to latents and decodes it. Encoding takes the posterior's mode, no sample."""

    def __init__(
        self,
        vae: Any,
        variant: VaeVariant = VaeVariant.STOCK,
        *,
        normalize_latents: bool = False,
    ) -> None:
        """Wrap ``vae``, which is modified and must not be used elsewhere.

        Args:
            vae: diffusers' AutoencoderKLWan of Wan 2.1 (the latents of Wan 2.2 differ).
            variant: see the module.
            normalize_latents: shift and scale latents to mean 0 and standard deviation 1 with the
                values in the VAE's config. The public checkpoints take them raw.

        Raises:
            GenceptionError: it is the VAE of Wan 2.2.
        """
        super().__init__()
        if vae.config.is_residual or vae.config.patch_size is not None:
            raise GenceptionError(
                "This is the VAE of Wan 2.2; the public checkpoints need that of Wan 2.1 "
                "(16 latent channels, folder vae/ of the public release)."
            )
        self.mean: Tensor
        self.std: Tensor
        self.vae = vae
        self.variant = variant
        dtype, channels = next(vae.parameters()).dtype, (1, vae.config.z_dim, 1, 1, 1)
        mean, std = vae.config.latents_mean, vae.config.latents_std
        identity = ([0.0] * vae.config.z_dim, [1.0] * vae.config.z_dim)
        for name, values in zip(
            ("mean", "std"), (mean, std) if normalize_latents else identity, strict=True
        ):
            self.register_buffer(name, torch.tensor(values, dtype=dtype).reshape(channels))
        self.normalize_latents = normalize_latents
        self.encoder_cache_size = _cache_size(vae.encoder)
        self.decoder_cache_size = _cache_size(vae.decoder)
        if variant is VaeVariant.AS_RELEASED:
            self._apply_released_deviations()

    def _apply_released_deviations(self) -> None:
        for half in (self.vae.encoder, self.vae.decoder):
            half.mid_block.attentions[0] = _ValueAttention(half.mid_block.attentions[0])
        upsamplers = [up.upsamplers[0] for up in self.vae.decoder.up_blocks if up.upsamplers]
        temporal = [each for each in upsamplers if each.mode == "upsample3d"]
        temporal[1].register_forward_hook(_shuffle)

    def encode(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b z s i j"]:
        """Latents of a clip.

        Args:
            video: RGB in -1..1; ``t`` is 1 + 4 k, ``h`` and ``w`` are multiples of 8.

        Returns:
            1 + k latent frames of an eighth of the size.

        Raises:
            GenceptionError: the clip has another size.
        """
        frames, height, width = video.shape[2:]
        if frames % VAE_TEMPORAL != 1 or height % VAE_SPATIAL or width % VAE_SPATIAL:
            raise GenceptionError(
                f"The clip has {frames} frames of {width}x{height}; the VAE takes 1 + 4 k frames "
                "with sides that are multiples of 8. Use thfm_ros.genception.clip_input."
            )
        cache: FeatureCache = [None] * self.encoder_cache_size
        chunks = [self.encode_chunk(video[:, :, :1], cache)]
        for start in range(1, frames, VAE_TEMPORAL):
            chunks.append(self.encode_chunk(video[:, :, start : start + VAE_TEMPORAL], cache))
        return torch.cat(chunks, dim=2)

    def decode(self, latents: Float[Tensor, "b z s i j"]) -> Float[Tensor, "b 3 t h w"]:
        """Video of latents, RGB in -1..1; one frame for the first latent frame, four for others."""
        cache: FeatureCache = [None] * self.decoder_cache_size
        chunks = [self.decode_chunk(each, cache) for each in torch.split(latents, 1, dim=2)]
        return torch.cat(chunks, dim=2)

    def encode_chunk(self, video: Float[Tensor, "b 3 n h w"], cache: FeatureCache) -> Tensor:
        """One latent frame of the first frame, or of the next four; ``cache`` is updated."""
        # quant_conv is a convolution of size 1, so it may run chunk by chunk.
        moments = self.vae.quant_conv(self.vae.encoder(video, feat_cache=cache, feat_idx=[0]))
        mode: Tensor = moments.chunk(2, dim=1)[0]
        return (mode - self.mean) / self.std if self.normalize_latents else mode

    def decode_chunk(self, latents: Float[Tensor, "b z 1 i j"], cache: FeatureCache) -> Tensor:
        """The first frame, or the next four, of one latent frame; ``cache`` is updated."""
        raw = latents * self.std + self.mean if self.normalize_latents else latents
        out: Tensor = self.vae.decoder(
            self.vae.post_quant_conv(raw), feat_cache=cache, feat_idx=[0]
        )
        if self.variant is VaeVariant.AS_RELEASED and out.shape[2] == VAE_TEMPORAL:
            out = out[:, :, _RELEASED_ORDER]
        return out.clamp(-1.0, 1.0)

    def empty_upsample_caches(self, latents: Float[Tensor, "b z 1 i j"]) -> list[Tensor]:
        """Initial feature caches of the temporal upsampling layers: two frames of zeros each."""
        batch, _, _, rows, columns = latents.shape
        return [
            latents.new_zeros(batch, up.upsamplers[0].dim, 2, rows * 2**level, columns * 2**level)
            for level, up in enumerate(self.vae.decoder.up_blocks)
            if up.upsamplers and up.upsamplers[0].mode == "upsample3d"
        ]


def _cache_size(half: Any) -> int:
    """Number of causal convolutions, each of which has one cache entry."""
    from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d

    return sum(isinstance(each, WanCausalConv3d) for each in half.modules())


def empty_vae(config: dict[str, Any]) -> Any:
    """A diffusers VAE on the meta device, without memory for its weights.

    Raises:
        GenceptionError: diffusers is not installed, or no VAE has such sizes.
    """
    if not _has_sizes_of_a_vae(config):
        raise GenceptionError(
            f"The config of the VAE has sizes that no VAE has: {reprlib.repr(config)}. Use the "
            "file that is published with the public weights."
        )
    try:
        from diffusers import AutoencoderKLWan
    except ImportError as error:
        raise GenceptionError(
            f"The full-size network needs diffusers ({error}). Install it: "
            "pip install '.[full]' in the source folder."
        ) from error
    sizes = {key: value for key, value in config.items() if not key.startswith("_")}
    with torch.device("meta"):
        return AutoencoderKLWan(**sizes).eval().requires_grad_(False)


def check_latents(vae: Any, channels: int) -> None:
    """Whether a VAE makes the latents that a transformer takes.

    Args:
        vae: diffusers' AutoencoderKLWan, with or without weights.
        channels: of the transformer's latents.

    Raises:
        GenceptionError: it makes others.
    """
    config = vae.config
    frames = 2 ** sum(map(bool, config.temperal_downsample))
    made = (config.z_dim, 2 ** (len(config.dim_mult) - 1), frames)
    if made != (channels, VAE_SPATIAL, VAE_TEMPORAL):
        raise GenceptionError(
            f"This is another VAE: it makes latents of {made[0]} channels per {made[1]}x{made[1]} "
            f"pixels and {made[2]} frames; the transformer takes {channels} per {VAE_SPATIAL}x"
            f"{VAE_SPATIAL} and {VAE_TEMPORAL}. Import again with the folder of the Wan 2.1 VAE: "
            "thfm import ... --vae FOLDER."
        )


def _has_sizes_of_a_vae(value: Any) -> bool:
    """Whether no number of a config is so large that making the network would never end."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return len(value) <= 256 and all(map(_has_sizes_of_a_vae, value))
    return not isinstance(value, int | float) or abs(value) <= 8192


def load_vae(
    folder: Path,
    variant: VaeVariant = VaeVariant.STOCK,
    *,
    normalize_latents: bool = False,
    dtype: torch.dtype = torch.float32,
) -> WanVae:
    """Load a VAE as published: config.json and diffusion_pytorch_model.safetensors in a folder.

    Raises:
        GenceptionError: a file is missing or does not hold a Wan 2.1 VAE.
    """
    from safetensors.torch import load_file

    try:
        vae = empty_vae(json.loads((folder / "config.json").read_text()))
        state = load_file(folder / "diffusion_pytorch_model.safetensors")
        vae.load_state_dict({k: v.to(dtype) for k, v in state.items()}, strict=True, assign=True)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise GenceptionError(
            f"{folder} does not contain a Wan 2.1 VAE in diffusers' format ({error}). Use the "
            "folder 'vae' that is published with the public weights."
        ) from error
    return WanVae(vae, variant, normalize_latents=normalize_latents)
