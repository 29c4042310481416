"""A downloaded release is looked through before anything is done with it."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.genception.config import GenceptionError
from thfm_ros.genception.prompt_files import PromptError
from thfm_ros.genception.release_folder import find_release


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_download_that_was_cut_short_is_refused(folder: Path, share: float) -> None:
    path = folder / "genception_tiny_transformer.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(GenceptionError, match="cut short"):
        find_release(folder)


def test_a_vae_that_is_damaged_or_of_other_sizes_is_refused(folder: Path) -> None:
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    config = folder / "vae" / "config.json"
    settings_ = json.loads(config.read_text())
    config.write_text(json.dumps({**settings_, "base_dim": 8}))
    with pytest.raises(GenceptionError, match=r"does not fit.*decoder\.conv_in\.bias"):
        find_release(folder)
    config.write_text(json.dumps(settings_))
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(GenceptionError, match="damaged"):
        find_release(folder)


def test_prompts_of_another_width_or_of_two_lengths_are_refused(folder: Path) -> None:
    np.save(folder / "normals.npy", np.zeros((8, 32), np.float32))
    with pytest.raises(GenceptionError, match="different lengths"):
        find_release(folder)
    np.save(folder / "normals.npy", np.zeros((7, 31), np.float32))
    with pytest.raises(PromptError, match=r"\[7, 31\]"):
        find_release(folder)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenceptionError, match=r"no \.npz file"):
        find_release(tmp_path)
