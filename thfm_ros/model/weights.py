# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Checkpoints of nano: one safetensors file in half precision with the model card in its header."""

import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from thfm_ros.contract import PerceptionError, Task
from thfm_ros.model.card import ModelCard, card_from_json
from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.prompts import PROMPTS
from thfm_ros.skeleton import JOINT_NAMES, PART_NAMES

CARD_KEY = "thfm_card"


class CheckpointError(PerceptionError):
    """A checkpoint cannot be used; the text says why, and what to use instead."""


def nano_card(name: str, network: NanoNetwork, trained_on: str) -> ModelCard:
    """The card of a nano network with this release's tasks, prompts and image sizes."""
    return ModelCard(
        name=name,
        family="nano",
        tasks=tuple(Task),
        prompts={task.value: prompt for task, prompt in PROMPTS.items()},
        joint_names=JOINT_NAMES,
        part_names=PART_NAMES,
        window=network.backbone.window,
        network=network.sizes(),
        trained_on=trained_on,
    )


def save_network(network: NanoNetwork, card: ModelCard, path: Path) -> None:
    """Write a checkpoint atomically: a reader sees the old file or the new one, never a part."""
    tensors = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    save_file(tensors, unfinished, metadata={CARD_KEY: card.to_json()})
    unfinished.replace(path)


def read_card(path: Path) -> ModelCard:
    """Read only the card: a few kilobytes, whatever the checkpoint's size.

    Raises:
        CheckpointError: missing or truncated.
        CardError: no card, or one of another format version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError as error:
        raise CheckpointError(
            f"There is no checkpoint {path}. Give the path of a .safetensors file, or 'nano' for "
            "the one that ships with thfm_ros."
        ) from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({error}). It may be truncated: copy or "
            "download it again, or use 'nano', the checkpoint that ships with thfm_ros."
        ) from error
    return card_from_json(metadata.get(CARD_KEY, "null"), str(path))


def load_network(path: Path) -> tuple[NanoNetwork, ModelCard]:
    """Load a nano checkpoint in float32, ready for inference.

    Raises:
        CheckpointError: missing, truncated, or not of this architecture.
        CardError: no card, or one of another format version.
    """
    card = read_card(path)
    if card.family != "nano":
        raise CheckpointError(f"{path} is a checkpoint of the {card.family} family, not nano.")
    try:
        network = NanoNetwork(**card.network)
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        network.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
        )
    except (TypeError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"The weights in {path} do not fit its own model card: {error}"
        ) from error
    return network.eval().requires_grad_(False), card


def parameters_of(network: torch.nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in network.parameters())
