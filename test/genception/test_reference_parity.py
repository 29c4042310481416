# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Video latents against diffusers' own Wan transformer, on random configurations."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from diffusers import WanTransformer3DModel

from thfm_ros.genception.config import GenceptionConfig
from thfm_ros.genception.transformer import load_transformer
from thfm_ros.genception.weight_map import SUFFIX, MappedWeight, build_weight_map


@st.composite
def configs(draw: st.DrawFn) -> GenceptionConfig:
    return GenceptionConfig(
        num_attention_heads=draw(st.integers(1, 3)),
        attention_head_dim=draw(st.sampled_from([6, 8, 12, 20, 26, 32])),
        num_layers=draw(st.integers(1, 3)),
        ffn_dim=draw(st.integers(3, 40)),
        in_channels=draw(st.integers(1, 5)),
        out_channels=draw(st.integers(1, 5)),
        patch_size=draw(st.sampled_from([(1, 2, 2), (1, 1, 2), (1, 2, 1)])),
        text_dim=draw(st.integers(2, 20)),
        freq_dim=2 * draw(st.integers(1, 12)),
        eps=draw(st.sampled_from([1e-6, 1e-5, 1e-3])),
        token1_proj_dim=4,
        token1_output_dim=2,
    )


def diffusers_network(config: GenceptionConfig) -> Any:
    network = WanTransformer3DModel(
        **{name: value for name, value in config.to_dict().items() if name in _SHARED_SETTINGS},
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=16,
    )
    with torch.no_grad():
        for parameter in network.parameters():  # many are initialized to zeros and ones
            parameter.normal_(std=0.3)
    return network.eval()


_SHARED_SETTINGS = {
    *("num_attention_heads", "attention_head_dim", "num_layers", "ffn_dim", "in_channels"),
    *("out_channels", "patch_size", "text_dim", "freq_dim", "eps"),
}


def official_arrays(config: GenceptionConfig, state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """diffusers' weights in the layout of an official checkpoint, with random token groups."""
    return {w.key + SUFFIX: _array(w, state) for w in build_weight_map(config)}


def _array(weight: MappedWeight, state: dict[str, torch.Tensor]) -> np.ndarray[Any, Any]:
    if weight.target is None or not weight.target.startswith("wan."):
        return np.random.default_rng(0).normal(size=weight.shape).astype(np.float32)
    inverse_axes = np.argsort(weight.axes)
    names = [weight.target_name(i).removeprefix("wan.") for i in range(weight.count)]
    arrays = [np.transpose(state[name].numpy(), inverse_axes) for name in names]
    return np.stack(arrays) if weight.stacked else arrays[0]


@settings(max_examples=10, deadline=None)
@given(
    config=configs(),
    seed=st.integers(0, 2**16),
    batch=st.integers(1, 2),
    frames=st.integers(1, 4),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    length=st.integers(1, 9),
    timestep=st.integers(0, 999),
)
@torch.no_grad()
def test_video_latents_are_minus_the_velocity_of_diffusers(
    config: GenceptionConfig,
    seed: int,
    batch: int,
    frames: int,
    rows: int,
    columns: int,
    length: int,
    timestep: int,
) -> None:
    torch.manual_seed(seed)
    diffusers_model = diffusers_network(config)
    state = {name: value.detach() for name, value in diffusers_model.state_dict().items()}
    network = load_transformer(official_arrays(config, state), config)
    _, tall, wide = config.patch_size
    latents = torch.randn(batch, config.in_channels, frames, rows * tall, columns * wide)
    prompt = torch.randn(batch, length, config.text_dim)
    time = torch.full((batch,), timestep)
    velocity = diffusers_model(latents, time, prompt, return_dict=False)[0]
    outputs = network(latents, prompt, time)
    error = (outputs.video_latents + velocity).abs().max() / velocity.abs().max()
    assert error < 1e-5
    images = 4 * (frames - 1) + 1
    assert outputs.tokens1.shape == (batch, images, 2, 2)
    assert outputs.tokens2.shape == (batch, images, 33, 3)
    assert torch.isfinite(outputs.tokens1).all()
