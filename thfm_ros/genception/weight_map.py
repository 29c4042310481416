"""Which array of an official checkpoint becomes which parameter here, and of what shape.

The official files hold kernels as [in, out] and stack the blocks on a leading axis; torch wants
[out, in] and one tensor per block. Nothing but shapes and axes is touched: no value changes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from thfm_ros.genception.config import GenceptionConfig, GenceptionError

SUFFIX = ".value"
"""Ends the key of every array that is a weight."""


@dataclass(frozen=True)
class Weight:
    """One array of the checkpoint.

    ``axes`` is how the axes of one block's (or the only) tensor are reordered. ``target`` names
    the parameter; ``{}`` in it stands for the block. None: checked, but of no effect.
    """

    key: str
    shape: tuple[int, ...]
    target: str | None
    axes: tuple[int, ...]

    @property
    def stacked(self) -> bool:
        """Does the leading axis count the blocks?"""
        return self.target is not None and "{}" in self.target

    @property
    def count(self) -> int:
        """Number of tensors that this array holds."""
        return self.shape[0] if self.stacked else 1

    @property
    def source_shape(self) -> tuple[int, ...]:
        """Shape of each, as stored in the checkpoint."""
        return self.shape[1:] if self.stacked else self.shape

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of each, as torch has it."""
        return tuple(self.source_shape[axis] for axis in self.axes)

    def target_name(self, block: int) -> str:
        """Name of the parameter; ``block`` counts for stacked arrays only."""
        if self.target is None:
            raise ValueError(f"{self.key} has no target")
        return self.target.format(block)


def weight_table(config: GenceptionConfig) -> tuple[Weight, ...]:
    """All arrays of a checkpoint of these sizes, in the order in which they are best read."""
    return (*_outer(config), *_groups(config), *_blocks(config))


def _outer(config: GenceptionConfig) -> Iterator[Weight]:
    dim, patch = config.dim, config.patch_size
    kernel = (*patch, config.in_channels, dim)
    yield Weight("patch_embedding.kernel", kernel, "wan.patch_embedding.weight", (4, 3, 0, 1, 2))
    yield Weight("patch_embedding.bias", (dim,), "wan.patch_embedding.bias", (0,))
    embedder = "condition_embedder."
    for name, narrow, wide in (
        ("time_embedder.linear_1", config.freq_dim, dim),
        ("time_embedder.linear_2", dim, dim),
        ("time_proj", dim, 6 * dim),
        ("text_embedder.linear_1", config.text_dim, dim),
        ("text_embedder.linear_2", dim, dim),
    ):
        yield from _linear(embedder + name, f"wan.{embedder}{name}", narrow, wide)
    out = config.out_channels * patch[0] * patch[1] * patch[2]
    yield from _linear("proj_out", "wan.proj_out", dim, out)
    yield Weight("scale_shift_table", (1, 2, dim), "wan.scale_shift_table", (0, 1, 2))


def _groups(config: GenceptionConfig) -> Iterator[Weight]:
    dim = config.dim
    for number, width in ((1, config.token1_proj_dim), (2, config.token2_proj_dim)):
        mine = f"group{number}."
        # The kernel is applied to zeros, so the bias alone is the token.
        yield Weight(f"learnable_token{number}_proj.kernel", (dim, dim), None, (0, 1))
        yield Weight(f"learnable_token{number}_proj.bias", (dim,), mine + "token", (0,))
        yield Weight(f"learnable_hw_rope{number}", (1, 1, 1, 2), mine + "place", (0, 1, 2, 3))
        table = f"token{number}_scale_shift_table"
        yield Weight(table, (1, 2, dim), mine + "scale_shift_table", (0, 1, 2))
        yield from _linear(f"token{number}_proj_out", mine + "proj_out", dim, width)


def _blocks(config: GenceptionConfig) -> Iterator[Weight]:
    dim, layers = config.dim, config.num_layers
    for attention in ("attn1", "attn2"):
        source, target = f"blocks.{attention}.", f"wan.blocks.{{}}.{attention}."
        for theirs, ours in (
            ("query", "to_q"),
            ("key", "to_k"),
            ("value", "to_v"),
            ("proj_attn", "to_out.0"),
        ):
            yield from _linear(source + theirs, target + ours, dim, dim, layers)
        for norm in ("norm_q", "norm_k"):
            name = f"{target}{norm}.weight"
            yield Weight(f"{source}{norm}.scale", (layers, dim), name, (0,))
    for theirs, ours in (("scale", "weight"), ("bias", "bias")):
        name = f"wan.blocks.{{}}.norm2.{ours}"
        yield Weight(f"blocks.norm2.layer_norm.{theirs}", (layers, dim), name, (0,))
    up, down = "wan.blocks.{}.ffn.net.0.proj", "wan.blocks.{}.ffn.net.2"
    yield from _linear("blocks.ffn.act_fn.proj", up, dim, config.ffn_dim, layers)
    yield from _linear("blocks.ffn.proj_out", down, config.ffn_dim, dim, layers)
    table = "wan.blocks.{}.scale_shift_table"
    yield Weight("blocks.adaln_scale_shift_table", (layers, 1, 6, dim), table, (0, 1, 2))


def _linear(
    source: str, target: str, narrow: int, wide: int, layers: int | None = None
) -> Iterator[Weight]:
    stack = () if layers is None else (layers,)
    yield Weight(f"{source}.kernel", (*stack, narrow, wide), f"{target}.weight", (1, 0))
    yield Weight(f"{source}.bias", (*stack, wide), f"{target}.bias", (0,))


def check_shapes(
    table: tuple[Weight, ...], shapes: Mapping[str, tuple[int, ...]], source: str
) -> None:
    """Every key and every shape, or a GenceptionError that names all that is wrong.

    ``shapes`` goes by the keys of the file; keys that do not end in ``.value`` are no weights and
    are left alone. ``source`` is the file's name, for the error.
    """
    wanted = {weight.key + SUFFIX: weight.shape for weight in table}
    weights = {key: tuple(shape) for key, shape in shapes.items() if key.endswith(SUFFIX)}
    troubles = [f"{key} is missing" for key in sorted(wanted.keys() - weights.keys())]
    troubles += [f"{key} is not known" for key in sorted(weights.keys() - wanted.keys())]
    troubles += [
        f"{key} is {list(weights[key])}, expected {list(shape)}"
        for key, shape in wanted.items()
        if key in weights and weights[key] != shape
    ]
    if troubles:
        right = len(wanted) - sum("not known" not in trouble for trouble in troubles)
        raise GenceptionError(
            f"{source} is not the checkpoint that its config describes ({right} of {len(wanted)} "
            f"weights fit): {'; '.join(troubles)}. Download the file again, or pass the config "
            "that belongs to it."
        )
