# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Checkpoints of nano: one safetensors file in half precision with the model card in its header."""

import hashlib
import os
import reprlib
from collections.abc import Mapping
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
CHECKSUM_KEY = "thfm_sha256"
"""In the header: SHA-256 of the names and values of all tensors."""


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
    metadata = {CARD_KEY: card.to_json(), CHECKSUM_KEY: _checksum(tensors)}
    save_file(tensors, unfinished, metadata=metadata)
    unfinished.replace(path)


def _checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


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
        CheckpointError: missing, truncated, damaged, or not of this architecture.
        CardError: no card, or one of another format version.
    """
    card = read_card(path)
    if card.family != "nano":
        raise CheckpointError(f"{path} is a checkpoint of the {card.family} family, not nano.")
    _check_sizes(card, path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            checksum = (file.metadata() or {}).get(CHECKSUM_KEY)
        if checksum is not None and checksum != _checksum(tensors):  # earlier files have none
            raise CheckpointError(
                f"{path} is damaged: its weights differ from their checksum. Copy or download it "
                "again."
            )
        network = NanoNetwork(**card.network)
        network.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
        )
    except CheckpointError:
        raise
    except (TypeError, ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise CheckpointError(
            f"The weights in {path} do not fit its own model card: {error}"
        ) from error
    for name, value in network.state_dict().items():
        if not torch.isfinite(value).all():
            raise CheckpointError(
                f"{path} is damaged: {name} holds numbers that are not finite. Copy or download "
                "it again."
            )
    return network.eval().requires_grad_(False), card


_SIZES: Mapping[str, tuple[int, int]] = {
    "width": (8, 4096),
    "depth": (1, 256),
    "window": (1, 1024),
    "refine": (0, 256),
    "detect_depth": (0, 256),
}
"""Limits of the sizes on a card, so that no more memory is taken than a network needs."""
_MAX_CHANNELS = 1024


def _check_sizes(card: ModelCard, path: Path) -> None:
    """Refuse sizes that no network has, before it is made."""
    sizes = dict(card.network)
    channels = sizes.pop("channels", [1, 1, 1])
    valid = (
        isinstance(channels, list)
        and len(channels) == 3
        and all(type(each) is int and 1 <= each <= _MAX_CHANNELS for each in channels)
        and all(
            type(value) is int and name in _SIZES and _SIZES[name][0] <= value <= _SIZES[name][1]
            for name, value in sizes.items()
        )
        and sizes.get("window", card.window) == card.window
        and all(side % 16 == 0 for side in (*card.crop_size, *card.frame_size))
    )
    # A block has more than 8 width^2 weights, of at least two bytes.
    least_bytes = 16 * int(sizes.get("width", 1)) ** 2 * sizes.get("depth", 1) if valid else 0
    if not valid or least_bytes > path.stat().st_size:
        raise CheckpointError(
            f"The model card of {path} describes a network that its weights cannot be: "
            f"{reprlib.repr(card.network)}, window {card.window}, images of {card.crop_size} and "
            f"{card.frame_size}. The file is damaged, or was changed: copy or download it again."
        )


def parameters_of(network: torch.nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in network.parameters())
