"""The full-size network against what the official code computed, value by value."""

from collections.abc import Callable
from typing import Any

import genception_fixtures as reference
import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.genception.attention import attend_in_groups, rotated_query_and_key
from thfm_ros.genception.config import GenceptionError, config_from_mapping
from thfm_ros.genception.rope import Grid, group_places, token_times
from thfm_ros.genception.transformer import GenceptionTransformer, load_transformer

TOLERANCE = 1e-5  # of the greatest reference value; 1e-4 would let an exact GELU through


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
    ("given", "wanted"), [("input/", "output/"), ("extra_timestep/", "extra_timestep/")]
)
def test_every_output_is_the_official_one(
    network: GenceptionTransformer, given: str, wanted: str
) -> None:
    # t > 0 reaches the sine half of the embedding, which t = 0 multiplies by nothing.
    outputs = network(*inputs(given))
    for got, name in zip(outputs, ("video_latents", "token1", "token2"), strict=True):
        assert reference.relative_error(got, reference.tensor(wanted + name)) < TOLERANCE


@torch.no_grad()
def test_the_timestep_is_zero_unless_it_is_given(network: GenceptionTransformer) -> None:
    latents, prompt, zero = inputs()
    for timestep in (None, 0):
        torch.testing.assert_close(
            network(latents, prompt, timestep), network(latents, prompt, zero), rtol=0, atol=0
        )


@torch.no_grad()
def intermediates(network: GenceptionTransformer) -> dict[str, Tensor]:
    """What passes between the layers, by the names of the reference."""
    seen: dict[str, Tensor] = {}

    def keep(module: Any, name: str, pick: Callable[[Any, Any], Tensor]) -> Any:
        def hook(_: Any, given: Any, out: Any) -> None:
            seen[name] = pick(given, out)

        return module.register_forward_hook(hook)

    embedder, blocks = network.wan.condition_embedder, network.wan.blocks
    first = blocks[0]
    hooks = [
        keep(first, "hidden_in", lambda given, out: given[0]),
        keep(first.attn1, "block0_attn1_in", lambda given, out: given[0]),
        keep(first.attn1, "block0_attn1_out", lambda given, out: out),
        keep(first.attn2, "block0_attn2_out", lambda given, out: out),
        keep(first.ffn, "block0_ffn_out", lambda given, out: out),
        keep(embedder.timesteps_proj, "sinusoid", lambda given, out: out),
        *(keep(b, f"block{i}_out", lambda given, out: out) for i, b in enumerate(blocks)),
    ]
    network(*inputs())
    for hook in hooks:
        hook.remove()
    condition = network.condition(inputs()[1])
    assert isinstance(condition.text, Tensor)
    seen |= {"temb": condition.temb, "text_proj": condition.text}
    seen["timestep_proj"] = condition.modulation
    positions = network.positions(network.grid_of(inputs()[0]))
    seen |= {"rope_cos": positions.cos, "rope_sin": positions.sin}
    attended = reference.tensor("debug/block0_attn1_in")
    query, key = rotated_query_and_key(first.attn1, attended, positions)
    return seen | {"block0_q_rope": query, "block0_k_rope": key}


def test_every_intermediate_is_the_official_one(network: GenceptionTransformer) -> None:
    seen = intermediates(network)
    wanted = {k[6:]: k for k in reference.arrays(reference.TINY) if k.startswith("debug/")}
    assert seen.keys() == wanted.keys()
    errors = {
        name: reference.relative_error(got, reference.tensor(wanted[name]))
        for name, got in seen.items()
    }
    assert not {name: error for name, error in errors.items() if error >= TOLERANCE}


@torch.no_grad()
def test_bfloat16_as_void_is_read_to_the_last_bit() -> None:
    network = load_transformer(reference.TINY_BF16, reference.config())
    for name, got in zip(("video_latents", "token1", "token2"), network(*inputs()), strict=True):
        wanted = reference.tensor(f"output_f32compute/{name}", reference.TINY_BF16)
        assert reference.relative_error(got, wanted) < TOLERANCE


@torch.no_grad()
def test_computing_in_bfloat16_stays_as_close_as_the_official_code_does() -> None:
    network = load_transformer(reference.TINY_BF16, reference.config(), dtype=torch.bfloat16)
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    for name, got in zip(("video_latents", "token1", "token2"), network(*inputs()), strict=True):
        assert got.dtype == torch.float32  # as the latents that were given
        official = reference.tensor(f"output_bf16/{name}", reference.TINY_BF16)
        exact = reference.tensor(f"output_f32compute/{name}", reference.TINY_BF16)
        # The official bf16 is 6e-3 to 8e-3 away from float32 itself.
        assert (got - exact).norm() / exact.norm() < 1e-2
        assert (got - official).norm() / official.norm() < 1.5e-2


def test_every_weight_but_the_unused_kernel_changes_the_answer() -> None:
    original = load_transformer(reference.weights(), reference.config())
    with torch.no_grad():
        before = torch.cat([each.flatten() for each in original(*inputs())])
    for key, array in reference.weights().items():
        changed = {**reference.weights(), key: array + np.float32(0.1) * (1 + np.abs(array))}
        if key.startswith(("learnable_hw", "blocks.attn1.key.bias", "blocks.attn2.key.bias")):
            changed[key] = np.flip(array, -1) + np.float32(0.5)  # a constant shift cancels out
        network = load_transformer(changed, reference.config())
        with torch.no_grad():
            after = torch.cat([each.flatten() for each in network(*inputs())])
        unused = key.startswith("learnable_token") and key.endswith("kernel.value")
        assert torch.equal(before, after) == unused, key


@pytest.mark.parametrize("number_of_layers", [1, 2])
def test_a_stack_of_one_block_is_still_a_stack(number_of_layers: int) -> None:
    short = {
        key: array[:number_of_layers] if key.startswith("blocks.") else array
        for key, array in reference.weights().items()
    }
    config = {**reference.config(), "num_layers": number_of_layers}
    assert len(load_transformer(short, config).wan.blocks) == number_of_layers


def test_a_checkpoint_that_does_not_fit_is_refused_with_every_reason() -> None:
    broken = dict(reference.weights())
    del broken["proj_out.bias.value"]
    broken["blocks.attn3.query.bias.value"] = broken["blocks.attn1.query.bias.value"]
    broken["token2_proj_out.bias.value"] = broken["token2_proj_out.bias.value"][:-1]
    with pytest.raises(GenceptionError) as refusal:
        load_transformer(broken, reference.config())
    for reason in (
        "52 of 54",
        "proj_out.bias.value is missing",
        "blocks.attn3.query.bias.value is not known",
        "token2_proj_out.bias.value is [98], expected [99]",
    ):
        assert reason in str(refusal.value)


def test_a_weight_of_another_type_is_refused() -> None:
    odd = {**reference.weights(), "proj_out.bias.value": np.zeros(64, np.int64)}
    with pytest.raises(GenceptionError, match=r"proj_out.bias.*int64"):
        load_transformer(odd, reference.config())


@pytest.mark.parametrize(
    ("setting", "value"),
    [("qk_norm", "layer"), ("token1_num_per_frame", 2), ("diffusion_single_step", 49)],
)
def test_a_config_of_another_network_is_refused(setting: str, value: object) -> None:
    with pytest.raises(GenceptionError, match=setting):
        config_from_mapping({**reference.config(), setting: value})


@pytest.mark.parametrize(
    "shape", [(1, 15, 3, 8, 12), (1, 16, 3, 7, 12), (1, 16, 3, 8, 11), (16, 3, 8, 12)]
)
def test_latents_that_do_not_fit_are_refused(
    network: GenceptionTransformer, shape: tuple[int, ...]
) -> None:
    with pytest.raises(GenceptionError, match="expected"):
        network(torch.zeros(shape), inputs()[1])


def test_a_prompt_of_another_encoder_is_refused(network: GenceptionTransformer) -> None:
    with pytest.raises(GenceptionError, match="thfm prompt"):
        network(inputs()[0], torch.zeros(1, 7, 31))


def test_frames_are_centred_on_the_latent_frame_that_holds_them() -> None:
    times = token_times(Grid(21, 30, 52))
    assert len(times) == 81
    assert times[:6].tolist() == [0, 0.625, 0.875, 1.125, 1.375, 1.625]
    assert times[-1].item() == 20.375
    assert token_times(Grid(1, 1, 1)).tolist() == [0]


def test_learned_places_keep_their_distance_from_the_centre() -> None:
    learned = torch.tensor([15.5, 25.0]).reshape(1, 1, 1, 2)
    native = group_places(learned, Grid(3, 30, 52), (30, 52))
    smaller = group_places(learned, Grid(3, 16, 28), (30, 52))
    assert native[:, 1:].unique(dim=0).tolist() == [[15.5, 25.0]]
    assert smaller[:, 1:].unique(dim=0).tolist() == [[15.5 - 7, 25.0 - 12]]


def test_groups_attend_as_under_a_mask() -> None:
    torch.manual_seed(3)
    query, key, value = torch.randn(3, 2, 4, 14, 8).unbind(0)
    owner = torch.tensor([0] * 9 + [1] * 3 + [2] * 2)
    allowed = (owner[None] == 0) | (owner[None] == owner[:, None])
    masked = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    torch.testing.assert_close(attend_in_groups(query, key, value, 9, (3, 2)), masked)
