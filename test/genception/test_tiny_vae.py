# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The tiny VAE against outputs of the public code with the same weights."""

from pathlib import Path

import genception_fixtures as reference
import pytest
import torch
from formula_weights import fill
from safetensors.torch import save_file
from torch import Tensor

from thfm_ros.genception.config import GenceptionError
from thfm_ros.genception.tiny_vae import TinyVae, load_tiny_vae

PUBLIC = reference.DATA / "taehv_reference.npz"


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return fill(TinyVae())


@pytest.fixture(scope="module")
def vae(state: dict[str, Tensor]) -> TinyVae:
    vae = TinyVae(normalize_latents=True).eval()
    vae.load_state_dict(state)
    return vae


def stored(key: str) -> Tensor:
    """A reference array, with the channel axis second."""
    return reference.tensor(key, PUBLIC).transpose(1, 2)


@torch.no_grad()
def test_outputs_equal_those_of_the_public_code(vae: TinyVae) -> None:
    latents = vae.encode(stored("video") * 2 - 1)
    assert reference.relative_error(latents, stored("encoded")) < 1e-5
    video = (vae.decode(stored("latents")) + 1) / 2
    assert reference.relative_error(video, stored("decoded")) < 1e-5
    assert (stored("decoded") > 0).float().mean() > 0.2  # the reference is not all clamped


@torch.no_grad()
def test_raw_latents_are_denormalized_with_the_vaes_mean_and_std(state: dict[str, Tensor]) -> None:
    raw = TinyVae().eval()
    raw.load_state_dict(state)
    standard = stored("encoded")
    latents = raw.encode(stored("video") * 2 - 1)
    torch.testing.assert_close(latents, standard * raw.std + raw.mean)
    torch.testing.assert_close(
        raw.decode(latents),
        raw.decode(standard * raw.std + raw.mean),
    )
    torch.testing.assert_close(
        (raw.decode(stored("latents") * raw.std + raw.mean) + 1) / 2,
        stored("decoded"),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("frames", [5, 13])
@torch.no_grad()
def test_shapes_equal_those_of_the_vae(vae: TinyVae, frames: int) -> None:
    latents = vae.encode(torch.zeros(2, 3, frames, 16, 24))
    assert latents.shape == (2, 16, 1 + (frames - 1) // 4, 2, 3)
    assert vae.decode(latents).shape == (2, 3, frames, 16, 24)


@torch.no_grad()
def test_later_frames_do_not_change_earlier_latents(vae: TinyVae) -> None:
    video = stored("video") * 2 - 1
    changed = video.clone()
    changed[:, :, 8:] = 0
    one, other = vae.encode(video), vae.encode(changed)
    assert torch.equal(one[:, :, :2], other[:, :, :2])
    assert not torch.equal(one[:, :, 2], other[:, :, 2])


def test_both_published_formats_load_with_the_wider_published_layer(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    # The first of the three temporal layers of the decoder is published with twice the channels.
    name = "decoder.7.conv.weight"
    wide = {**state, name: torch.cat((torch.zeros_like(state[name]), state[name]))}
    save_file(wide, tmp_path / "taew2_1.safetensors")
    torch.save(wide, tmp_path / "taew2_1.pth")
    for path in (tmp_path / "taew2_1.safetensors", tmp_path / "taew2_1.pth"):
        loaded = load_tiny_vae(path).state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_file_of_another_network_is_rejected(state: dict[str, Tensor], tmp_path: Path) -> None:
    del (incomplete := dict(state))["encoder.17.bias"]
    save_file(incomplete, tmp_path / "x.safetensors")
    with pytest.raises(GenceptionError, match=r"encoder\.17\.bias"):
        load_tiny_vae(tmp_path / "x.safetensors")
    (tmp_path / "y.safetensors").write_text("<html>")
    with pytest.raises(GenceptionError, match=r"taew2_1"):
        load_tiny_vae(tmp_path / "y.safetensors")
    with pytest.raises(GenceptionError, match=r"taew2_1"):
        load_tiny_vae(tmp_path / "missing.pth")


def test_clip_of_wrong_size_is_rejected(vae: TinyVae) -> None:
    with pytest.raises(GenceptionError, match="clip_input"):
        vae.encode(torch.zeros(1, 3, 4, 16, 16))
