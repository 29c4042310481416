# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm import`: convert a downloaded release of public weights to one checkpoint file.

The file contains the transformer, the VAE, the prompts, and a model card with their tasks. Arrays
are transposed one block at a time, so that memory stays far below the size of the file, and an
interrupted import is resumed. No value changes: bfloat16 stays bfloat16.
"""

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from thfm_ros.contract import Task
from thfm_ros.genception.config import GenceptionError
from thfm_ros.genception.depth_colour import DEPTH_SCALE
from thfm_ros.genception.npz_reader import ArrayReader, NpzReader, open_arrays
from thfm_ros.genception.prompt_files import read_embeddings
from thfm_ros.genception.release_folder import Release, find_release
from thfm_ros.genception.resumable_safetensors import ResumableWriter, SafetensorsFile, TensorEntry
from thfm_ros.genception.subgraphs import Profile
from thfm_ros.genception.wan_vae import VaeVariant
from thfm_ros.genception.weight_map import SUFFIX, MappedWeight, build_weight_map
from thfm_ros.model.card import ModelCard
from thfm_ros.model.weights import CARD_KEY

_log = logging.getLogger(__name__)

SOURCE_KEY = "thfm_source"
"""Header entry that identifies the release, so that the same import is not done twice."""
NATIVE_FRAMES = 81
"""Window length that the public checkpoints were trained on."""
PROMPT_TEXTS = {
    "depth": "Input: RGB. Output: Depth.",
    "normals": "Input: RGB. Output: Surface Normal.",
}


class WorkUnit(NamedTuple):
    """Tensors that are written, and marked as done, together."""

    name: str
    size: int  # bytes
    tensors: Callable[[], Iterator[tuple[str, bytes | memoryview]]]


@dataclass(frozen=True)
class ImportPlan:
    """Contents of the file to write."""

    entries: dict[str, TensorEntry]
    units: list[WorkUnit]
    card: ModelCard
    source: str


def import_release(
    release: Release,
    out: Path,
    *,
    vae_variant: VaeVariant = VaeVariant.AS_RELEASED,
    expression: str | None = None,
    profile: Profile | None = None,
    progress: Callable[[int], object] = lambda size: None,
) -> ModelCard:
    """Write ``out``, or resume an interrupted import of the same release.

    Args:
        release: see `find_release`.
        out: the checkpoint file; if it was made from the same release, nothing is done.
        vae_variant: written on the card.
        expression: to segment; see `Release.prompts_by_task`.
        profile: window and image size to run with; None for those of the training.
        progress: called with the number of bytes done, including those of an earlier attempt.

    Raises:
        GenceptionError: a file of the release is damaged, or ``out`` exists with other contents.
        ResumableWriteError: the disk is full, or another process writes the same file.
    """
    with open_arrays(release.transformer) as reader:
        make_card = partial(_make_card, release, vae_variant, expression, profile)
        plan = _make_plan(release, reader, make_card)
        if out.exists():
            _check_same(out, plan)
            progress(sum(unit.size for unit in plan.units))
            return plan.card
        metadata = {CARD_KEY: plan.card.to_json(), SOURCE_KEY: plan.source}
        with ResumableWriter(out, plan.entries, metadata, plan.source) as file:
            for unit in plan.units:
                if unit.name not in file.done:
                    for name, data in unit.tensors():
                        file.write(name, data)
                    file.mark_done(unit.name)
                progress(unit.size)
            file.finish()
    return plan.card


def _check_same(out: Path, plan: ImportPlan) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(out, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError):
        metadata = {}
    if (metadata.get(SOURCE_KEY), metadata.get(CARD_KEY)) != (plan.source, plan.card.to_json()):
        raise GenceptionError(
            f"{out} exists already and was made from another release or with other options. Use "
            "another --out, or remove it."
        )


def _make_plan(
    release: Release, reader: ArrayReader, make_card: Callable[[], ModelCard]
) -> ImportPlan:
    units = [*_transformer_units(release, reader)]
    entries: dict[str, TensorEntry] = {}
    for weight in build_weight_map(release.config):
        if weight.target is not None:
            dtype = _stored_dtype(reader, weight)
            for block in range(weight.count):
                name = f"transformer.{weight.target_name(block)}"
                entries[name] = TensorEntry(dtype, weight.target_shape)
    if release.vae is not None:
        entries |= {f"vae.{name}": entry for name, entry in release.vae.entries.items()}
        units.extend(_vae_units(release.vae))
    shape = (release.prompt_length, release.config.text_dim)
    entries |= {f"prompt.{name}": TensorEntry("F32", shape) for name in release.prompts}
    units.extend(_prompt_units(release))
    return ImportPlan(entries, units, make_card(), _source_digest(release, reader))


def _stored_dtype(reader: ArrayReader, weight: MappedWeight) -> str:
    dtype = reader.dtypes[weight.key + SUFFIX]
    supported = {("V", 2): "BF16", ("f", 2): "F16", ("f", 4): "F32"}
    if (dtype.kind, dtype.itemsize) not in supported:
        raise GenceptionError(
            f"{weight.key} is stored as {dtype}; expected float32, or bfloat16 as 2-byte void. "
            "The file was not written by the official code."
        )
    return supported[dtype.kind, dtype.itemsize]


def _transformer_units(release: Release, reader: ArrayReader) -> Iterator[WorkUnit]:
    for weight in build_weight_map(release.config):
        if weight.target is not None:
            size = int(np.prod(weight.shape)) * reader.dtypes[weight.key + SUFFIX].itemsize
            yield WorkUnit(weight.key, size, partial(_transposed, reader, weight))


def _transposed(reader: ArrayReader, weight: MappedWeight) -> Iterator[tuple[str, memoryview]]:
    for block, array in enumerate(reader.read(weight.key + SUFFIX, stacked=weight.stacked)):
        transposed = np.ascontiguousarray(np.transpose(array, weight.axes))
        yield f"transformer.{weight.target_name(block)}", _bytes(transposed)


def _bytes(array: np.ndarray[Any, Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _vae_units(vae: SafetensorsFile) -> Iterator[WorkUnit]:
    def read(name: str) -> Iterator[tuple[str, bytes]]:
        yield f"vae.{name}", vae.read(name)

    for name, entry in vae.entries.items():
        yield WorkUnit(f"vae.{name}", entry.size, partial(read, name))


def _prompt_units(release: Release) -> Iterator[WorkUnit]:
    width = release.config.text_dim

    def read(name: str, path: Path) -> Iterator[tuple[str, memoryview]]:
        yield f"prompt.{name}", _bytes(read_embeddings(path, width))

    for name, path in release.prompts.items():
        size = release.prompt_length * width * 4
        yield WorkUnit(f"prompt.{name}", size, partial(read, name, path))


def _source_digest(release: Release, reader: ArrayReader) -> str:
    if not isinstance(reader, NpzReader):
        raise TypeError("a release is read from files")
    prompts = release.prompts.items()
    vae = None if release.vae is None else release.vae.path.stat()
    identity = {
        "transformer": reader.checksums(),
        "vae": None if vae is None else [vae.st_size, vae.st_mtime_ns],
        "prompts": {n: hashlib.sha256(path.read_bytes()).hexdigest() for n, path in prompts},
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _make_card(
    release: Release, variant: VaeVariant, expression: str | None, profile: Profile | None
) -> ModelCard:
    config = release.config
    profile = profile or Profile(NATIVE_FRAMES, config.width, config.height)
    by_task = release.prompts_by_task(expression)
    if release.vae is None:
        by_task = {}  # the network cannot run without an encoder
    missing = sorted({Task.DEPTH.value, Task.NORMALS.value} - {task.value for task in by_task})
    if missing:
        _log.warning("The checkpoint will not support %s (no VAE, or no embeddings)", missing)
    groups = {
        f"tokens{n}": [total // per_item, per_item]
        for n, (total, per_item) in enumerate(
            (
                (config.token1_proj_dim, config.token1_output_dim),
                (config.token2_proj_dim, config.token2_output_dim),
            ),
            start=1,
        )
    }
    return ModelCard(
        name=release.name,
        family="genception",
        tasks=tuple(by_task),
        prompts={task.value: PROMPT_TEXTS.get(name, name) for task, name in by_task.items()},
        joint_names=(),  # there are 33 points per frame, but their order is not published
        part_names=(),
        crop_size=(profile.width, profile.height),
        frame_size=(profile.width, profile.height),
        window=profile.frames,
        network={
            "transformer": config.to_dict(),
            "vae": release.vae_config,
            "codec": variant.value,
            "depth_scale": DEPTH_SCALE,
            "prompt_tensors": {task.value: f"prompt.{name}" for task, name in by_task.items()},
            "expressions": sorted(release.prompts.keys() - PROMPT_TEXTS.keys()),
            "prompt_length": release.prompt_length,
            "unnamed_tokens": groups,
        },
        trained_on=f"public GenCeption weights ({release.transformer.name}), not by this project",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `thfm import`."""
    parser.add_argument("family", choices=("genception",), help="whose weights they are")
    parser.add_argument("source", type=Path, help="downloaded folder, or the .npz file in it")
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--vae", type=Path, help="folder of the Wan 2.1 VAE (default: SOURCE/vae)")
    parser.add_argument(
        "--prompts", type=Path, help="folder of the prompt embeddings, *.npy (default: SOURCE)"
    )
    parser.add_argument(
        "--segment",
        metavar="EXPRESSION",
        help="expression to segment; its embeddings must be among the prompts (default: a person)",
    )
    parser.add_argument(
        "--profile",
        metavar="WIDTHxHEIGHTxFRAMES",
        help="image size and window length to run with (default: those of training, 832x480x81)",
    )
    parser.add_argument(
        "--codec",
        choices=[variant.value for variant in VaeVariant],
        default=VaeVariant.AS_RELEASED.value,
        help="VAE variant: as in the released code, or as in diffusers (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Import, with a progress bar."""
    if args.out.suffix != ".safetensors":
        raise GenceptionError(f"--out is {args.out}; its name must end in .safetensors.")
    release = find_release(args.source, args.vae, args.prompts)
    with tqdm(unit="B", unit_scale=True, desc=release.name, total=_total_bytes(release)) as bar:
        card = import_release(
            release,
            args.out,
            vae_variant=VaeVariant(args.codec),
            expression=args.segment,
            profile=None if args.profile is None else Profile.from_text(args.profile),
            progress=bar.update,
        )
    tasks = ", ".join(task.value for task in card.tasks) or "none"
    sys.stdout.write(f"{args.out}: {card.name}, tasks: {tasks}\n")
    if not card.tasks:
        sys.stdout.write("It cannot run: import it with its VAE and prompt embeddings.\n")
    return 0


def _total_bytes(release: Release) -> int:
    with open_arrays(release.transformer) as reader:
        units = [*_transformer_units(release, reader), *_prompt_units(release)]
    if release.vae is not None:
        units.extend(_vae_units(release.vae))
    return sum(unit.size for unit in units)
