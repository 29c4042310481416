# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Subgraphs of fixed shapes: they export, and compute the same as the network."""

from collections import Counter
from pathlib import Path

import genception_fixtures as reference
import pytest
import torch
from formula_weights import fill
from torch import Tensor, nn

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.genception.config import GenceptionError
from thfm_ros.genception.subgraphs import (
    GenceptionSubgraphs,
    Profile,
    make_subgraphs,
    prompt_key_values,
)
from thfm_ros.genception.tiny_vae import TinyVae
from thfm_ros.genception.transformer import GenceptionTransformer, load_transformer
from thfm_ros.genception.wan_vae import VaeVariant, WanVae, load_vae

PROFILE = Profile(frames=5, width=48, height=32)


@pytest.fixture(scope="module")
def vae_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release") / "vae"
    reference.write_vae(folder)
    return folder


@pytest.fixture(scope="module")
def network() -> GenceptionTransformer:
    return load_transformer(reference.TINY, reference.config())


@pytest.fixture(scope="module")
def vae(vae_folder: Path) -> WanVae:
    return load_vae(vae_folder, VaeVariant.AS_RELEASED)


@pytest.fixture(scope="module")
def subgraphs(network: GenceptionTransformer, vae: WanVae) -> GenceptionSubgraphs:
    return make_subgraphs(network, vae, PROFILE, reference.tensor("input/prompt_embeds"))


def exported(module: nn.Module, inputs: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    with torch.no_grad():
        return torch.export.export(module, inputs, strict=False)


def random_like(shapes: tuple[Tensor, ...], seed: int = 0) -> tuple[Tensor, ...]:
    torch.manual_seed(seed)
    return tuple(torch.rand_like(each) * 2 - 1 for each in shapes)


@torch.no_grad()
@pytest.mark.parametrize("prompt_is_constant", [True, False])
def test_static_transformer_equals_the_network(
    network: GenceptionTransformer, vae: WanVae, prompt_is_constant: bool
) -> None:
    prompt = reference.tensor("input/prompt_embeds")
    subgraphs = make_subgraphs(network, vae, PROFILE, prompt if prompt_is_constant else None)
    (latents,) = random_like(subgraphs.examples()["decoder"])
    prompt_input = () if prompt_is_constant else (prompt_key_values(network, prompt),)
    outputs = subgraphs.transformer(latents, *prompt_input)
    torch.testing.assert_close(tuple(outputs), tuple(network(latents, prompt)))


def test_graph_without_constant_prompt_needs_one_as_input(
    network: GenceptionTransformer, vae: WanVae
) -> None:
    subgraphs = make_subgraphs(network, vae, PROFILE, prompt_length=7)
    latents, prompt = subgraphs.examples()["transformer"]
    expected = prompt_key_values(network, reference.tensor("input/prompt_embeds"))
    assert prompt.shape == expected.shape
    with pytest.raises(ValueError, match="prompt_key_values"):
        subgraphs.transformer(latents)


@torch.no_grad()
@pytest.mark.parametrize("subgraph", ["encoder", "decoder"])
def test_encoder_and_decoder_export_to_one_graph_with_equal_results(
    subgraphs: GenceptionSubgraphs, subgraph: str
) -> None:
    module, shapes = getattr(subgraphs, subgraph), subgraphs.examples()[subgraph]
    inputs = random_like(shapes)
    torch.testing.assert_close(
        exported(module, shapes).module()(*inputs), module(*inputs), rtol=1e-4, atol=1e-5
    )


@pytest.fixture(scope="module")
def program(subgraphs: GenceptionSubgraphs) -> torch.export.ExportedProgram:
    """The transformer's graph, with a constant prompt."""
    return exported(subgraphs.transformer, subgraphs.examples()["transformer"])


@torch.no_grad()
def test_exported_and_lowered_transformer_equal_the_module(
    subgraphs: GenceptionSubgraphs, program: torch.export.ExportedProgram
) -> None:
    inputs = random_like(subgraphs.examples()["transformer"])
    expected = tuple(subgraphs.transformer(*inputs))
    for each in (program, program.run_decompositions()):
        torch.testing.assert_close(tuple(each.module()(*inputs)), expected, rtol=1e-4, atol=1e-5)


def test_transformer_graph_has_no_operators_unsupported_by_engines(
    program: torch.export.ExportedProgram,
) -> None:
    calls = Counter(str(n.target) for n in program.graph.nodes if n.op == "call_function")
    values = [n.meta["val"] for n in program.graph.nodes if isinstance(n.meta.get("val"), Tensor)]
    assert {value.dtype for value in values} == {torch.float32}  # no float64, no complex
    assert not [name for name in calls if any(bad in name for bad in ("scatter", "empty", "index"))]
    # One attention for the video, one per token group, one for the text; in each of three blocks.
    assert sum(n for name, n in calls.items() if "scaled_dot_product" in name) == 3 * 4


def test_constant_prompt_needs_no_text_layers(program: torch.export.ExportedProgram) -> None:
    parameter_of = program.graph_signature.inputs_to_parameters
    used = {
        parameter_of[node.name]
        for node in program.graph.nodes
        if node.op == "placeholder" and node.users and node.name in parameter_of
    }
    assert [name for name in used if "attn2.to_q" in name]
    for unused in ("text_embedder", "time_", "attn2.to_k", "attn2.to_v"):
        assert not [name for name in used if unused in name]


@torch.no_grad()
@pytest.mark.parametrize("variant", VaeVariant)
@pytest.mark.parametrize("frames", [5, 13])
def test_vae_in_steps_equals_the_unrolled_vae(
    network: GenceptionTransformer, vae_folder: Path, variant: VaeVariant, frames: int
) -> None:
    vae = load_vae(vae_folder, variant)
    subgraphs = make_subgraphs(network, vae, Profile(frames, 32, 16))
    (video,), (latents,) = (
        random_like(subgraphs.examples()["encoder"]),
        random_like(subgraphs.examples()["decoder"]),
    )
    torch.testing.assert_close(subgraphs.encoder_steps.run(video), vae.encode(video))
    torch.testing.assert_close(subgraphs.decoder_steps.run(latents), vae.decode(latents))


@torch.no_grad()
def test_steps_export_and_one_later_step_serves_any_window(subgraphs: GenceptionSubgraphs) -> None:
    shapes = subgraphs.step_examples()
    for half in ("encoder", "decoder"):
        steps = getattr(subgraphs, f"{half}_steps")
        first = exported(steps.first, shapes[f"{half}_first"]).module()
        later = exported(steps.later, shapes[f"{half}_later"]).module()
        longer = Profile(13, PROFILE.width, PROFILE.height)
        shape = longer.video_shape if half == "encoder" else longer.latent_shape()
        (x,) = random_like((torch.empty(shape),), seed=4)
        actual, *cached = first(x[:, :, :1])
        outs = [actual]
        for start in range(1, x.shape[2], steps.chunk):
            actual, *cached = later(x[:, :, start : start + steps.chunk], *cached)
            outs.append(actual)
        torch.testing.assert_close(
            torch.cat(outs, dim=2), getattr(subgraphs, half)(x), rtol=1e-4, atol=1e-5
        )


@torch.no_grad()
def test_size_of_a_step_is_independent_of_the_window(
    network: GenceptionTransformer, vae: WanVae
) -> None:
    def convolutions(frames: int) -> tuple[int, int]:
        calls: list[str] = []
        hooks = [
            each.register_forward_hook(lambda *_: calls.append("convolution"))
            for each in vae.modules()
            if isinstance(each, nn.Conv3d)
        ]
        subgraphs = make_subgraphs(network, vae, Profile(frames, 32, 16))
        examples = subgraphs.step_examples()
        counts = []
        for run, inputs in (
            (subgraphs.decoder, subgraphs.examples()["decoder"]),
            (subgraphs.decoder_steps.later, examples["decoder_later"]),
        ):
            calls.clear()
            run(*inputs)
            counts.append(len(calls))
        for hook in hooks:
            hook.remove()
        return counts[0], counts[1]

    short, long = convolutions(5), convolutions(13)
    assert long[0] > 1.9 * short[0]
    assert long[1] == short[1] < short[0]


@torch.no_grad()
def test_tiny_vae_exports_whole_and_has_no_steps(network: GenceptionTransformer) -> None:
    vae = TinyVae()
    vae.load_state_dict(fill(vae))
    subgraphs = make_subgraphs(network, vae.eval(), PROFILE)
    for name in ("encoder", "decoder"):
        module, shapes = getattr(subgraphs, name), subgraphs.examples()[name]
        inputs = random_like(shapes)
        torch.testing.assert_close(exported(module, shapes).module()(*inputs), module(*inputs))
    with pytest.raises(GenceptionError, match="Only the Wan VAE runs in steps"):
        _ = subgraphs.encoder_steps


@torch.no_grad()
def test_subgraphs_of_a_bfloat16_network_compute_in_bfloat16(vae_folder: Path) -> None:
    network = load_transformer(reference.TINY, reference.config(), dtype=torch.bfloat16)
    vae = load_vae(vae_folder, dtype=torch.bfloat16)
    prompt = reference.tensor("input/prompt_embeds").bfloat16()
    subgraphs = make_subgraphs(network, vae, Profile(5, 32, 16), prompt)
    for name, inputs in subgraphs.examples().items():
        outs = getattr(subgraphs, name)(*random_like(inputs))
        first = outs if isinstance(outs, Tensor) else outs[0]
        assert first.dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(8, 64, 64), (1, 64, 64), (9, 60, 64), (9, 64, 8)])
def test_invalid_profile_is_rejected(shape: tuple[int, int, int]) -> None:
    with pytest.raises(GenceptionError):
        Profile(*shape)


def test_profile_name_is_parsed_back() -> None:
    assert Profile.from_text(PROFILE.name) == PROFILE


@pytest.mark.parametrize("text", ["832x480", "832x480x18", "axbxc", "830x480x17"])
def test_invalid_profile_text_is_rejected(text: str) -> None:
    with pytest.raises(GenceptionError):
        Profile.from_text(text)
