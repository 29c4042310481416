# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The reference data of the full-size family, and a tiny release and checkpoint made from it."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thfm_ros.genception.import_weights import import_release
from thfm_ros.genception.release_folder import find_release
from thfm_ros.genception.subgraphs import Profile

DATA = Path(__file__).resolve().parents[1] / "data"
TINY = DATA / "genception_tiny_a.npz"
TINY_BF16 = DATA / "genception_tiny_a_bf16_weights.npz"
VAE = DATA / "vae_tiny.npz"

Arrays = dict[str, np.ndarray[Any, Any]]


@cache
def arrays(path: Path) -> Arrays:
    """All arrays in a file of reference data."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def config(path: Path = TINY) -> dict[str, Any]:
    """The official config stored with a file of weights."""
    values: dict[str, Any] = json.loads(str(arrays(path)["config"]))
    return values


def weights(path: Path = TINY) -> Arrays:
    """The weights only, by their official keys."""
    return {key: array for key, array in arrays(path).items() if key.endswith(".value")}


def tensor(key: str, path: Path = TINY) -> Tensor:
    """One reference array."""
    return torch.from_numpy(arrays(path)[key])


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Largest absolute difference, relative to the largest absolute reference value."""
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    return float((actual - expected).abs().max() / expected.abs().max())


def save_npz(path: Path, named: Arrays, compressed: bool = False) -> None:
    """Save as the official code saves its weights, or compressed."""
    save = np.savez_compressed if compressed else np.savez
    save(path, **named)  # type: ignore[arg-type]  # numpy's stub confuses names with options


def write_vae(folder: Path) -> None:
    """Write a tiny VAE in the format of the public one."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(str(arrays(VAE)["config"]))
    prefix = "weights/"
    tensors = {k.removeprefix(prefix): v for k, v in arrays(VAE).items() if k.startswith(prefix)}
    save_file(tensors, str(folder / "diffusion_pytorch_model.safetensors"))


def write_checkpoint_folder(folder: Path) -> None:
    """Write a folder in the layout of the public release, with tiny weights."""
    folder.mkdir(parents=True, exist_ok=True)
    save_npz(folder / "genception_tiny_transformer.npz", weights(TINY_BF16))
    (folder / "genception_tiny_config.json").write_text(json.dumps(config()))
    write_vae(folder / "vae")
    prompt = arrays(TINY)["input/prompt_embeds"]
    np.save(folder / "depth.npy", prompt[0])
    np.save(folder / "normals.npy", prompt * 0.5)
    np.save(folder / "ride_cap_a_man..npy", -prompt)
    np.save(folder / "negative.npy", prompt * 0)


def write_checkpoint(folder: Path, profile: Profile | None = None) -> Path:
    """Write a tiny checkpoint with `thfm import`; by default for 5 frames of 48 x 32 pixels."""
    write_checkpoint_folder(folder)
    path = folder / "tiny.safetensors"
    import_release(find_release(folder), path, profile=profile or Profile(5, 48, 32))
    return path
