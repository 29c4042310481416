# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Checks of a downloaded release before it is imported."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.genception.config import GenceptionError
from thfm_ros.genception.prompt_files import PromptError
from thfm_ros.genception.release_folder import find_release


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.fault("file", "a truncated download of full-size weights")
def test_truncated_download_is_rejected(folder: Path, fraction: float) -> None:
    path = folder / "genception_tiny_transformer.npz"
    complete = path.read_bytes()
    path.write_bytes(complete[: int(len(complete) * fraction)])
    with pytest.raises(GenceptionError, match="download is incomplete"):
        find_release(folder)


def test_damaged_or_mismatched_vae_is_rejected(folder: Path) -> None:
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    config = folder / "vae" / "config.json"
    settings_ = json.loads(config.read_text())
    config.write_text(json.dumps({**settings_, "base_dim": 8}))
    with pytest.raises(GenceptionError, match=r"does not match.*decoder\.conv_in\.bias"):
        find_release(folder)
    config.write_text(json.dumps(settings_))
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(GenceptionError, match="damaged"):
        find_release(folder)


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ({"z_dim": 8}, "8 channels per 8x8 pixels and 4 frames; the transformer takes 16"),
        ({"temperal_downsample": [False, False, True]}, "16 channels per 8x8 pixels and 2 frames"),
    ],
)
def test_another_vae_is_rejected_by_what_it_makes(
    folder: Path, sizes: dict[str, Any], text: str
) -> None:
    config = folder / "vae" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **sizes}))
    with pytest.raises(GenceptionError, match=f"another VAE.*{text}.*--vae"):
        find_release(folder)


def test_prompts_of_wrong_width_or_different_lengths_are_rejected(folder: Path) -> None:
    np.save(folder / "normals.npy", np.zeros((8, 32), np.float32))
    with pytest.raises(GenceptionError, match="different lengths"):
        find_release(folder)
    np.save(folder / "normals.npy", np.zeros((7, 31), np.float32))
    with pytest.raises(PromptError, match=r"\[7, 31\]"):
        find_release(folder)


def test_folder_without_weights_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(GenceptionError, match=r"no \.npz file"):
        find_release(tmp_path)
