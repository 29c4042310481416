# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Resolving checkpoints to files, without PyTorch, which a cached engine does not need."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from thfm_ros.engine.base import EngineError
from thfm_ros.engine.cache import sha256_of
from thfm_ros.model.card import ModelCard, card_from_json
from thfm_ros.user_folders import expanded

SHIPPED = Path(__file__).resolve().parent.parent / "weights"


@dataclass(frozen=True)
class Checkpoint:
    """An existing checkpoint file with its model card; the weights are not read yet."""

    path: Path
    card: ModelCard

    def sha256(self) -> str:
        """Checksum of the whole file: engines depend on the weights and on the card."""
        return sha256_of(self.path)


def shipped_checkpoints() -> list[str]:
    """Names of the checkpoints that this installation has."""
    return sorted(file.stem for file in SHIPPED.glob("*.safetensors"))


def find_checkpoint(name: str) -> Checkpoint:
    """The shipped checkpoint called ``name``, or the file of this path.

    This is the only place where names of checkpoints are resolved; it is called once per load.

    Raises:
        EngineError: there is no such checkpoint.
        CheckpointError: the file is not a complete safetensors file.
        CardError: it contains no model card of this release's format.
        NoHomeError: ``name`` begins with ``~`` and there is no such home folder.
    """
    shipped = SHIPPED / f"{name}.safetensors"
    path = shipped if "/" not in name and shipped.exists() else Path(name)
    path = expanded(path)
    if not path.is_file():
        names = shipped_checkpoints()
        raise EngineError(
            f"{name!r} is neither a checkpoint that ships with thfm_ros "
            f"({', '.join(names) or 'this installation has none'}) nor a file"
            f"{'' if path.is_absolute() else f' in {Path.cwd()}'}. Set engine.checkpoint to one "
            "of those names or to the path of a .safetensors file."
        )
    return Checkpoint(path, _card_of(path))


def _card_of(path: Path) -> ModelCard:
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("thfm_card", "null")
    except (SafetensorError, OSError):
        from thfm_ros.model.weights import read_card

        return read_card(path)  # raises the error that explains what is wrong with the file
    return card_from_json(text, str(path))
