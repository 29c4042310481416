"""Open a checkpoint that `thfm import` wrote: the network, the codec, the prompts."""

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
from thfm_ros.genception.tiny_vae import TinyCodec, load_tiny_codec
from thfm_ros.genception.transformer import (
    GenceptionOutputs,
    GenceptionTransformer,
    empty_transformer,
)
from thfm_ros.genception.wan_vae import CodecVariant, WanCodec, empty_vae
from thfm_ros.model.card import ModelCard
from thfm_ros.model.weights import read_card


@dataclass
class GenceptionCheckpoint:
    """Everything that a pass needs, on one device and of one precision, run by PyTorch.

    It is a `genception_runner.Network`.
    """

    card: ModelCard
    transformer: GenceptionTransformer
    codec: WanCodec | TinyCodec
    prompts: dict[Task, Float[Tensor, "1 l d"]]
    description: str

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.transformer.group1.token.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and so of the computation."""
        return self.transformer.group1.token.dtype

    def encode(self, video: Float[Tensor, "1 3 t h w"]) -> Float[Tensor, "1 z s i j"]:
        """See `WanCodec.encode`."""
        return self.codec.encode(video)

    def answer(self, latents: Float[Tensor, "1 z s i j"], task: Task) -> GenceptionOutputs:
        """One pass with the prompt of ``task``."""
        out: GenceptionOutputs = self.transformer(latents, self.prompts[task])
        return out

    def decode(self, latents: Float[Tensor, "1 z s i j"]) -> Float[Tensor, "1 3 t h w"]:
        """See `WanCodec.decode`."""
        return self.codec.decode(latents)


def load_checkpoint(
    path: Path,
    *,
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | str = "cpu",
    codec: CodecVariant | None = None,
    tiny_codec: Path | None = None,
) -> GenceptionCheckpoint:
    """Load all of it; one tensor at a time goes to ``device``.

    Args:
        path: written by `thfm import`.
        dtype: of weights and computation. float32 doubles the memory of the public weights.
        device: where it is to run.
        codec: another arithmetic of the VAE than the card asks for.
        tiny_codec: weights to use instead of the VAE, see `TinyCodec`.

    Raises:
        GenceptionError: another family, no VAE in the file, or weights that do not fit the card.
        CheckpointError: not a whole safetensors file.
    """
    card = read_card(path)
    if card.family != "genception":
        raise GenceptionError(f"{path} is a checkpoint of the {card.family} family.")
    if card.network["vae"] is None:
        raise GenceptionError(
            f"{path} was imported without the VAE and cannot run. Import it again with --vae."
        )
    with _opened(path) as read:
        transformer = empty_transformer(config_from_mapping(card.network["transformer"]))
        _fill(transformer, "transformer.", read, dtype, device)
        standardised = transformer.config.normalize_latents
        video_codec: WanCodec | TinyCodec
        if tiny_codec is not None:
            video_codec = load_tiny_codec(tiny_codec, standardised=standardised, dtype=dtype)
        else:
            vae = empty_vae(card.network["vae"])
            _fill(vae, "vae.", read, dtype, device)
            variant = CodecVariant(card.network["codec"]) if codec is None else codec
            video_codec = WanCodec(vae, variant, standardised=standardised).eval()
        prompts = {
            Task(task): read(name).to(device, dtype)[None]
            for task, name in card.network["prompt_tensors"].items()
        }
    description = _description(device, dtype) + (", tiny codec" if tiny_codec else "")
    return GenceptionCheckpoint(card, transformer, video_codec.to(device), prompts, description)


def _description(device: torch.device | str, dtype: torch.dtype) -> str:
    """ "PyTorch 2.13.0, CPU, float32"."""
    gpu = torch.device(device).type == "cuda"
    where = torch.cuda.get_device_name(device) if gpu else "CPU"
    return f"PyTorch {torch.__version__.partition('+')[0]}, {where}, {str(dtype)[6:]}"


@contextmanager
def _opened(path: Path) -> Iterator[Callable[[str], Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file.get_tensor
    except (SafetensorError, RuntimeError) as error:
        raise GenceptionError(
            f"The weights in {path} do not fit its own model card ({error}). Import it again."
        ) from error


def _fill(
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
