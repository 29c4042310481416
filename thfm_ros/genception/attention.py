"""Attention of the full-size network, in a form that exports to one graph.

A processor for the attention layers of diffusers' Wan transformer. It differs from theirs in two
ways: rotations are computed without writing into slices (which ONNX turns into ScatterND and
TensorRT cannot do with a dynamic batch), and tokens attend by group.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from thfm_ros.genception.rope import Positions


class TextKeys(NamedTuple):
    """What one layer keeps of a prompt that does not change: its keys and values."""

    keys: Float[Tensor, "b heads l d"]
    values: Float[Tensor, "b heads l d"]


def rotate(
    x: Float[Tensor, "b heads n d"], cos: Float[Tensor, "n half"], sin: Float[Tensor, "n half"]
) -> Float[Tensor, "b heads n d"]:
    """Turn each neighbouring pair of channels by its angle, in float32."""
    even, odd = x.reshape(*x.shape[:-1], -1, 2).unbind(-1)
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.reshape(x.shape).type_as(x)


def attend_in_groups(
    query: Float[Tensor, "b heads n d"],
    key: Float[Tensor, "b heads n d"],
    value: Float[Tensor, "b heads n d"],
    video: int,
    groups: tuple[int, ...],
) -> Float[Tensor, "b heads n d"]:
    """Video sees video; each group sees video and itself; no group sees another.

    The same as one attention under a mask, without a mask of n x n.
    """

    def part(x: Tensor, start: int, count: int) -> Tensor:
        return x[:, :, start : start + count]

    seen_keys, seen_values = part(key, 0, video), part(value, 0, video)
    answers = [scaled_dot_product_attention(part(query, 0, video), seen_keys, seen_values)]
    start = video
    for count in groups:
        keys = torch.cat((seen_keys, part(key, start, count)), dim=2)
        values = torch.cat((seen_values, part(value, start, count)), dim=2)
        answers.append(scaled_dot_product_attention(part(query, start, count), keys, values))
        start += count
    return torch.cat(answers, dim=2)


def text_keys(attention: Any, text: Float[Tensor, "b l dim"]) -> TextKeys:
    """Keys and values of a prompt for one cross-attention layer."""
    return TextKeys(
        _heads(attention, attention.norm_k(attention.to_k(text))),
        _heads(attention, attention.to_v(text)),
    )


def _heads(attention: Any, x: Float[Tensor, "b n dim"]) -> Float[Tensor, "b heads n d"]:
    return x.reshape(*x.shape[:2], attention.heads, -1).transpose(1, 2)


def rotated_query_and_key(
    attention: Any, hidden: Float[Tensor, "b n dim"], positions: Positions
) -> tuple[Float[Tensor, "b heads n d"], Float[Tensor, "b heads n d"]]:
    """Queries and keys of a self-attention layer, where their tokens are."""
    query = _heads(attention, attention.norm_q(attention.to_q(hidden)))
    key = _heads(attention, attention.norm_k(attention.to_k(hidden)))
    return (
        rotate(query, positions.cos, positions.sin),
        rotate(key, positions.cos, positions.sin),
    )


class GroupedAttention:
    """Processor for both attentions of a block: with a text it crosses, without it does not.

    The text may be given as a tensor or, computed beforehand, as `TextKeys`.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "b n dim"],
        encoder_hidden_states: Float[Tensor, "b l dim"] | TextKeys | None = None,
        attention_mask: None = None,
        rotary_emb: Positions | None = None,
    ) -> Float[Tensor, "b n dim"]:
        """See `WanAttention.forward` of diffusers, whose names these are."""
        text = encoder_hidden_states
        if text is not None:
            known = text if isinstance(text, TextKeys) else text_keys(attn, text)
            query = _heads(attn, attn.norm_q(attn.to_q(hidden_states)))
            mixed = scaled_dot_product_attention(query, known.keys, known.values)
        elif rotary_emb is not None:
            query, key = rotated_query_and_key(attn, hidden_states, rotary_emb)
            value = _heads(attn, attn.to_v(hidden_states))
            mixed = attend_in_groups(query, key, value, rotary_emb.video, rotary_emb.groups)
        else:
            raise ValueError("attention needs a text to cross to, or positions")
        out: Tensor = attn.to_out[0](mixed.transpose(1, 2).flatten(2).type_as(hidden_states))
        return out
