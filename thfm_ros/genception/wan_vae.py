"""The video codec of the full-size family: diffusers' Wan 2.1 VAE, in two named variants.

``stock`` is the Wan VAE as everybody runs it. ``as_released`` also copies two deviations of the
code that was released with the public checkpoints, which runs the same weights:

1. its mid-block attention sees one cell at a time, and so returns its value projection;
2. after the second doubling in time, the four frames of a chunk are in the order 0, 2, 1, 3 while
   the remaining causal convolutions run over them; only then are they sorted.

Both variants reproduce reference data exactly. Which of them the public transformer was trained
with is not known, nor how much it matters with the real weights: see docs/full_size.md.
"""

import json
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thfm_ros.genception.config import VAE_SPATIAL, VAE_TEMPORAL, GenceptionError

Cache = list[Any]
"""What the causal convolutions remember: tensors, None, or a mark that diffusers leaves."""


class CodecVariant(str, Enum):
    """Which arithmetic the codec does with the one set of weights."""

    STOCK = "stock"
    AS_RELEASED = "as_released"


# Where frame i of a chunk of four comes to lie. It is its own inverse.
_RELEASED_ORDER = [0, 2, 1, 3]


class _ValueAttention(nn.Module):
    """The mid-block attention over a sequence of length one, with the weights of the real one."""

    def __init__(self, real: Any) -> None:
        super().__init__()
        self.norm, self.to_qkv, self.proj = real.norm, real.to_qkv, real.proj

    def forward(self, x: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b c t h w"]:
        batch, _, frames = x.shape[:3]
        images = x.transpose(1, 2).flatten(0, 1)
        value = self.to_qkv(self.norm(images)).chunk(3, dim=1)[2]
        out: Tensor = self.proj(value).reshape(batch, frames, *images.shape[1:])
        return out.transpose(1, 2) + x


def _shuffle(_: Any, __: Any, out: Tensor) -> Tensor:
    return out[:, :, _RELEASED_ORDER] if out.shape[2] == VAE_TEMPORAL else out


class WanCodec(nn.Module):
    """Videos to latents and back. The posterior's mode is taken; nothing is sampled."""

    def __init__(
        self,
        vae: Any,
        variant: CodecVariant = CodecVariant.STOCK,
        *,
        standardised: bool = False,
    ) -> None:
        """Take over ``vae``, a diffusers AutoencoderKLWan, which must not be used elsewhere.

        Args:
            vae: of Wan 2.1 (Wan 2.2's residual, patched one has another latent).
            variant: see the module.
            standardised: latents are shifted and scaled to mean 0 and deviation 1 with the
                numbers in the VAE's config. The public checkpoints take them raw.
        """
        super().__init__()
        if vae.config.is_residual or vae.config.patch_size is not None:
            raise GenceptionError(
                "This is the VAE of Wan 2.2; the public checkpoints need that of Wan 2.1 "
                "(16 latent channels, vae/ beside the weights)."
            )
        self.mean: Tensor
        self.std: Tensor
        self.vae = vae
        self.variant = variant
        dtype, channels = next(vae.parameters()).dtype, (1, vae.config.z_dim, 1, 1, 1)
        mean, std = vae.config.latents_mean, vae.config.latents_std
        plain = ([0.0] * vae.config.z_dim, [1.0] * vae.config.z_dim)
        for name, values in zip(
            ("mean", "std"), (mean, std) if standardised else plain, strict=True
        ):
            self.register_buffer(name, torch.tensor(values, dtype=dtype).reshape(channels))
        self.standardised = standardised
        self.encoder_slots, self.decoder_slots = _slots(vae.encoder), _slots(vae.decoder)
        if variant is CodecVariant.AS_RELEASED:
            self._copy_the_released_code()

    def _copy_the_released_code(self) -> None:
        for half in (self.vae.encoder, self.vae.decoder):
            half.mid_block.attentions[0] = _ValueAttention(half.mid_block.attentions[0])
        resamplers = [up.upsamplers[0] for up in self.vae.decoder.up_blocks if up.upsamplers]
        doubling = [each for each in resamplers if each.mode == "upsample3d"]
        doubling[1].register_forward_hook(_shuffle)

    def encode(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b z s i j"]:
        """Latents of a clip.

        Args:
            video: RGB in -1..1; ``t`` is 1 + 4 k, ``h`` and ``w`` are multiples of 8.

        Returns:
            1 + k latent frames of an eighth of the size.
        """
        frames, height, width = video.shape[2:]
        if frames % VAE_TEMPORAL != 1 or height % VAE_SPATIAL or width % VAE_SPATIAL:
            raise GenceptionError(
                f"A clip is {frames} frames of {width}x{height}; the VAE takes 1 + 4 k frames "
                "with sides that are multiples of 8. thfm_ros.genception.clip_input makes it fit."
            )
        cache: Cache = [None] * self.encoder_slots
        parts = [self.encode_chunk(video[:, :, :1], cache)]
        for start in range(1, frames, VAE_TEMPORAL):
            parts.append(self.encode_chunk(video[:, :, start : start + VAE_TEMPORAL], cache))
        return torch.cat(parts, dim=2)

    def decode(self, latents: Float[Tensor, "b z s i j"]) -> Float[Tensor, "b 3 t h w"]:
        """The clip again, in -1..1; four frames per latent frame, one for the first."""
        cache: Cache = [None] * self.decoder_slots
        parts = [self.decode_chunk(each, cache) for each in torch.split(latents, 1, dim=2)]
        return torch.cat(parts, dim=2)

    def encode_chunk(self, video: Float[Tensor, "b 3 n h w"], cache: Cache) -> Tensor:
        """One latent frame of the first image, or of the next four; ``cache`` is updated."""
        # quant_conv looks at one cell at a time, so it may run chunk by chunk.
        moments = self.vae.quant_conv(self.vae.encoder(video, feat_cache=cache, feat_idx=[0]))
        mode: Tensor = moments.chunk(2, dim=1)[0]
        return (mode - self.mean) / self.std if self.standardised else mode

    def decode_chunk(self, latents: Float[Tensor, "b z 1 i j"], cache: Cache) -> Tensor:
        """The first image, or the next four, of one latent frame; ``cache`` is updated."""
        raw = latents * self.std + self.mean if self.standardised else latents
        out: Tensor = self.vae.decoder(
            self.vae.post_quant_conv(raw), feat_cache=cache, feat_idx=[0]
        )
        if self.variant is CodecVariant.AS_RELEASED and out.shape[2] == VAE_TEMPORAL:
            out = out[:, :, _RELEASED_ORDER]
        return out.clamp(-1.0, 1.0)

    def empty_doublings(self, latents: Float[Tensor, "b z 1 i j"]) -> list[Tensor]:
        """What the doublings in time remember before they have seen anything: two black frames."""
        batch, _, _, rows, columns = latents.shape
        return [
            latents.new_zeros(batch, up.upsamplers[0].dim, 2, rows * 2**level, columns * 2**level)
            for level, up in enumerate(self.vae.decoder.up_blocks)
            if up.upsamplers and up.upsamplers[0].mode == "upsample3d"
        ]


def _slots(half: Any) -> int:
    from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d

    return sum(isinstance(each, WanCausalConv3d) for each in half.modules())


def empty_vae(config: dict[str, Any]) -> Any:
    """A diffusers VAE of these sizes without memory for its weights."""
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


def load_codec(
    folder: Path,
    variant: CodecVariant = CodecVariant.STOCK,
    *,
    standardised: bool = False,
    dtype: torch.dtype = torch.float32,
) -> WanCodec:
    """Load a VAE as it is published: config.json and diffusion_pytorch_model.safetensors."""
    from safetensors.torch import load_file

    try:
        vae = empty_vae(json.loads((folder / "config.json").read_text()))
        state = load_file(folder / "diffusion_pytorch_model.safetensors")
        vae.load_state_dict({k: v.to(dtype) for k, v in state.items()}, strict=True, assign=True)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise GenceptionError(
            f"{folder} holds no Wan 2.1 VAE in the form of diffusers ({error}). It is the folder "
            "'vae' beside the public weights."
        ) from error
    return WanCodec(vae, variant, standardised=standardised)
