# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The full-size network against outputs and intermediate results of the official code."""

from collections.abc import Callable
from typing import Any

import genception_fixtures as reference
import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.genception.attention import grouped_attention, rotated_query_and_key
from thfm_ros.genception.config import GenceptionError, config_from_mapping
from thfm_ros.genception.rope import Grid, frame_times, group_coordinates
from thfm_ros.genception.transformer import GenceptionTransformer, load_transformer

TOLERANCE = 1e-5  # of the largest reference value; 1e-4 would not detect an exact GELU


@pytest.fixture(scope="module")
def network() -> GenceptionTransformer:
    return load_transformer(reference.TINY, reference.config())


def inputs(prefix: str = "input/") -> tuple[Tensor, Tensor, Tensor]:
    return (
        reference.tensor("input/latents"),
        reference.tensor("input/prompt_embeds"),
        reference.tensor(prefix + "timestep"),
    )


@torch.no_grad()
@pytest.mark.parametrize(
    ("input_prefix", "output_prefix"),
    [("input/", "output/"), ("extra_timestep/", "extra_timestep/")],
)
def test_outputs_equal_the_official_code(
    network: GenceptionTransformer, input_prefix: str, output_prefix: str
) -> None:
    # At t = 0 the sine half of the time embedding is zero; t > 0 tests it, too.
    outputs = network(*inputs(input_prefix))
    for actual, name in zip(outputs, ("video_latents", "token1", "token2"), strict=True):
        assert reference.relative_error(actual, reference.tensor(output_prefix + name)) < TOLERANCE


@torch.no_grad()
def test_timestep_defaults_to_zero(network: GenceptionTransformer) -> None:
    latents, prompt, zero = inputs()
    for timestep in (None, 0):
        torch.testing.assert_close(
            network(latents, prompt, timestep), network(latents, prompt, zero), rtol=0, atol=0
        )


@torch.no_grad()
def intermediate_results(network: GenceptionTransformer) -> dict[str, Tensor]:
    """Inputs and outputs of layers, by the names of the reference data."""
    results: dict[str, Tensor] = {}

    def record(module: Any, name: str, pick: Callable[[Any, Any], Tensor]) -> Any:
        def hook(_: Any, inputs: Any, output: Any) -> None:
            results[name] = pick(inputs, output)

        return module.register_forward_hook(hook)

    embedder, blocks = network.wan.condition_embedder, network.wan.blocks
    first = blocks[0]
    hooks = [
        record(first, "hidden_in", lambda inputs, output: inputs[0]),
        record(first.attn1, "block0_attn1_in", lambda inputs, output: inputs[0]),
        record(first.attn1, "block0_attn1_out", lambda inputs, output: output),
        record(first.attn2, "block0_attn2_out", lambda inputs, output: output),
        record(first.ffn, "block0_ffn_out", lambda inputs, output: output),
        record(embedder.timesteps_proj, "sinusoid", lambda inputs, output: output),
        *(record(b, f"block{i}_out", lambda inputs, output: output) for i, b in enumerate(blocks)),
    ]
    network(*inputs())
    for hook in hooks:
        hook.remove()
    condition = network.condition(inputs()[1])
    assert isinstance(condition.text, Tensor)
    results |= {"temb": condition.temb, "text_proj": condition.text}
    results["timestep_proj"] = condition.modulation
    positions = network.positions(network.grid_of(inputs()[0]))
    results |= {"rope_cos": positions.cos, "rope_sin": positions.sin}
    hidden = reference.tensor("debug/block0_attn1_in")
    query, key = rotated_query_and_key(first.attn1, hidden, positions)
    return results | {"block0_q_rope": query, "block0_k_rope": key}


def test_intermediate_results_equal_the_official_code(network: GenceptionTransformer) -> None:
    results = intermediate_results(network)
    keys = {k[6:]: k for k in reference.arrays(reference.TINY) if k.startswith("debug/")}
    assert results.keys() == keys.keys()
    errors = {
        name: reference.relative_error(result, reference.tensor(keys[name]))
        for name, result in results.items()
    }
    assert not {name: error for name, error in errors.items() if error >= TOLERANCE}


@torch.no_grad()
def test_bfloat16_as_void_is_read_exactly() -> None:
    network = load_transformer(reference.TINY_BF16, reference.config())
    for name, actual in zip(("video_latents", "token1", "token2"), network(*inputs()), strict=True):
        expected = reference.tensor(f"output_f32compute/{name}", reference.TINY_BF16)
        assert reference.relative_error(actual, expected) < TOLERANCE


@torch.no_grad()
def test_bfloat16_computation_is_as_accurate_as_the_official_code() -> None:
    network = load_transformer(reference.TINY_BF16, reference.config(), dtype=torch.bfloat16)
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    for name, actual in zip(("video_latents", "token1", "token2"), network(*inputs()), strict=True):
        assert actual.dtype == torch.float32  # that of the input latents
        official = reference.tensor(f"output_bf16/{name}", reference.TINY_BF16)
        exact = reference.tensor(f"output_f32compute/{name}", reference.TINY_BF16)
        # The official code in bfloat16 is 6e-3 to 8e-3 from float32.
        assert (actual - exact).norm() / exact.norm() < 1e-2
        assert (actual - official).norm() / official.norm() < 1.5e-2


def test_every_weight_except_the_unused_kernel_affects_the_outputs() -> None:
    original = load_transformer(reference.weights(), reference.config())
    with torch.no_grad():
        before = torch.cat([each.flatten() for each in original(*inputs())])
    for key, array in reference.weights().items():
        changed = {**reference.weights(), key: array + np.float32(0.1) * (1 + np.abs(array))}
        if key.startswith(("learnable_hw", "blocks.attn1.key.bias", "blocks.attn2.key.bias")):
            changed[key] = np.flip(array, -1) + np.float32(0.5)  # a uniform shift would cancel out
        network = load_transformer(changed, reference.config())
        with torch.no_grad():
            after = torch.cat([each.flatten() for each in network(*inputs())])
        unused = key.startswith("learnable_token") and key.endswith("kernel.value")
        assert torch.equal(before, after) == unused, key


@pytest.mark.parametrize("number_of_layers", [1, 2])
def test_one_and_two_blocks_load(number_of_layers: int) -> None:
    truncated = {
        key: array[:number_of_layers] if key.startswith("blocks.") else array
        for key, array in reference.weights().items()
    }
    config = {**reference.config(), "num_layers": number_of_layers}
    assert len(load_transformer(truncated, config).wan.blocks) == number_of_layers


def test_mismatched_checkpoint_is_rejected_with_all_reasons() -> None:
    broken = dict(reference.weights())
    del broken["proj_out.bias.value"]
    broken["blocks.attn3.query.bias.value"] = broken["blocks.attn1.query.bias.value"]
    broken["token2_proj_out.bias.value"] = broken["token2_proj_out.bias.value"][:-1]
    with pytest.raises(GenceptionError) as error:
        load_transformer(broken, reference.config())
    for reason in (
        "52 of 54",
        "proj_out.bias.value is missing",
        "blocks.attn3.query.bias.value is not known",
        "token2_proj_out.bias.value is [98], expected [99]",
    ):
        assert reason in str(error.value)


def test_weight_of_unsupported_type_is_rejected() -> None:
    weights = {**reference.weights(), "proj_out.bias.value": np.zeros(64, np.int64)}
    with pytest.raises(GenceptionError, match=r"proj_out.bias.*int64"):
        load_transformer(weights, reference.config())


@pytest.mark.parametrize(
    ("setting", "value"),
    [("qk_norm", "layer"), ("token1_num_per_frame", 2), ("diffusion_single_step", 49)],
)
def test_config_of_another_network_is_rejected(setting: str, value: object) -> None:
    with pytest.raises(GenceptionError, match=setting):
        config_from_mapping({**reference.config(), setting: value})


@pytest.mark.parametrize(
    "shape", [(1, 15, 3, 8, 12), (1, 16, 3, 7, 12), (1, 16, 3, 8, 11), (16, 3, 8, 12)]
)
def test_latents_of_wrong_shape_are_rejected(
    network: GenceptionTransformer, shape: tuple[int, ...]
) -> None:
    with pytest.raises(GenceptionError, match="expected"):
        network(torch.zeros(shape), inputs()[1])


def test_prompt_of_wrong_width_is_rejected(network: GenceptionTransformer) -> None:
    with pytest.raises(GenceptionError, match="thfm prompt"):
        network(inputs()[0], torch.zeros(1, 7, 31))


def test_frame_times_are_centred_on_their_latent_frame() -> None:
    times = frame_times(Grid(21, 30, 52))
    assert len(times) == 81
    assert times[:6].tolist() == [0, 0.625, 0.875, 1.125, 1.375, 1.625]
    assert times[-1].item() == 20.375
    assert frame_times(Grid(1, 1, 1)).tolist() == [0]


def test_learned_coordinates_keep_their_offset_from_the_centre() -> None:
    learned = torch.tensor([15.5, 25.0]).reshape(1, 1, 1, 2)
    native = group_coordinates(learned, Grid(3, 30, 52), (30, 52))
    smaller = group_coordinates(learned, Grid(3, 16, 28), (30, 52))
    assert native[:, 1:].unique(dim=0).tolist() == [[15.5, 25.0]]
    assert smaller[:, 1:].unique(dim=0).tolist() == [[15.5 - 7, 25.0 - 12]]


def test_grouped_attention_equals_masked_attention() -> None:
    torch.manual_seed(3)
    query, key, value = torch.randn(3, 2, 4, 14, 8).unbind(0)
    owner = torch.tensor([0] * 9 + [1] * 3 + [2] * 2)
    allowed = (owner[None] == 0) | (owner[None] == owner[:, None])
    masked = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    torch.testing.assert_close(grouped_attention(query, key, value, 9, (3, 2)), masked)
