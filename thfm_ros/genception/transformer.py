"""The full-size network: a Wan 2.1 video transformer with two groups of learned tokens.

One forward pass, no noise: the clip's clean latent goes in at timestep 0, and what a generator
would call minus its velocity comes out as the latent of the answer's video. Beside it come two
small tables per camera frame, read off the learned tokens. Layers are diffusers'; what is added
to them (grouped attention, positions, tokens, read-outs) is here and in genception_attention and
genception_rope.
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

from thfm_ros.genception.attention import GroupedAttention, TextKeys
from thfm_ros.genception.config import (
    GenceptionConfig,
    GenceptionError,
    config_from_mapping,
)
from thfm_ros.genception.npz_reader import ArrayStore, open_arrays
from thfm_ros.genception.rope import (
    Grid,
    Positions,
    group_places,
    rotations,
    video_places,
)
from thfm_ros.genception.weight_map import SUFFIX, check_shapes, weight_table

_log = logging.getLogger(__name__)


class GenceptionOutputs(NamedTuple):
    """What one pass says about a clip of ``t`` latent frames, ``4 t - 3`` camera frames."""

    video_latents: Float[Tensor, "b 16 t h w"]  # decode with the VAE
    tokens1: Float[Tensor, "b frames k1 d1"]  # public checkpoints: 13 x 1, meaning not published
    tokens2: Float[Tensor, "b frames k2 d2"]  # public checkpoints: 33 x 3, order not published


class Condition(NamedTuple):
    """What steers a pass, and does not depend on the clip."""

    temb: Float[Tensor, "b dim"]
    modulation: Float[Tensor, "b 6 dim"]
    text: Float[Tensor, "b l dim"] | tuple[TextKeys, ...]  # the latter: one per block


class TokenGroup(nn.Module):
    """One learned token, repeated for each camera frame, and its read-out."""

    def __init__(self, config: GenceptionConfig, width: int, each: int) -> None:
        super().__init__()
        self.shape = (width // each, each)
        self.eps = config.eps
        self.token = nn.Parameter(torch.zeros(config.dim))
        self.place = nn.Parameter(torch.zeros(1, 1, 1, 2))  # row, column; in patches
        self.scale_shift_table = nn.Parameter(torch.zeros(1, 2, config.dim))
        self.proj_out = nn.Linear(config.dim, width)

    def read_out(self, hidden: Float[Tensor, "b n dim"]) -> Float[Tensor, "b n k d"]:
        """What the group's tokens say at the end."""
        shift, scale = self.scale_shift_table.float().chunk(2, dim=1)
        normed = layer_norm(hidden.float(), hidden.shape[-1:], eps=self.eps)
        out: Tensor = self.proj_out((normed * (1 + scale) + shift).type_as(hidden))
        return out.reshape(*out.shape[:2], *self.shape)


class GenceptionTransformer(nn.Module):
    """See the module. Build it empty, or filled by `load_transformer`."""

    def __init__(self, config: GenceptionConfig) -> None:
        super().__init__()
        self.config = config
        self.wan = _wan(config)
        self.group1 = TokenGroup(config, config.token1_proj_dim, config.token1_output_dim)
        self.group2 = TokenGroup(config, config.token2_proj_dim, config.token2_output_dim)

    @property
    def groups(self) -> tuple[TokenGroup, TokenGroup]:
        """In the order in which their tokens follow the video's."""
        return self.group1, self.group2

    def forward(
        self,
        latents: Float[Tensor, "b 16 t h w"],
        prompt_embeds: Float[Tensor, "b l text_dim"],
        timestep: Int[Tensor, "b"] | int | None = None,
    ) -> GenceptionOutputs:
        """Answer a prompt about a clip.

        Args:
            latents: the clip, encoded by the VAE; any size that patches of 2 x 2 divide.
            prompt_embeds: UMT5 rows as they were shipped, zeros included: there is no mask.
            timestep: 0, unless you study what the network does with noise.

        Returns:
            In the precision of ``latents``, whatever the weights have.

        Raises:
            GenceptionError: a shape that does not fit the network.
        """
        grid = self.grid_of(latents)
        dtype = self.group1.token.dtype
        condition = self.condition(prompt_embeds.to(dtype), timestep)
        out = self.run(latents.to(dtype), self.positions(grid), condition)
        return GenceptionOutputs(*(each.to(latents.dtype) for each in out))

    def grid_of(self, latents: Tensor) -> Grid:
        """Size of a clip in patches, or a GenceptionError that says what would fit."""
        steps, channels = self.config.patch_size, self.config.in_channels
        fits = latents.ndim == 5 and latents.shape[1] == channels
        if not fits or any(n % step for n, step in zip(latents.shape[2:], steps, strict=True)):
            raise GenceptionError(
                f"Latents are {list(latents.shape)}; expected [batch, {channels}, frames, height, "
                f"width] with frames, height and width multiples of {steps}. "
                "thfm_ros.genception.clip_input makes clips that fit."
            )
        return Grid(*(n // step for n, step in zip(latents.shape[2:], steps, strict=True)))

    def positions(self, grid: Grid) -> Positions:
        """Rotations of all tokens of a clip."""
        native = self.config.native_grid
        groups = [group_places(group.place, grid, native) for group in self.groups]
        places = torch.cat((video_places(grid, groups[0].device), *groups))
        cos, sin = rotations(places, self.config.attention_head_dim)
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
        """The pass itself, in the precision of the weights."""
        hidden = self.tokens(latents, positions.groups)
        text = condition.text
        for number, block in enumerate(self.wan.blocks):
            mine = text if isinstance(text, Tensor) else text[number]
            hidden = block(hidden, mine, condition.modulation, positions)
        video, one, two = torch.split(hidden, [positions.video, *positions.groups], dim=1)
        return GenceptionOutputs(
            self._video_out(video, condition.temb, self.grid_of(latents)),
            self.group1.read_out(one),
            self.group2.read_out(two),
        )

    def tokens(
        self, latents: Float[Tensor, "b 16 t h w"], counts: tuple[int, ...]
    ) -> Float[Tensor, "b n dim"]:
        """Patches of the clip, then the learned tokens, group after group."""
        video = self.wan.patch_embedding(latents).flatten(2).transpose(1, 2)
        learned = [
            group.token.expand(len(latents), count, -1)
            for group, count in zip(self.groups, counts, strict=True)
        ]
        return torch.cat((video, *learned), dim=1)

    def _video_out(
        self, hidden: Float[Tensor, "b n dim"], temb: Float[Tensor, "b dim"], grid: Grid
    ) -> Float[Tensor, "b 16 t h w"]:
        wan = self.wan
        shift, scale = (wan.scale_shift_table + temb.unsqueeze(1)).chunk(2, dim=1)
        normed = (wan.norm_out(hidden.float()) * (1 + scale) + shift).type_as(hidden)
        patches = wan.proj_out(normed)
        # Each patch lists its frames, rows and columns before its channels.
        pixels = patches.reshape(len(patches), *grid, *self.config.patch_size, -1)
        pixels = pixels.permute(0, 7, 1, 4, 2, 5, 3, 6)
        velocity: Tensor = pixels.flatten(6, 7).flatten(4, 5).flatten(2, 3)
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
    wan.rope = None  # its table has a greatest size; ours are made to measure
    for block in wan.blocks:
        block.attn1.set_processor(GroupedAttention())
        block.attn2.set_processor(GroupedAttention())
    return wan


def empty_transformer(config: GenceptionConfig) -> GenceptionTransformer:
    """The network without memory for its weights, to be filled with ``assign=True``."""
    with torch.device("meta"):
        network = GenceptionTransformer(config)
    return network.eval().requires_grad_(False)


def load_transformer(
    npz_path_or_mapping: str | Path | Mapping[str, Any],
    config: GenceptionConfig | Mapping[str, Any],
    *,
    dtype: torch.dtype = torch.float32,
) -> GenceptionTransformer:
    """Load an official checkpoint: every key, every shape.

    Args:
        npz_path_or_mapping: the official `.npz`, or its arrays by their keys. bfloat16 may be
            stored as numpy stores it, as 2-byte void. Keys without ``.value`` are no weights.
        config: the official config of these weights.
        dtype: of the loaded weights, and so of the computation. float32 reproduces the
            reference; bfloat16 halves the memory.

    Raises:
        GenceptionError: a key is missing, unknown or of another shape; all are named.
    """
    if not isinstance(config, GenceptionConfig):
        config = config_from_mapping(config)
    table = weight_table(config)
    with open_arrays(npz_path_or_mapping) as store:
        check_shapes(table, store.shapes, store.name)
        others = sorted(key for key in store.shapes if not key.endswith(SUFFIX))
        if others:
            _log.info("%s also holds %d arrays that are no weights", store.name, len(others))
        network = empty_transformer(config)
        network.load_state_dict(_state(table, store, dtype), strict=True, assign=True)
    return network.requires_grad_(False)


def _state(table: Any, store: ArrayStore, dtype: torch.dtype) -> dict[str, Tensor]:
    state = {}
    for weight in table:
        if weight.target is None:
            continue
        for number, array in enumerate(store.read(weight.key + SUFFIX, stacked=weight.stacked)):
            turned = to_tensor(array, weight.key).permute(weight.axes)
            # A copy even where nothing changes: the store may reuse its memory.
            state[weight.target_name(number)] = turned.to(dtype, copy=True).contiguous()
    return state


def to_tensor(array: np.ndarray[Any, Any], name: str) -> Tensor:
    """A float32 array, or bfloat16 as numpy stores it: two bytes without a meaning."""
    if array.dtype.itemsize == 2 and array.dtype.kind == "V":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    if array.dtype == np.float32 or array.dtype == np.float16:
        return torch.from_numpy(array)
    raise GenceptionError(
        f"{name} is stored as {array.dtype}; expected float32, or bfloat16 as 2-byte void. "
        "The file was not written by the official code."
    )
