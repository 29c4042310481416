"""The graphs of fixed shapes: they export, and say what the network itself says."""

from collections import Counter
from pathlib import Path

import genception_fixtures as reference
import pytest
import torch
from formula_weights import fill
from torch import Tensor, nn

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.genception.config import GenceptionError
from thfm_ros.genception.subgraphs import GenceptionParts, Profile, make_parts, prompt_text
from thfm_ros.genception.tiny_vae import TinyCodec
from thfm_ros.genception.transformer import GenceptionTransformer, load_transformer
from thfm_ros.genception.wan_vae import CodecVariant, WanCodec, load_codec

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
def codec(vae_folder: Path) -> WanCodec:
    return load_codec(vae_folder, CodecVariant.AS_RELEASED)


@pytest.fixture(scope="module")
def parts(network: GenceptionTransformer, codec: WanCodec) -> GenceptionParts:
    return make_parts(network, codec, PROFILE, reference.tensor("input/prompt_embeds"))


def exported(module: nn.Module, inputs: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    with torch.no_grad():
        return torch.export.export(module, inputs, strict=False)


def like(shapes: tuple[Tensor, ...], seed: int = 0) -> tuple[Tensor, ...]:
    torch.manual_seed(seed)
    return tuple(torch.rand_like(each) * 2 - 1 for each in shapes)


@torch.no_grad()
@pytest.mark.parametrize("folded", [True, False])
def test_the_static_transformer_says_what_the_network_says(
    network: GenceptionTransformer, codec: WanCodec, folded: bool
) -> None:
    prompt = reference.tensor("input/prompt_embeds")
    parts = make_parts(network, codec, PROFILE, prompt if folded else None)
    (latents,) = like(parts.examples()["decoder"])
    beside = () if folded else (prompt_text(network, prompt),)
    got = parts.transformer(latents, *beside)
    torch.testing.assert_close(tuple(got), tuple(network(latents, prompt)))


def test_a_graph_without_a_prompt_asks_for_one(
    network: GenceptionTransformer, codec: WanCodec
) -> None:
    parts = make_parts(network, codec, PROFILE, prompt_length=7)
    latents, text = parts.examples()["transformer"]
    assert text.shape == prompt_text(network, reference.tensor("input/prompt_embeds")).shape
    with pytest.raises(ValueError, match="prompt_text"):
        parts.transformer(latents)


@torch.no_grad()
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_each_half_of_the_codec_exports_to_one_graph_with_the_same_results(
    parts: GenceptionParts, part: str
) -> None:
    module, shapes = getattr(parts, part), parts.examples()[part]
    inputs = like(shapes)
    torch.testing.assert_close(
        exported(module, shapes).module()(*inputs), module(*inputs), rtol=1e-4, atol=1e-5
    )


@pytest.fixture(scope="module")
def program(parts: GenceptionParts) -> torch.export.ExportedProgram:
    """The transformer's graph, with a prompt folded in."""
    return exported(parts.transformer, parts.examples()["transformer"])


@torch.no_grad()
def test_the_transformers_graph_has_the_same_results_also_when_it_is_lowered(
    parts: GenceptionParts, program: torch.export.ExportedProgram
) -> None:
    inputs = like(parts.examples()["transformer"])
    wanted = tuple(parts.transformer(*inputs))
    for each in (program, program.run_decompositions()):
        torch.testing.assert_close(tuple(each.module()(*inputs)), wanted, rtol=1e-4, atol=1e-5)


def test_the_transformers_graph_has_nothing_that_engines_stumble_over(
    program: torch.export.ExportedProgram,
) -> None:
    calls = Counter(str(n.target) for n in program.graph.nodes if n.op == "call_function")
    values = [n.meta["val"] for n in program.graph.nodes if isinstance(n.meta.get("val"), Tensor)]
    assert {value.dtype for value in values} == {torch.float32}  # no float64, no complex
    assert not [name for name in calls if any(bad in name for bad in ("scatter", "empty", "index"))]
    # One attention for the video, one per token group, one for the text; in each of three blocks.
    assert sum(n for name, n in calls.items() if "scaled_dot_product" in name) == 3 * 4


def test_a_folded_prompt_needs_no_text_layers(program: torch.export.ExportedProgram) -> None:
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
@pytest.mark.parametrize("variant", CodecVariant)
@pytest.mark.parametrize("frames", [5, 13])
def test_step_by_step_the_codec_says_what_it_says_at_once(
    network: GenceptionTransformer, vae_folder: Path, variant: CodecVariant, frames: int
) -> None:
    codec = load_codec(vae_folder, variant)
    parts = make_parts(network, codec, Profile(frames, 32, 16))
    (video,), (latents,) = like(parts.examples()["encoder"]), like(parts.examples()["decoder"])
    torch.testing.assert_close(parts.encoder_steps.run(video), codec.encode(video))
    torch.testing.assert_close(parts.decoder_steps.run(latents), codec.decode(latents))


@torch.no_grad()
def test_the_steps_export_and_one_later_step_serves_all(parts: GenceptionParts) -> None:
    shapes = parts.step_examples()
    for half in ("encoder", "decoder"):
        steps = getattr(parts, f"{half}_steps")
        first = exported(steps.first, shapes[f"{half}_first"]).module()
        later = exported(steps.later, shapes[f"{half}_later"]).module()
        longer = Profile(13, PROFILE.width, PROFILE.height)
        shape = longer.video_shape if half == "encoder" else longer.latent_shape()
        (x,) = like((torch.empty(shape),), seed=4)
        got, *memory = first(x[:, :, :1])
        outs = [got]
        for start in range(1, x.shape[2], steps.chunk):
            got, *memory = later(x[:, :, start : start + steps.chunk], *memory)
            outs.append(got)
        torch.testing.assert_close(
            torch.cat(outs, dim=2), getattr(parts, half)(x), rtol=1e-4, atol=1e-5
        )


@torch.no_grad()
def test_the_work_of_one_step_does_not_grow_with_the_window(
    network: GenceptionTransformer, codec: WanCodec
) -> None:
    def convolutions(frames: int) -> tuple[int, int]:
        calls: list[str] = []
        hooks = [
            each.register_forward_hook(lambda *_: calls.append("convolution"))
            for each in codec.modules()
            if isinstance(each, nn.Conv3d)
        ]
        parts = make_parts(network, codec, Profile(frames, 32, 16))
        examples = parts.step_examples()
        counts = []
        for run, inputs in (
            (parts.decoder, parts.examples()["decoder"]),
            (parts.decoder_steps.later, examples["decoder_later"]),
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
def test_the_small_codec_exports_whole_and_has_no_steps(network: GenceptionTransformer) -> None:
    codec = TinyCodec()
    codec.load_state_dict(fill(codec))
    parts = make_parts(network, codec.eval(), PROFILE)
    for name in ("encoder", "decoder"):
        module, shapes = getattr(parts, name), parts.examples()[name]
        inputs = like(shapes)
        torch.testing.assert_close(exported(module, shapes).module()(*inputs), module(*inputs))
    with pytest.raises(GenceptionError, match="Only the VAE runs in steps"):
        _ = parts.encoder_steps


@torch.no_grad()
def test_parts_of_a_bfloat16_network_compute_in_bfloat16(vae_folder: Path) -> None:
    network = load_transformer(reference.TINY, reference.config(), dtype=torch.bfloat16)
    codec = load_codec(vae_folder, dtype=torch.bfloat16)
    prompt = reference.tensor("input/prompt_embeds").bfloat16()
    parts = make_parts(network, codec, Profile(5, 32, 16), prompt)
    for name, inputs in parts.examples().items():
        outs = getattr(parts, name)(*like(inputs))
        first = outs if isinstance(outs, Tensor) else outs[0]
        assert first.dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(8, 64, 64), (1, 64, 64), (9, 60, 64), (9, 64, 8)])
def test_a_profile_that_cannot_be_tiled_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(GenceptionError):
        Profile(*shape)


def test_a_profile_is_read_as_it_is_named() -> None:
    assert Profile.from_text(PROFILE.name) == PROFILE


@pytest.mark.parametrize("text", ["832x480", "832x480x18", "axbxc", "830x480x17"])
def test_a_text_that_is_no_profile_is_refused(text: str) -> None:
    with pytest.raises(GenceptionError):
        Profile.from_text(text)
