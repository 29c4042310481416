"""What lies in a downloaded folder of public weights, and whether it belongs together.

Nothing large is read here: sizes and names only.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thfm_ros.contract import Task
from thfm_ros.genception.config import (
    GenceptionConfig,
    GenceptionError,
    config_from_mapping,
    config_from_shapes,
)
from thfm_ros.genception.npz_reader import open_arrays
from thfm_ros.genception.prompt_files import read_embeddings
from thfm_ros.genception.resumable_safetensors import StoredFile
from thfm_ros.genception.weight_map import check_shapes, weight_table

_log = logging.getLogger(__name__)

UNUSED_PROMPT = "negative"
"""Published beside the others; the official pipeline never uses it."""
_PERSON = ("a person.", "a person", "person", "a man.", "a man", "man", "segmentation")


@dataclass(frozen=True, kw_only=True)
class Release:
    """The parts of one release. ``vae`` is None where it is missing: then nothing can run."""

    transformer: Path
    config: GenceptionConfig
    vae: StoredFile | None
    vae_config: dict[str, Any] | None
    prompts: dict[str, Path]  # by the file's name: "depth", "normals", "a man."
    prompt_length: int

    @property
    def name(self) -> str:
        """For people: "genception_1.3b"."""
        return self.transformer.stem.removesuffix("_transformer")

    def prompts_by_task(self, person: str | None) -> dict[Task, str]:
        """Which prompt serves which task; a task without a prompt cannot be done.

        ``person`` names the expression that is segmented; None takes the likeliest one there is.
        """
        chosen = {task: name for task, name in _NAMED.items() if name in self.prompts}
        expressions = self.prompts.keys() - set(_NAMED.values())
        if person is None:
            person = next((name for name in _PERSON if name in expressions), None)
        elif person not in expressions:
            raise GenceptionError(
                f"There are no embeddings of {person!r}; there are: {sorted(expressions)}. "
                f'Make them: thfm prompt "{person}" --out "{person}.npy"'
            )
        if person is not None:
            chosen[Task.SEGMENTATION] = person
        return chosen


_NAMED = {Task.DEPTH: "depth", Task.NORMALS: "normals"}


def find_release(folder: Path, vae: Path | None = None, prompts: Path | None = None) -> Release:
    """Look through a folder, or at an `.npz` in one, and check everything that is cheap to check.

    Args:
        folder: as downloaded. ``vae/`` and ``*.npy`` are looked for in it as well.
        vae: where the VAE is, if it is elsewhere.
        prompts: where the prompt embeddings are, if they are elsewhere.
    """
    transformer = _transformer(folder)
    home = transformer.parent
    stem = transformer.stem.removesuffix("_transformer")
    settings = _json(home / f"{stem}_config.json") or _json(home / "config.json")
    with open_arrays(transformer) as store:
        if settings is None:
            config = config_from_shapes(store.shapes)
        else:
            config = config_from_mapping({**_size_of(store.shapes), **settings})
        check_shapes(weight_table(config), store.shapes, transformer.name)
    stored, vae_config = _vae(vae or home / "vae", wanted=vae is not None)
    found, length = _prompts(prompts or home, config)
    return Release(
        transformer=transformer,
        config=config,
        vae=stored,
        vae_config=vae_config,
        prompts=found,
        prompt_length=length,
    )


def _size_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """A published config may say only what differs from its size's defaults."""
    try:
        return config_from_shapes(shapes).to_dict()
    except GenceptionError:
        return {}  # check_shapes says what is wrong, key by key


def _transformer(folder: Path) -> Path:
    if folder.is_file():
        return folder
    found = sorted(folder.glob("*transformer*.npz")) or sorted(folder.glob("*.npz"))
    if len(found) == 1:
        return found[0]
    there = [path.name for path in found] or "no .npz file"
    raise GenceptionError(
        f"{folder} holds {there}; expected one genception_*_transformer.npz. "
        "Give the path of the file itself, or of the folder that was downloaded."
    )


def _json(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise GenceptionError(f"{path} cannot be read ({error}). Download it again.") from error
    if not isinstance(values, dict):
        raise GenceptionError(f"{path} holds a {type(values).__name__}, not a table of settings.")
    return values


def _vae(folder: Path, wanted: bool) -> tuple[StoredFile | None, dict[str, Any] | None]:
    config, file = folder / "config.json", folder / "diffusion_pytorch_model.safetensors"
    if not wanted and not folder.exists():
        _log.warning(
            "There is no %s: the transformer alone will be imported, which cannot run. "
            "Give the VAE of Wan 2.1 with --vae.",
            folder,
        )
        return None, None
    settings = _json(config)
    if settings is None or not file.exists():
        raise GenceptionError(
            f"{folder} is not a VAE: expected config.json and {file.name} in it. "
            "It is the folder 'vae' of the public release."
        )
    try:
        stored = StoredFile(file)
    except (OSError, ValueError, KeyError) as error:
        raise GenceptionError(f"{file} is damaged ({error}). Download it again.") from error
    _check_vae(stored, settings)
    return stored, settings


def _check_vae(stored: StoredFile, settings: dict[str, Any]) -> None:
    from thfm_ros.genception.wan_vae import empty_vae

    wanted = {name: tuple(each.shape) for name, each in empty_vae(settings).state_dict().items()}
    there = {name: entry.shape for name, entry in stored.entries.items()}
    if there != wanted:
        wrong = sorted(
            name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name)
        )
        raise GenceptionError(
            f"{stored.path} does not fit the config.json beside it: {', '.join(wrong[:8])}"
            f"{' ...' if len(wrong) > 8 else ''} ({len(wrong)} tensors). Download both again."
        )


def _prompts(folder: Path, config: GenceptionConfig) -> tuple[dict[str, Path], int]:
    found = {_sentence(path): path for path in sorted(folder.rglob("*.npy"), reverse=True)}
    found.pop(UNUSED_PROMPT, None)
    lengths = {}
    for name, path in found.items():
        lengths[name] = len(read_embeddings(path, config.text_dim))
    if len(set(lengths.values())) > 1:
        raise GenceptionError(
            f"The prompt embeddings have different lengths: {lengths}. The length is part of the "
            "prompt (there is no mask): make them again with one --length."
        )
    return found, next(iter(lengths.values()), 0)


def _sentence(path: Path) -> str:
    """The published expressions are in files such as ``bike-packing_cap_a_man..npy``."""
    _, marker, expression = path.stem.rpartition("_cap_")
    return expression.replace("_", " ") if marker else path.stem
