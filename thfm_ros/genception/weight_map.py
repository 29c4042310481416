# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Mapping of the arrays of an official checkpoint to parameters here, with their shapes.

The official files hold kernels as [in, out] and stack the blocks on a leading axis; torch needs
[out, in] and one tensor per block. Only axes are reordered; values do not change.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from thfm_ros.genception.config import GenceptionConfig, GenceptionError

SUFFIX = ".value"
"""Suffix of the keys of all arrays that are weights."""


@dataclass(frozen=True)
class MappedWeight:
    """One array of the checkpoint and the parameter, or the parameters of all blocks, it fills."""

    key: str
    shape: tuple[int, ...]
    target: str | None  # parameter name, "{}" for the block number; None: checked but not used
    axes: tuple[int, ...]  # permutation from the stored to the parameter's axes, without the stack

    @property
    def stacked(self) -> bool:
        """Whether the leading axis is the block."""
        return self.target is not None and "{}" in self.target

    @property
    def count(self) -> int:
        """Number of parameters that the array fills."""
        return self.shape[0] if self.stacked else 1

    @property
    def source_shape(self) -> tuple[int, ...]:
        """Shape of one parameter as stored in the checkpoint."""
        return self.shape[1:] if self.stacked else self.shape

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of one parameter."""
        return tuple(self.source_shape[axis] for axis in self.axes)

    def target_name(self, block: int) -> str:
        """Name of the parameter; ``block`` is used for stacked arrays only."""
        if self.target is None:
            raise ValueError(f"{self.key} has no target")
        return self.target.format(block)


def build_weight_map(config: GenceptionConfig) -> tuple[MappedWeight, ...]:
    """All arrays of a checkpoint of these sizes."""
    return (*_embeddings_and_head(config), *_token_groups(config), *_blocks(config))


def _embeddings_and_head(config: GenceptionConfig) -> Iterator[MappedWeight]:
    dim, patch = config.dim, config.patch_size
    kernel = (*patch, config.in_channels, dim)
    yield MappedWeight(
        "patch_embedding.kernel", kernel, "wan.patch_embedding.weight", (4, 3, 0, 1, 2)
    )
    yield MappedWeight("patch_embedding.bias", (dim,), "wan.patch_embedding.bias", (0,))
    embedder = "condition_embedder."
    for name, inputs, outputs in (
        ("time_embedder.linear_1", config.freq_dim, dim),
        ("time_embedder.linear_2", dim, dim),
        ("time_proj", dim, 6 * dim),
        ("text_embedder.linear_1", config.text_dim, dim),
        ("text_embedder.linear_2", dim, dim),
    ):
        yield from _linear(embedder + name, f"wan.{embedder}{name}", inputs, outputs)
    out = config.out_channels * patch[0] * patch[1] * patch[2]
    yield from _linear("proj_out", "wan.proj_out", dim, out)
    yield MappedWeight("scale_shift_table", (1, 2, dim), "wan.scale_shift_table", (0, 1, 2))


def _token_groups(config: GenceptionConfig) -> Iterator[MappedWeight]:
    dim = config.dim
    for number, width in ((1, config.token1_proj_dim), (2, config.token2_proj_dim)):
        target = f"group{number}."
        # The official code applies the kernel to zeros, so the bias alone is the token.
        yield MappedWeight(f"learnable_token{number}_proj.kernel", (dim, dim), None, (0, 1))
        yield MappedWeight(f"learnable_token{number}_proj.bias", (dim,), target + "token", (0,))
        place = f"learnable_hw_rope{number}"
        yield MappedWeight(place, (1, 1, 1, 2), target + "place", (0, 1, 2, 3))
        table = f"token{number}_scale_shift_table"
        yield MappedWeight(table, (1, 2, dim), target + "scale_shift_table", (0, 1, 2))
        yield from _linear(f"token{number}_proj_out", target + "proj_out", dim, width)


def _blocks(config: GenceptionConfig) -> Iterator[MappedWeight]:
    dim, layers = config.dim, config.num_layers
    for attention in ("attn1", "attn2"):
        source, target = f"blocks.{attention}.", f"wan.blocks.{{}}.{attention}."
        for official, parameter in (
            ("query", "to_q"),
            ("key", "to_k"),
            ("value", "to_v"),
            ("proj_attn", "to_out.0"),
        ):
            yield from _linear(source + official, target + parameter, dim, dim, layers)
        for norm in ("norm_q", "norm_k"):
            name = f"{target}{norm}.weight"
            yield MappedWeight(f"{source}{norm}.scale", (layers, dim), name, (0,))
    for official, parameter in (("scale", "weight"), ("bias", "bias")):
        name = f"wan.blocks.{{}}.norm2.{parameter}"
        yield MappedWeight(f"blocks.norm2.layer_norm.{official}", (layers, dim), name, (0,))
    up, down = "wan.blocks.{}.ffn.net.0.proj", "wan.blocks.{}.ffn.net.2"
    yield from _linear("blocks.ffn.act_fn.proj", up, dim, config.ffn_dim, layers)
    yield from _linear("blocks.ffn.proj_out", down, config.ffn_dim, dim, layers)
    table = "wan.blocks.{}.scale_shift_table"
    yield MappedWeight("blocks.adaln_scale_shift_table", (layers, 1, 6, dim), table, (0, 1, 2))


def _linear(
    source: str, target: str, inputs: int, outputs: int, layers: int | None = None
) -> Iterator[MappedWeight]:
    stack = () if layers is None else (layers,)
    yield MappedWeight(f"{source}.kernel", (*stack, inputs, outputs), f"{target}.weight", (1, 0))
    yield MappedWeight(f"{source}.bias", (*stack, outputs), f"{target}.bias", (0,))


def check_shapes(
    weight_map: tuple[MappedWeight, ...], shapes: Mapping[str, tuple[int, ...]], source: str
) -> None:
    """Check the keys and shapes of a checkpoint.

    Args:
        weight_map: expected arrays.
        shapes: by key of the file; keys that do not end in ``.value`` are ignored.
        source: the file's name, for the message.

    Raises:
        GenceptionError: keys are missing, unknown or of another shape; all are named.
    """
    expected = {weight.key + SUFFIX: weight.shape for weight in weight_map}
    weights = {key: tuple(shape) for key, shape in shapes.items() if key.endswith(SUFFIX)}
    missing = sorted(expected.keys() - weights.keys())
    mismatched = [
        f"{key} is {list(weights[key])}, expected {list(shape)}"
        for key, shape in expected.items()
        if key in weights and weights[key] != shape
    ]
    problems = [f"{key} is missing" for key in missing]
    problems += [f"{key} is not known" for key in sorted(weights.keys() - expected.keys())]
    problems += mismatched
    if problems:
        matching = len(expected) - len(missing) - len(mismatched)
        raise GenceptionError(
            f"{source} is not the checkpoint that its config describes ({matching} of "
            f"{len(expected)} weights match): {'; '.join(problems)}. Download the file again, or "
            "use the config that belongs to it."
        )
