# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Attention of the full-size network, in a form that exports to one graph.

An attention processor for the layers of diffusers' Wan transformer. It differs from theirs in two
ways: rotary embeddings are applied without writing into slices (which ONNX turns into ScatterND
and TensorRT cannot do with a dynamic batch), and attention is restricted by token group.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from thfm_ros.genception.rope import Positions


class TextKeyValues(NamedTuple):
    """Keys and values of a prompt in one cross-attention layer; constant while the prompt is."""

    keys: Float[Tensor, "b heads l d"]
    values: Float[Tensor, "b heads l d"]


def apply_rotary(
    x: Float[Tensor, "b heads n d"], cos: Float[Tensor, "n half"], sin: Float[Tensor, "n half"]
) -> Float[Tensor, "b heads n d"]:
    """Rotate each pair of neighbouring channels by its angle, in float32.

    Args:
        x: queries or keys, ``n`` tokens.
        cos: cosine of each token's angle per channel pair; ``half`` is d / 2.
        sin: its sine.
    """
    even, odd = x.reshape(*x.shape[:-1], -1, 2).unbind(-1)
    rotated = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return rotated.reshape(x.shape).type_as(x)


def grouped_attention(
    query: Float[Tensor, "b heads n d"],
    key: Float[Tensor, "b heads n d"],
    value: Float[Tensor, "b heads n d"],
    video_tokens: int,
    group_sizes: tuple[int, ...],
) -> Float[Tensor, "b heads n d"]:
    """Attention in which learned-token groups do not see each other.

    Video tokens attend to video tokens; the tokens of a group attend to video tokens and to their
    own group. Equal to masked attention, without an n x n mask.

    Args:
        query: of all tokens, video first, then group after group.
        key: in the same order.
        value: in the same order.
        video_tokens: number of video tokens.
        group_sizes: number of tokens in each group; with ``video_tokens`` they add up to ``n``.
    """

    def tokens(x: Tensor, start: int, count: int) -> Tensor:
        return x[:, :, start : start + count]

    video_query = tokens(query, 0, video_tokens)
    video_keys, video_values = tokens(key, 0, video_tokens), tokens(value, 0, video_tokens)
    outputs = [scaled_dot_product_attention(video_query, video_keys, video_values)]
    start = video_tokens
    for size in group_sizes:
        keys = torch.cat((video_keys, tokens(key, start, size)), dim=2)
        values = torch.cat((video_values, tokens(value, start, size)), dim=2)
        outputs.append(scaled_dot_product_attention(tokens(query, start, size), keys, values))
        start += size
    return torch.cat(outputs, dim=2)


def text_key_values(attention: Any, text: Float[Tensor, "b l dim"]) -> TextKeyValues:
    """Keys and values of an embedded prompt for one cross-attention layer."""
    return TextKeyValues(
        _split_heads(attention, attention.norm_k(attention.to_k(text))),
        _split_heads(attention, attention.to_v(text)),
    )


def _split_heads(attention: Any, x: Float[Tensor, "b n dim"]) -> Float[Tensor, "b heads n d"]:
    return x.reshape(*x.shape[:2], attention.heads, -1).transpose(1, 2)


def rotated_query_and_key(
    attention: Any, hidden: Float[Tensor, "b n dim"], positions: Positions
) -> tuple[Float[Tensor, "b heads n d"], Float[Tensor, "b heads n d"]]:
    """Queries and keys of a self-attention layer, with the rotary embedding applied."""
    query = _split_heads(attention, attention.norm_q(attention.to_q(hidden)))
    key = _split_heads(attention, attention.norm_k(attention.to_k(hidden)))
    return (
        apply_rotary(query, positions.cos, positions.sin),
        apply_rotary(key, positions.cos, positions.sin),
    )


class GroupedAttention:
    """Processor of a block's self-attention and cross-attention.

    With ``encoder_hidden_states`` it computes cross-attention, without it grouped self-attention.
    The text is an embedded prompt, or its keys and values computed beforehand (`TextKeyValues`).
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "b n dim"],
        encoder_hidden_states: Float[Tensor, "b l dim"] | TextKeyValues | None = None,
        attention_mask: None = None,
        rotary_emb: Positions | None = None,
    ) -> Float[Tensor, "b n dim"]:
        """See `WanAttention.forward` of diffusers, which passes these arguments by name."""
        text = encoder_hidden_states
        if text is not None:
            prompt = text if isinstance(text, TextKeyValues) else text_key_values(attn, text)
            query = _split_heads(attn, attn.norm_q(attn.to_q(hidden_states)))
            mixed = scaled_dot_product_attention(query, prompt.keys, prompt.values)
        elif rotary_emb is not None:
            query, key = rotated_query_and_key(attn, hidden_states, rotary_emb)
            value = _split_heads(attn, attn.to_v(hidden_states))
            mixed = grouped_attention(
                query, key, value, rotary_emb.video_tokens, rotary_emb.group_sizes
            )
        else:
            raise ValueError("attention needs encoder_hidden_states or rotary_emb")
        out: Tensor = attn.to_out[0](mixed.transpose(1, 2).flatten(2).type_as(hidden_states))
        return out
