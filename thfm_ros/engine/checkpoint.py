"""Which file the weights are in. No PyTorch here: an engine from the cache does without it."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from thfm_ros.engine.base import EngineError
from thfm_ros.engine.cache import sha256_of
from thfm_ros.model.card import ModelCard, card_from_json

SHIPPED = Path(__file__).resolve().parent.parent / "weights"


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights that was found and says what it is; the weights are not read yet."""

    path: Path
    card: ModelCard

    def sha256(self) -> str:
        """Of the whole file: other weights or another card make another engine."""
        return sha256_of(self.path)


def find_checkpoint(name: str) -> Checkpoint:
    """The checkpoint called ``name`` that ships with the package, or the file ``name``.

    Raises:
        EngineError: there is neither.
        CheckpointError: the file is not a whole safetensors file.
        CardError: it holds no model card of this release's format.
    """
    shipped = SHIPPED / f"{name}.safetensors"
    path = shipped if "/" not in name and shipped.exists() else Path(name)
    path = path.expanduser()
    if not path.is_file():
        names = sorted(file.stem for file in SHIPPED.glob("*.safetensors"))
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

        return read_card(path)  # raises, and tells what is wrong with the file
    return card_from_json(text, str(path))
