# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The model card: a checkpoint's sizes, tasks and provenance, stored inside the weights file."""

import dataclasses
import json
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from thfm_ros.contract import PerceptionError, Task
from thfm_ros.model.crop_shapes import crop_sizes

FORMAT_VERSION = 2
"""Increased whenever files of earlier releases can no longer be read."""


class CardError(PerceptionError):
    """The model card of a weights file is missing or does not fit this release."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """Sizes, tasks and provenance of one checkpoint.

    Sizes of images are (width, height) in pixels. The node offers exactly ``tasks``.
    """

    name: str
    family: str  # "nano" or "genception"
    tasks: tuple[Task, ...]
    prompts: dict[str, str]  # task -> its prompt
    joint_names: tuple[str, ...]
    part_names: tuple[str, ...]
    crop_size: tuple[int, int] = (128, 128)  # of square crops; see crop_sizes
    frame_size: tuple[int, int] = (320, 240)  # of whole images and tiles, for detection
    window: int = 4  # frames that attention spans, the newest included
    network: dict[str, Any] = field(default_factory=dict)  # arguments of the network's class
    trained_on: str = ""
    version: int = FORMAT_VERSION

    @property
    def crop_sizes(self) -> tuple[tuple[int, int], ...]:
        """Widths and heights of all crops that the network takes, ``crop_size`` first."""
        return crop_sizes(self.crop_size)

    def to_json(self) -> str:
        """One line of JSON with sorted keys, so that equal cards are equal texts."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


def card_from_json(text: str, source: str) -> ModelCard:
    """Read a card; its values are checked, since others may have written it.

    Args:
        text: JSON, as `ModelCard.to_json` writes it.
        source: name of the file, for errors.

    Raises:
        CardError: no card, or one that this release does not read.
    """
    try:
        values = json.loads(text)
        version = values["version"]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise CardError(
            f"{source} holds no readable model card ({error}). It was not written by thfm_ros: "
            "use `thfm import` for other checkpoints."
        ) from error
    if type(version) is not int or version != FORMAT_VERSION:
        raise CardError(
            f"{source} has format version {version}; this release reads {FORMAT_VERSION}. "
            "Install the release that wrote it, or train or import the checkpoint again."
        )
    known = {f.name for f in dataclasses.fields(ModelCard)}
    if set(values) != known:
        raise CardError(
            f"{source} has a model card with the fields {sorted(values)}; expected {sorted(known)}."
        )
    for name, is_valid in _VALID.items():
        if not is_valid(values[name]):
            shown = reprlib.repr(values[name])
            raise CardError(
                f"{source} has a model card in which {name} is {shown}, which no release of "
                "thfm_ros writes: the file is damaged, or was changed. Copy or download it again."
            )
    for name in ("joint_names", "part_names", "crop_size", "frame_size"):
        values[name] = tuple(values[name])
    values["tasks"] = tuple(Task(task) for task in values["tasks"])
    return ModelCard(**values)


_MAX_SIDE = 8192  # of an image, pixels
_MAX_WINDOW = 1024  # frames


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) < 10_000


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) < 1000 and all(map(_is_text, value))


def _are_tasks(value: Any) -> bool:
    return _are_texts(value) and set(value) <= {task.value for task in Task}


def _is_size(value: Any) -> bool:
    is_pair = isinstance(value, list | tuple) and len(value) == 2
    return is_pair and all(type(side) is int and 1 <= side <= _MAX_SIDE for side in value)


_VALID: Mapping[str, Callable[[Any], bool]] = {
    "name": _is_text,
    "family": _is_text,
    "trained_on": _is_text,
    "tasks": _are_tasks,
    "prompts": lambda value: isinstance(value, dict) and _are_texts([*value.values()]),
    "joint_names": _are_texts,
    "part_names": _are_texts,
    "crop_size": _is_size,
    "frame_size": _is_size,
    "window": lambda value: type(value) is int and 1 <= value <= _MAX_WINDOW,
    "network": lambda value: isinstance(value, dict),
}
"""What the values of a card must be, as JSON has them."""
