# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The full-size network: a Wan 2.1 video transformer with two groups of learned tokens.

One forward pass without noise: the input is the clip's latent at timestep 0, the output the latent
of the predicted video, which is minus the velocity of a flow-matching generator. The learned
tokens give two small tables per camera frame. The layers are diffusers'; what is added to them
(grouped attention, positions, tokens, heads) is here and in `attention` and `rope`.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from thfm_ros.genception.attention import GroupedAttention, TextKeyValues
from thfm_ros.genception.config import (
    GenceptionConfig,
    GenceptionError,
    config_from_mapping,
)
from thfm_ros.genception.npz_reader import ArrayReader, open_arrays
from thfm_ros.genception.rope import (
    Grid,
    Positions,
    group_coordinates,
    rotary_embedding,
    video_coordinates,
)
from thfm_ros.genception.weight_map import SUFFIX, build_weight_map, check_shapes

_log = logging.getLogger(__name__)


class GenceptionOutputs(NamedTuple):
    """Outputs of one pass over a clip of ``t`` latent frames, ``4 t - 3`` camera frames."""

    video_latents: Float[Tensor, "b 16 t h w"]  # decode with the VAE
    tokens1: Float[Tensor, "b frames k1 d1"]  # public checkpoints: 13 x 1, meaning not published
    tokens2: Float[Tensor, "b frames k2 d2"]  # public checkpoints: 33 x 3, order not published


class Condition(NamedTuple):
    """Inputs of a pass that do not depend on the clip: embedded timestep and prompt."""

    temb: Float[Tensor, "b dim"]
    modulation: Float[Tensor, "b 6 dim"]  # shifts, scales and gates of the blocks
    text: Float[Tensor, "b l dim"] | tuple[TextKeyValues, ...]  # the latter: one per block


class TokenGroup(nn.Module):
    """One learned token, repeated for each camera frame, and its output head."""

    def __init__(self, config: GenceptionConfig, width: int, each: int) -> None:
        """``width`` output channels per frame, in items of ``each`` channels."""
        super().__init__()
        self.shape = (width // each, each)
        self.eps = config.eps
        self.token = nn.Parameter(torch.zeros(config.dim))
        self.place = nn.Parameter(torch.zeros(1, 1, 1, 2))  # learned row and column, in patches
        self.scale_shift_table = nn.Parameter(torch.zeros(1, 2, config.dim))
        self.proj_out = nn.Linear(config.dim, width)

    def read_out(self, hidden: Float[Tensor, "b n dim"]) -> Float[Tensor, "b n k d"]:
        """The head: outputs of the group's tokens after the last block."""
        shift, scale = self.scale_shift_table.float().chunk(2, dim=1)
        normed = layer_norm(hidden.float(), hidden.shape[-1:], eps=self.eps)
        out: Tensor = self.proj_out((normed * (1 + scale) + shift).type_as(hidden))
        return out.reshape(*out.shape[:2], *self.shape)


class GenceptionTransformer(nn.Module):
    """See the module. `load_transformer` and `checkpoint.load_checkpoint` load its weights."""

    def __init__(self, config: GenceptionConfig) -> None:
        super().__init__()
        self.config = config
        self.wan = _wan(config)
        self.group1 = TokenGroup(config, config.token1_proj_dim, config.token1_output_dim)
        self.group2 = TokenGroup(config, config.token2_proj_dim, config.token2_output_dim)

    @property
    def groups(self) -> tuple[TokenGroup, TokenGroup]:
        """Both groups, in the order in which their tokens follow the video tokens."""
        return self.group1, self.group2

    def forward(
        self,
        latents: Float[Tensor, "b 16 t h w"],
        prompt_embeds: Float[Tensor, "b l text_dim"],
        timestep: Int[Tensor, "b"] | int | None = None,
    ) -> GenceptionOutputs:
        """Predict the output video and the token tables of a clip for a prompt.

        Args:
            latents: the clip, encoded by the VAE; height and width are multiples of the patch
                size.
            prompt_embeds: UMT5 embeddings as published, zero rows included: there is no mask.
            timestep: 0 unless the input has noise.

        Returns:
            Outputs in the precision of ``latents``, regardless of that of the weights.

        Raises:
            GenceptionError: a shape that does not match the network.
        """
        grid = self.grid_of(latents)
        dtype = self.group1.token.dtype
        condition = self.condition(prompt_embeds.to(dtype), timestep)
        out = self.run(latents.to(dtype), self.positions(grid), condition)
        return GenceptionOutputs(*(each.to(latents.dtype) for each in out))

    def grid_of(self, latents: Tensor) -> Grid:
        """Size of a clip in patches; GenceptionError if it is not a whole number of patches."""
        patch, channels = self.config.patch_size, self.config.in_channels
        fits = latents.ndim == 5 and latents.shape[1] == channels
        if not fits or any(n % side for n, side in zip(latents.shape[2:], patch, strict=True)):
            raise GenceptionError(
                f"Latents are {list(latents.shape)}; expected [batch, {channels}, frames, height, "
                f"width] with frames, height and width multiples of {patch}. "
                "Use thfm_ros.genception.clip_input."
            )
        return Grid(*(n // side for n, side in zip(latents.shape[2:], patch, strict=True)))

    def positions(self, grid: Grid) -> Positions:
        """Rotary embedding of all tokens of a clip."""
        native_grid = self.config.native_grid
        groups = [group_coordinates(group.place, grid, native_grid) for group in self.groups]
        coordinates = torch.cat((video_coordinates(grid, groups[0].device), *groups))
        cos, sin = rotary_embedding(coordinates, self.config.attention_head_dim)
        return Positions(cos, sin, grid.tokens, tuple(len(group) for group in groups))

    def condition(
        self, prompt_embeds: Float[Tensor, "b l text_dim"], timestep: Tensor | int | None = None
    ) -> Condition:
        """Embed the prompt and the timestep (0 when not given)."""
        if prompt_embeds.ndim != 3 or prompt_embeds.shape[2] != self.config.text_dim:
            raise GenceptionError(
                f"Prompt embeddings are {list(prompt_embeds.shape)}; expected [batch, length, "
                f"{self.config.text_dim}]. `thfm prompt` makes them with the right encoder."
            )
        device = prompt_embeds.device
        time = torch.as_tensor(0 if timestep is None else timestep, device=device)
        temb, projected, text, _ = self.wan.condition_embedder(
            time.expand(prompt_embeds.shape[0]), prompt_embeds, None
        )
        return Condition(temb, projected.reshape(len(projected), 6, -1), text)

    def run(
        self, latents: Float[Tensor, "b 16 t h w"], positions: Positions, condition: Condition
    ) -> GenceptionOutputs:
        """The forward pass in the precision of the weights."""
        hidden = self.tokens(latents, positions.group_sizes)
        text = condition.text
        for number, block in enumerate(self.wan.blocks):
            block_text = text if isinstance(text, Tensor) else text[number]
            hidden = block(hidden, block_text, condition.modulation, positions)
        sizes = [positions.video_tokens, *positions.group_sizes]
        video, tokens1, tokens2 = torch.split(hidden, sizes, dim=1)
        return GenceptionOutputs(
            self._video_out(video, condition.temb, self.grid_of(latents)),
            self.group1.read_out(tokens1),
            self.group2.read_out(tokens2),
        )

    def tokens(
        self, latents: Float[Tensor, "b 16 t h w"], group_sizes: tuple[int, ...]
    ) -> Float[Tensor, "b n dim"]:
        """Embedded patches of the clip, then the learned tokens, group after group."""
        video = self.wan.patch_embedding(latents).flatten(2).transpose(1, 2)
        learned = [
            group.token.expand(len(latents), size, -1)
            for group, size in zip(self.groups, group_sizes, strict=True)
        ]
        return torch.cat((video, *learned), dim=1)

    def _video_out(
        self, hidden: Float[Tensor, "b n dim"], temb: Float[Tensor, "b dim"], grid: Grid
    ) -> Float[Tensor, "b 16 t h w"]:
        wan = self.wan
        shift, scale = (wan.scale_shift_table + temb.unsqueeze(1)).chunk(2, dim=1)
        normed = (wan.norm_out(hidden.float()) * (1 + scale) + shift).type_as(hidden)
        patches = wan.proj_out(normed)
        # The channels of a patch are ordered (frame, row, column, channel).
        cells = patches.reshape(len(patches), *grid, *self.config.patch_size, -1)
        cells = cells.permute(0, 7, 1, 4, 2, 5, 3, 6)
        velocity: Tensor = cells.flatten(6, 7).flatten(4, 5).flatten(2, 3)
        return -velocity


def _wan(config: GenceptionConfig) -> Any:
    try:
        from diffusers import WanTransformer3DModel
    except ImportError as error:
        raise GenceptionError(
            f"The full-size network needs diffusers ({error}). Install it: "
            "pip install '.[full]' in the source folder."
        ) from error
    wan = WanTransformer3DModel(
        patch_size=config.patch_size,
        num_attention_heads=config.num_attention_heads,
        attention_head_dim=config.attention_head_dim,
        in_channels=config.in_channels,
        out_channels=config.out_channels,
        text_dim=config.text_dim,
        freq_dim=config.freq_dim,
        ffn_dim=config.ffn_dim,
        num_layers=config.num_layers,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        eps=config.eps,
        rope_max_seq_len=1,
    )
    wan.rope = None  # its table limits the clip size; see `GenceptionTransformer.positions`
    for block in wan.blocks:
        block.attn1.set_processor(GroupedAttention())
        block.attn2.set_processor(GroupedAttention())
    return wan


def empty_transformer(config: GenceptionConfig) -> GenceptionTransformer:
    """The network on the meta device; load its weights with ``assign=True``.

    Raises:
        GenceptionError: diffusers is not installed.
    """
    with torch.device("meta"):
        network = GenceptionTransformer(config)
    return network.eval().requires_grad_(False)


def load_transformer(
    npz_path_or_mapping: str | Path | Mapping[str, Any],
    config: GenceptionConfig | Mapping[str, Any],
    *,
    dtype: torch.dtype = torch.float32,
) -> GenceptionTransformer:
    """Load an official checkpoint and check every key and shape.

    Args:
        npz_path_or_mapping: the official `.npz`, or its arrays by key. bfloat16 may be stored as
            numpy stores it, as 2-byte void. Keys that do not end in ``.value`` are ignored.
        config: the official config of these weights.
        dtype: of the loaded weights and of the computation. float32 reproduces the reference;
            bfloat16 halves the memory.

    Raises:
        GenceptionError: keys are missing, unknown or of another shape; all are named.
    """
    if not isinstance(config, GenceptionConfig):
        config = config_from_mapping(config)
    weight_map = build_weight_map(config)
    with open_arrays(npz_path_or_mapping) as reader:
        check_shapes(weight_map, reader.shapes, reader.name)
        others = sorted(key for key in reader.shapes if not key.endswith(SUFFIX))
        if others:
            _log.info("%s also contains %d arrays that are not weights", reader.name, len(others))
        network = empty_transformer(config)
        network.load_state_dict(_state(weight_map, reader, dtype), strict=True, assign=True)
    return network.requires_grad_(False)


def _state(weight_map: Any, reader: ArrayReader, dtype: torch.dtype) -> dict[str, Tensor]:
    state = {}
    for weight in weight_map:
        if weight.target is None:
            continue
        for number, array in enumerate(reader.read(weight.key + SUFFIX, stacked=weight.stacked)):
            transposed = to_tensor(array, weight.key).permute(weight.axes)
            # Always a copy: the reader may reuse the array's memory.
            state[weight.target_name(number)] = transposed.to(dtype, copy=True).contiguous()
    return state


def to_tensor(array: np.ndarray[Any, Any], name: str) -> Tensor:
    """A tensor of a float array, or of bfloat16 as numpy stores it (2-byte void).

    Raises:
        GenceptionError: another type; ``name`` is the weight's, for the message.
    """
    if array.dtype.itemsize == 2 and array.dtype.kind == "V":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    if array.dtype == np.float32 or array.dtype == np.float16:
        return torch.from_numpy(array)
    raise GenceptionError(
        f"{name} is stored as {array.dtype}; expected float32, or bfloat16 as 2-byte void. "
        "The file was not written by the official code."
    )
