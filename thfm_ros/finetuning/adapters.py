# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Low-rank adapters (LoRA, arXiv 2106.09685) on the transformer's linear layers, by peft."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from thfm_ros.genception.config import GenceptionError
from thfm_ros.genception.transformer import GenceptionTransformer

_ADAPTER = "default"  # peft's name of the first adapter of a network
_LINEAR_LAYERS = r"wan\.blocks\.\d+\..*"


def require_peft() -> None:
    """Check that peft can be imported, before anything is loaded.

    Raises:
        GenceptionError: it cannot.
    """
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise GenceptionError(
            f"Fine-tuning needs peft ({error}). Install it: pip install '.[finetune]' in the "
            "source folder."
        ) from error


def add_adapters(network: GenceptionTransformer, rank: int, alpha: int, seed: int) -> None:
    """Give every linear layer of the blocks a trainable adapter, which changes nothing yet.

    All other weights are frozen. Every process must call this with the same seed.

    Args:
        network: is changed.
        rank: of the adapters.
        alpha: their product is multiplied by alpha / rank.
        seed: of the initial values.

    Raises:
        GenceptionError: peft is not installed.
    """
    require_peft()
    from peft import LoraConfig, inject_adapter_in_model

    network.requires_grad_(False)
    names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and re.fullmatch(_LINEAR_LAYERS, name)
    ]
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=names)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, network)


def trained_weight(
    name: str, before: Tensor, trained: Mapping[str, Tensor], scale: float
) -> Tensor | None:
    """The float32 weight of a network without adapters that computes the same.

    Args:
        name: of the weight in the network without adapters.
        before: its value in the checkpoint.
        trained: all trained parameters, whole (not sharded), by name.
        scale: of the adapters, alpha / rank.

    Returns:
        None if it was not trained.
    """
    if name in trained:
        return trained[name].float().contiguous()
    layer = name.removesuffix(".weight")
    down = trained.get(f"{layer}.lora_A.{_ADAPTER}.weight")
    if layer == name or down is None:
        return None
    up = trained[f"{layer}.lora_B.{_ADAPTER}.weight"]
    return before.float() + scale * (up.float() @ down.float())
