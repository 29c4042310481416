"""The small codec against what the public code computed with the same weights."""

from pathlib import Path

import genception_fixtures as reference
import pytest
import torch
from formula_weights import fill
from safetensors.torch import save_file
from torch import Tensor

from thfm_ros.genception.config import GenceptionError
from thfm_ros.genception.tiny_vae import TinyCodec, load_tiny_codec

PUBLIC = reference.DATA / "taehv_reference.npz"


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return fill(TinyCodec())


@pytest.fixture(scope="module")
def codec(state: dict[str, Tensor]) -> TinyCodec:
    codec = TinyCodec(standardised=True).eval()
    codec.load_state_dict(state)
    return codec


def stored(key: str) -> Tensor:
    """A reference array, channels second as everywhere here."""
    return reference.tensor(key, PUBLIC).transpose(1, 2)


@torch.no_grad()
def test_it_computes_what_the_public_code_computes(codec: TinyCodec) -> None:
    latents = codec.encode(stored("video") * 2 - 1)
    assert reference.relative_error(latents, stored("encoded")) < 1e-5
    video = (codec.decode(stored("latents")) + 1) / 2
    assert reference.relative_error(video, stored("decoded")) < 1e-5
    assert (stored("decoded") > 0).float().mean() > 0.2  # the reference is not all clamped


@torch.no_grad()
def test_raw_latents_are_the_standardised_ones_in_the_vaes_units(state: dict[str, Tensor]) -> None:
    raw = TinyCodec().eval()
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
def test_shapes_are_those_of_the_vae(codec: TinyCodec, frames: int) -> None:
    latents = codec.encode(torch.zeros(2, 3, frames, 16, 24))
    assert latents.shape == (2, 16, 1 + (frames - 1) // 4, 2, 3)
    assert codec.decode(latents).shape == (2, 3, frames, 16, 24)


@torch.no_grad()
def test_a_later_frame_changes_nothing_before_its_latent(codec: TinyCodec) -> None:
    video = stored("video") * 2 - 1
    changed = video.clone()
    changed[:, :, 8:] = 0
    one, other = codec.encode(video), codec.encode(changed)
    assert torch.equal(one[:, :, :2], other[:, :, :2])
    assert not torch.equal(one[:, :, 2], other[:, :, 2])


def test_both_published_forms_load_also_with_the_wider_layers_of_other_models(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    # The first of the three layers that make more frames is published for a doubling.
    name = "decoder.7.conv.weight"
    wide = {**state, name: torch.cat((torch.zeros_like(state[name]), state[name]))}
    save_file(wide, tmp_path / "taew2_1.safetensors")
    torch.save(wide, tmp_path / "taew2_1.pth")
    for path in (tmp_path / "taew2_1.safetensors", tmp_path / "taew2_1.pth"):
        loaded = load_tiny_codec(path).state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_another_file_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    del (short := dict(state))["encoder.17.bias"]
    save_file(short, tmp_path / "x.safetensors")
    with pytest.raises(GenceptionError, match=r"encoder\.17\.bias"):
        load_tiny_codec(tmp_path / "x.safetensors")
    (tmp_path / "y.safetensors").write_text("<html>")
    with pytest.raises(GenceptionError, match=r"taew2_1"):
        load_tiny_codec(tmp_path / "y.safetensors")
    with pytest.raises(GenceptionError, match=r"taew2_1"):
        load_tiny_codec(tmp_path / "missing.pth")


def test_a_clip_that_does_not_fit_is_refused(codec: TinyCodec) -> None:
    with pytest.raises(GenceptionError, match="clip_input"):
        codec.encode(torch.zeros(1, 3, 4, 16, 16))
