# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The VAE against outputs of the official code and of diffusers with the same weights."""

from pathlib import Path

import genception_fixtures as reference
import pytest
import torch
from torch import Tensor

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.genception.config import GenceptionError
from thfm_ros.genception.wan_vae import VaeVariant, WanVae, empty_vae, load_vae

SOURCE = {VaeVariant.STOCK: "diffusers", VaeVariant.AS_RELEASED: "official"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release") / "vae"
    reference.write_vae(folder)
    return folder


def stored(key: str) -> Tensor:
    """A reference array, with the channel axis second."""
    return reference.tensor(key, reference.VAE).movedim(-1, 1)


@pytest.mark.parametrize("variant", VaeVariant)
@torch.no_grad()
def test_each_variant_equals_its_reference(folder: Path, variant: VaeVariant) -> None:
    vae, source = load_vae(folder, variant), SOURCE[variant]
    latents = vae.encode(stored("input/video"))
    assert reference.relative_error(latents, stored(f"{source}/latent_mode")) < 1e-5
    video = vae.decode(stored("input/latents"))
    assert reference.relative_error(video, stored(f"{source}/decoded")) < 1e-5


@torch.no_grad()
def test_variants_differ_measurably(folder: Path) -> None:
    released = stored("official/decoded")
    stock = load_vae(folder, VaeVariant.STOCK).decode(stored("input/latents"))
    assert reference.relative_error(stock, released) > 1e-3
    # The frame order has an effect from the third frame on, the attention in all frames.
    only_attention = stored("diffusers_attnV/decoded")
    assert reference.relative_error(only_attention[:, :, :2], released[:, :, :2]) < 1e-5
    assert reference.relative_error(only_attention[:, :, 2:], released[:, :, 2:]) > 1e-3


@torch.no_grad()
def test_stock_variant_equals_diffusers_encode_and_decode(folder: Path) -> None:
    vae = load_vae(folder)
    torch.manual_seed(0)
    video, latents = torch.rand(2, 3, 5, 16, 24) * 2 - 1, torch.randn(2, 16, 2, 2, 3)
    torch.testing.assert_close(vae.encode(video), vae.vae.encode(video).latent_dist.mode())
    torch.testing.assert_close(vae.decode(latents), vae.vae.decode(latents).sample)


@torch.no_grad()
def test_normalized_latents_are_the_raw_ones_shifted_and_scaled(folder: Path) -> None:
    raw, standard = load_vae(folder), load_vae(folder, normalize_latents=True)
    video = stored("input/video")
    config = raw.vae.config
    for channel in (0, 7, 15):
        expected = raw.encode(video)[:, channel] - config.latents_mean[channel]
        actual = standard.encode(video)[:, channel] * config.latents_std[channel]
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        standard.decode(standard.encode(video)), raw.decode(raw.encode(video)), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("shape", [(4, 32, 48), (9, 30, 48), (9, 32, 44)])
def test_clip_of_wrong_size_is_rejected(folder: Path, shape: tuple[int, int, int]) -> None:
    with pytest.raises(GenceptionError, match="clip_input"):
        load_vae(folder).encode(torch.zeros(1, 3, *shape))


def test_vae_with_a_missing_weight_is_rejected(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "diffusion_pytorch_model.safetensors")
    del state["decoder.conv_in.bias"]
    save_file(state, tmp_path / "diffusion_pytorch_model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(GenceptionError, match=r"decoder\.conv_in\.bias"):
        load_vae(tmp_path)


def test_vae_of_wan_2_2_is_rejected() -> None:
    other = empty_vae({"base_dim": 6, "is_residual": True})
    with pytest.raises(GenceptionError, match=r"Wan 2\.2"):
        WanVae(other)
