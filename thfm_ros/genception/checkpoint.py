# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Load a checkpoint that `thfm import` wrote: transformer, VAE and prompts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from thfm_ros.contract import Task
from thfm_ros.genception.config import GenceptionError, config_from_mapping
from thfm_ros.genception.out_of_memory import is_out_of_memory
from thfm_ros.genception.tiny_vae import TinyVae, load_tiny_vae
from thfm_ros.genception.transformer import (
    GenceptionOutputs,
    GenceptionTransformer,
    empty_transformer,
)
from thfm_ros.genception.wan_vae import VaeVariant, WanVae, check_latents, empty_vae
from thfm_ros.model.card import ModelCard
from thfm_ros.model.weights import read_card


@dataclass
class GenceptionCheckpoint:
    """A loaded checkpoint on one device and in one precision, run by PyTorch.

    It is a `runner.GenceptionNetwork`.
    """

    card: ModelCard
    transformer: GenceptionTransformer
    vae: WanVae | TinyVae
    prompts: dict[Task, Float[Tensor, "1 l d"]]
    description: str
    fallback_reason: str | None = None

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.transformer.group1.token.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights and of the computation."""
        return self.transformer.group1.token.dtype

    def encode(self, video: Float[Tensor, "1 3 t h w"]) -> Float[Tensor, "1 z s i j"]:
        """See `WanVae.encode`."""
        return self.vae.encode(video)

    def predict(self, latents: Float[Tensor, "1 z s i j"], task: Task) -> GenceptionOutputs:
        """One forward pass with the prompt of ``task``."""
        out: GenceptionOutputs = self.transformer(latents, self.prompts[task])
        return out

    def decode(self, latents: Float[Tensor, "1 z s i j"]) -> Float[Tensor, "1 3 t h w"]:
        """See `WanVae.decode`."""
        return self.vae.decode(latents)


def load_checkpoint(
    path: Path,
    *,
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | str = "cpu",
    vae_variant: VaeVariant | None = None,
    tiny_vae: Path | None = None,
) -> GenceptionCheckpoint:
    """Load a checkpoint; the tensors are moved to ``device`` one at a time.

    Args:
        path: written by `thfm import`.
        dtype: of weights and computation. float32 doubles the memory of the public weights.
        device: where to run it.
        vae_variant: overrides the one on the card.
        tiny_vae: weights file of a `TinyVae` to use instead of the VAE.

    Raises:
        GenceptionError: another family, no VAE in the file, or weights that do not match the card.
        CheckpointError: not a complete safetensors file.
    """
    card = read_card(path)
    if card.family != "genception":
        raise GenceptionError(f"{path} is a checkpoint of the {card.family} family.")
    if card.network.get("vae") is None:
        raise GenceptionError(
            f"{path} was imported without the VAE and cannot run. Import it again with --vae."
        )
    with _open_weights(path) as read:
        transformer = empty_transformer(config_from_mapping(card.network["transformer"]))
        _load_weights(transformer, "transformer.", read, dtype, device)
        normalize_latents = transformer.config.normalize_latents
        vae: WanVae | TinyVae
        if tiny_vae is not None:
            vae = load_tiny_vae(tiny_vae, normalize_latents=normalize_latents, dtype=dtype)
        else:
            diffusers_vae = empty_vae(card.network["vae"])
            check_latents(diffusers_vae, transformer.config.in_channels)
            _load_weights(diffusers_vae, "vae.", read, dtype, device)
            variant = vae_variant or VaeVariant(card.network["codec"])
            vae = WanVae(diffusers_vae, variant, normalize_latents=normalize_latents).eval()
        prompts = {
            Task(task): read(name).to(device, dtype)[None]
            for task, name in card.network["prompt_tensors"].items()
        }
    description = _description(device, dtype) + (", tiny VAE" if tiny_vae else "")
    return GenceptionCheckpoint(card, transformer, vae.to(device), prompts, description)


def _description(device: torch.device | str, dtype: torch.dtype) -> str:
    """ "PyTorch 2.13.0, CPU, float32"."""
    on_gpu = torch.device(device).type == "cuda"
    processor = torch.cuda.get_device_name(device) if on_gpu else "CPU"
    return f"PyTorch {torch.__version__.partition('+')[0]}, {processor}, {str(dtype)[6:]}"


@contextmanager
def _open_weights(path: Path) -> Iterator[Callable[[str], Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file.get_tensor
    except (
        *(SafetensorError, RuntimeError, KeyError, TypeError, ValueError, AttributeError),
        OSError,
    ) as error:
        if is_out_of_memory(error):
            raise
        raise GenceptionError(
            f"The weights in {path} do not match its model card ({error}). Import it again."
        ) from error


def _load_weights(
    module: torch.nn.Module,
    prefix: str,
    read: Callable[[str], Tensor],
    dtype: torch.dtype,
    device: torch.device | str,
) -> None:
    state: dict[str, Any] = {}
    for name in module.state_dict():
        state[name] = read(prefix + name).to(device, dtype)
    module.load_state_dict(state, strict=True, assign=True)
    module.requires_grad_(False)
