"""What a GenCeption checkpoint is made of: its sizes, and what its own config file says of them.

Knows neither torch nor diffusers, so that an import can be refused before either is loaded.
"""

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thfm_ros.contract import PerceptionError

_log = logging.getLogger(__name__)

VAE_SPATIAL = 8
"""Pixels per latent cell, along each side."""
VAE_TEMPORAL = 4
"""Frames per latent frame, but for the first, which stands alone."""


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
    height: int = 480  # of the images it was trained on; pixels
    width: int = 832
    normalize_latents: bool = False  # True: latents are standardised with the VAE's mean and std

    def __post_init__(self) -> None:
        """Refuse sizes that no network can have."""
        for name in ("token1", "token2"):
            wide, each = getattr(self, f"{name}_proj_dim"), getattr(self, f"{name}_output_dim")
            if wide % each:
                raise GenceptionError(
                    f"{name}_proj_dim is {wide}, which {name}_output_dim = {each} does not divide. "
                    "Take the config file that came with the weights."
                )
        if self.attention_head_dim % 2 or self.attention_head_dim < 6:
            raise GenceptionError(
                f"attention_head_dim is {self.attention_head_dim}; rotary positions need an even "
                "number of at least 6 (the public checkpoints have 128)."
            )

    @property
    def dim(self) -> int:
        """Width of a token."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def native_grid(self) -> tuple[int, int]:
        """Rows and columns of patches in an image of the size it was trained on."""
        return (
            self.height // (VAE_SPATIAL * self.patch_size[1]),
            self.width // (VAE_SPATIAL * self.patch_size[2]),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it; `config_from_mapping` reads it back."""
        return {**dataclasses.asdict(self), "patch_size": list(self.patch_size)}


# The official code has switches for other networks; only these settings are this network.
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
# Said by official files and of no consequence here: counts are derived from the input
# (the official code trusts these, and a wrong one silently moves its output).
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
    """Read an official config; what it leaves out is as in the 1.3B checkpoint.

    Raises:
        GenceptionError: it describes another network than the one this package has.
    """
    known = {field.name for field in dataclasses.fields(GenceptionConfig)}
    for name, wanted in _FIXED.items():
        if name in values and values[name] != wanted:
            raise GenceptionError(
                f"The config says {name} = {values[name]!r}; only {wanted!r} is supported. "
                "This is not one of the public GenCeption checkpoints."
            )
    timestep = values.get("diffusion_single_step", 0)
    if timestep is not None and timestep > 0:  # the official code takes -1 for 0
        raise GenceptionError(
            f"The config says diffusion_single_step = {timestep}; only 0, a clean input, is "
            "supported. The first public code had 49 by mistake: take the present config."
        )
    unknown = sorted(set(values) - known - set(_FIXED) - _IGNORED)
    if unknown:
        _log.warning("The config has settings that are not known here, ignored: %s", unknown)
    mine = {name: value for name, value in values.items() if name in known}
    if "patch_size" in mine:
        mine["patch_size"] = tuple(mine["patch_size"])
    return GenceptionConfig(**mine)


def config_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> GenceptionConfig:
    """Guess the sizes from the weights, for a checkpoint that came without its config file.

    Heads are taken to be 128 wide, as in every public size. ``shapes`` goes by the official keys.
    """
    try:
        patch = shapes["patch_embedding.kernel.value"]
        if patch[4] % 128:
            raise GenceptionError(
                f"These weights are {patch[4]} wide, of which heads of 128 cannot be made. Put "
                "their config beside them: the .npz file's name with _config.json at its end."
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
            f"These weights are not a GenCeption transformer: {error} is missing or has another "
            "form. Point the import at the folder that holds genception_*_transformer.npz."
        ) from error
