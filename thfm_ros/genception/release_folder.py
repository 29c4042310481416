# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Finds the files of a downloaded release of public weights and checks that they match.

Reads names and shapes only, no weights.
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
from thfm_ros.genception.resumable_safetensors import SafetensorsFile
from thfm_ros.genception.weight_map import build_weight_map, check_shapes

_log = logging.getLogger(__name__)

UNUSED_PROMPT = "negative"
"""Published with the other prompts; the official pipeline does not use it."""
_PERSON_EXPRESSIONS = ("a person.", "a person", "person", "a man.", "a man", "man", "segmentation")


@dataclass(frozen=True, kw_only=True)
class Release:
    """The files of one release. ``vae`` is None if it is missing; then the network cannot run."""

    transformer: Path
    config: GenceptionConfig
    vae: SafetensorsFile | None
    vae_config: dict[str, Any] | None
    prompts: dict[str, Path]  # embeddings by file name: "depth", "normals", "a man."
    prompt_length: int  # rows of the embeddings

    @property
    def name(self) -> str:
        """Name of the model, such as "genception_1.3b"."""
        return self.transformer.stem.removesuffix("_transformer")

    def prompts_by_task(self, expression: str | None) -> dict[Task, str]:
        """The prompt of each task; tasks without embeddings are missing.

        Args:
            expression: to segment; None selects the first available one of a list of expressions
                for a person.

        Raises:
            GenceptionError: there are no embeddings of ``expression``.
        """
        prompts = {task: name for task, name in _PROMPT_FILES.items() if name in self.prompts}
        expressions = self.prompts.keys() - set(_PROMPT_FILES.values())
        if expression is None:
            expression = next((name for name in _PERSON_EXPRESSIONS if name in expressions), None)
        elif expression not in expressions:
            raise GenceptionError(
                f"There are no embeddings of {expression!r}; available: {sorted(expressions)}. "
                f'Make them: thfm prompt "{expression}" --out "{expression}.npy"'
            )
        if expression is not None:
            prompts[Task.SEGMENTATION] = expression
        return prompts


_PROMPT_FILES = {Task.DEPTH: "depth", Task.NORMALS: "normals"}


def find_release(folder: Path, vae: Path | None = None, prompts: Path | None = None) -> Release:
    """Find the files of a release and check their names, sizes and shapes.

    Args:
        folder: as downloaded, or the transformer's `.npz` in it.
        vae: folder of the VAE; by default ``vae/`` next to the transformer.
        prompts: folder of the prompt embeddings (``*.npy``); by default that of the transformer.

    Raises:
        GenceptionError: a file is missing, damaged or does not match the others.
        PromptError: embeddings cannot be read or have another width.
    """
    transformer = _find_transformer(folder)
    home = transformer.parent
    stem = transformer.stem.removesuffix("_transformer")
    settings = _read_json(home / f"{stem}_config.json") or _read_json(home / "config.json")
    with open_arrays(transformer) as reader:
        if settings is None:
            config = config_from_shapes(reader.shapes)
        else:
            config = config_from_mapping({**_sizes_from_shapes(reader.shapes), **settings})
        check_shapes(build_weight_map(config), reader.shapes, transformer.name)
    vae_file, vae_config = _find_vae(
        vae or home / "vae", config.in_channels, required=vae is not None
    )
    embeddings, length = _find_prompts(prompts or home, config)
    return Release(
        transformer=transformer,
        config=config,
        vae=vae_file,
        vae_config=vae_config,
        prompts=embeddings,
        prompt_length=length,
    )


def _sizes_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Defaults for a published config, which may list only deviations from those of its size."""
    try:
        return config_from_shapes(shapes).to_dict()
    except GenceptionError:
        return {}  # check_shapes reports the problem key by key


def _find_transformer(folder: Path) -> Path:
    if folder.is_file():
        return folder
    paths = sorted(folder.glob("*transformer*.npz")) or sorted(folder.glob("*.npz"))
    if len(paths) == 1:
        return paths[0]
    names = [path.name for path in paths] or "no .npz file"
    raise GenceptionError(
        f"{folder} contains {names}; expected one genception_*_transformer.npz. "
        "Give the path of the file itself, or of the downloaded folder."
    )


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise GenceptionError(f"{path} cannot be read ({error}). Download it again.") from error
    if not isinstance(values, dict):
        raise GenceptionError(f"{path} contains a {type(values).__name__}, not a JSON object.")
    return values


def _find_vae(
    folder: Path, channels: int, required: bool
) -> tuple[SafetensorsFile | None, dict[str, Any] | None]:
    config, file = folder / "config.json", folder / "diffusion_pytorch_model.safetensors"
    if not required and not folder.exists():
        _log.warning(
            "There is no %s: only the transformer is imported, which cannot run alone. "
            "Give the folder of the Wan 2.1 VAE with --vae.",
            folder,
        )
        return None, None
    settings = _read_json(config)
    if settings is None or not file.exists():
        raise GenceptionError(
            f"{folder} is not a VAE: expected config.json and {file.name} in it. "
            "Use the folder 'vae' of the public release."
        )
    try:
        vae = SafetensorsFile(file)
    except (OSError, ValueError, KeyError) as error:
        raise GenceptionError(f"{file} is damaged ({error}). Download it again.") from error
    _check_vae(vae, settings, channels)
    return vae, settings


def _check_vae(vae: SafetensorsFile, settings: dict[str, Any], channels: int) -> None:
    from thfm_ros.genception.wan_vae import check_latents, empty_vae

    empty = empty_vae(settings)
    check_latents(empty, channels)
    expected = {name: tuple(each.shape) for name, each in empty.state_dict().items()}
    shapes = {name: entry.shape for name, entry in vae.entries.items()}
    if shapes != expected:
        names = sorted(
            name
            for name in expected.keys() | shapes.keys()
            if expected.get(name) != shapes.get(name)
        )
        raise GenceptionError(
            f"{vae.path} does not match the config.json next to it: {', '.join(names[:8])}"
            f"{' ...' if len(names) > 8 else ''} ({len(names)} tensors). Download both again."
        )


def _find_prompts(folder: Path, config: GenceptionConfig) -> tuple[dict[str, Path], int]:
    prompts = {_prompt_name(path): path for path in sorted(folder.rglob("*.npy"), reverse=True)}
    prompts.pop(UNUSED_PROMPT, None)
    lengths = {}
    for name, path in prompts.items():
        lengths[name] = len(read_embeddings(path, config.text_dim))
    if len(set(lengths.values())) > 1:
        raise GenceptionError(
            f"The prompt embeddings have different lengths: {lengths}. The length is part of the "
            "prompt (there is no mask): make them again with one --length."
        )
    return prompts, next(iter(lengths.values()), 0)


def _prompt_name(path: Path) -> str:
    """Published expressions are in files such as ``bike-packing_cap_a_man..npy``."""
    _, marker, expression = path.stem.rpartition("_cap_")
    return expression.replace("_", " ") if marker else path.stem
