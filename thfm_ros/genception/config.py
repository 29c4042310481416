# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Configuration of a GenCeption transformer, read from its config file or from weight shapes.

Imports neither torch nor diffusers, so that a checkpoint can be rejected before either is loaded.
"""

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thfm_ros.contract import PerceptionError

_log = logging.getLogger(__name__)

VAE_SPATIAL = 8
"""Spatial compression of the VAE: pixels per latent cell along each side."""
VAE_TEMPORAL = 4
"""Temporal compression: camera frames per latent frame, except the first, which encodes one."""


class GenceptionError(PerceptionError):
    """A checkpoint, configuration or clip of the full-size family that cannot be used."""


@dataclass(frozen=True, kw_only=True)
class GenceptionConfig:
    """Sizes of one transformer; the defaults are those of the public 1.3B checkpoint."""

    num_attention_heads: int = 12
    attention_head_dim: int = 128
    num_layers: int = 30
    ffn_dim: int = 8960
    in_channels: int = 16
    out_channels: int = 16
    patch_size: tuple[int, int, int] = (1, 2, 2)  # latent frames, rows, columns
    text_dim: int = 4096
    freq_dim: int = 256
    eps: float = 1e-6
    token1_proj_dim: int = 13
    token1_output_dim: int = 1
    token2_proj_dim: int = 99
    token2_output_dim: int = 3
    height: int = 480  # of the training images, in pixels
    width: int = 832
    normalize_latents: bool = False  # True: latents are normalized with the VAE's mean and std

    def __post_init__(self) -> None:
        """Reject inconsistent sizes."""
        for name in ("token1", "token2"):
            total, per_item = getattr(self, f"{name}_proj_dim"), getattr(self, f"{name}_output_dim")
            if total % per_item:
                raise GenceptionError(
                    f"{name}_proj_dim is {total}, which is not a multiple of "
                    f"{name}_output_dim = {per_item}. Use the config file that came with the "
                    "weights."
                )
        if self.attention_head_dim % 2 or self.attention_head_dim < 6:
            raise GenceptionError(
                f"attention_head_dim is {self.attention_head_dim}; the rotary embedding needs an "
                "even number of at least 6 (the public checkpoints have 128)."
            )

    @property
    def dim(self) -> int:
        """Channels of a token."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def native_grid(self) -> tuple[int, int]:
        """Rows and columns of patches in an image of the training size."""
        return (
            self.height // (VAE_SPATIAL * self.patch_size[1]),
            self.width // (VAE_SPATIAL * self.patch_size[2]),
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `config_from_mapping` reads it back."""
        return {**dataclasses.asdict(self), "patch_size": list(self.patch_size)}


# The official code has switches for other networks; these values select the supported one.
_FIXED: dict[str, Any] = {
    "qk_norm": "rms_norm_across_heads",
    "cross_attn_norm": True,
    "learnable_token_init_0": True,
    "token1_num_per_frame": 1,
    "token2_num_per_frame": 1,
    "token1_num_frames_rope": 1,
    "token2_num_frames_rope": 1,
    "image_dim": None,
    "added_kv_proj_dim": None,
}
# In official files but not used here: token counts are derived from the input (the official code
# trusts these values, and a wrong one silently changes its output).
_IGNORED = {
    "attention",
    "diffusion_single_step",
    "rope_max_seq_len",
    "token_att_num_layers",
    "token1_num_frames",
    "token2_num_frames",
    "total_token_num_lst",
}


def config_from_mapping(values: Mapping[str, Any]) -> GenceptionConfig:
    """Read an official config; missing values default to those of the 1.3B checkpoint.

    Raises:
        GenceptionError: it describes a network that this package does not implement.
    """
    fields = {field.name for field in dataclasses.fields(GenceptionConfig)}
    for name, supported in _FIXED.items():
        if name in values and values[name] != supported:
            raise GenceptionError(
                f"The config has {name} = {values[name]!r}; only {supported!r} is supported. "
                "This is not one of the public GenCeption checkpoints."
            )
    timestep = values.get("diffusion_single_step", 0)
    if timestep is not None and timestep > 0:  # the official code treats -1 as 0
        raise GenceptionError(
            f"The config has diffusion_single_step = {timestep}; only 0, an input without noise, "
            "is supported. The first public code had 49 by mistake: use the current config."
        )
    unknown = sorted(set(values) - fields - set(_FIXED) - _IGNORED)
    if unknown:
        _log.warning("Ignoring unknown settings in the config: %s", unknown)
    supported_values = {name: value for name, value in values.items() if name in fields}
    if "patch_size" in supported_values:
        supported_values["patch_size"] = tuple(supported_values["patch_size"])
    return GenceptionConfig(**supported_values)


def config_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> GenceptionConfig:
    """Derive the sizes from the weights, for a checkpoint without a config file.

    Args:
        shapes: by official key. Attention heads are assumed to have 128 channels, as in every
            public size.

    Raises:
        GenceptionError: a weight is missing or has an unexpected rank.
    """
    try:
        patch = shapes["patch_embedding.kernel.value"]
        if patch[4] % 128:
            raise GenceptionError(
                f"These weights have {patch[4]} channels, which is not a multiple of 128, the "
                "assumed head size. Put their config file next to them: the .npz file's name with "
                "_config.json at its end."
            )
        return GenceptionConfig(
            num_attention_heads=patch[4] // 128,
            attention_head_dim=128,
            num_layers=shapes["blocks.adaln_scale_shift_table.value"][0],
            ffn_dim=shapes["blocks.ffn.proj_out.kernel.value"][1],
            in_channels=patch[3],
            out_channels=shapes["proj_out.kernel.value"][1] // (patch[0] * patch[1] * patch[2]),
            patch_size=(patch[0], patch[1], patch[2]),
            text_dim=shapes["condition_embedder.text_embedder.linear_1.kernel.value"][0],
            freq_dim=shapes["condition_embedder.time_embedder.linear_1.kernel.value"][0],
            token1_proj_dim=shapes["token1_proj_out.kernel.value"][1],
            token2_proj_dim=shapes["token2_proj_out.kernel.value"][1],
        )
    except (KeyError, IndexError) as error:
        raise GenceptionError(
            f"These weights are not a GenCeption transformer: {error} is missing or has an "
            "unexpected rank. Import the folder that contains genception_*_transformer.npz."
        ) from error
