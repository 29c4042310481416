"""`thfm import`: turn a downloaded release of public weights into one checkpoint file.

The file holds the transformer, the VAE and the prompts, and a card that says what they can do.
Arrays are turned one block at a time, so memory stays far below the size of the file, and an
interrupted import goes on where it was. No value changes: bfloat16 stays bfloat16.
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
from thfm_ros.genception.npz_reader import ArrayStore, NpzStore, open_arrays
from thfm_ros.genception.prompt_files import read_embeddings
from thfm_ros.genception.release_folder import Release, find_release
from thfm_ros.genception.resumable_safetensors import Entry, PartFile, StoredFile
from thfm_ros.genception.subgraphs import Profile
from thfm_ros.genception.wan_vae import CodecVariant
from thfm_ros.genception.weight_map import SUFFIX, Weight, weight_table
from thfm_ros.model.card import ModelCard
from thfm_ros.model.weights import CARD_KEY

_log = logging.getLogger(__name__)

SOURCE_KEY = "thfm_source"
"""In the header: what the file was made of, so that the same import is not done twice."""
DEPTH_SCALE = 0.4
"""Of the public checkpoints: colour value = 0.4 ln(depth / median + 1)."""
NATIVE_FRAMES = 81
"""The window of the public checkpoints."""
PROMPT_TEXTS = {
    "depth": "Input: RGB. Output: Depth.",
    "normals": "Input: RGB. Output: Surface Normal.",
}


class Unit(NamedTuple):
    """A piece of the work that is noted once it is on the disk."""

    name: str
    size: int  # bytes
    tensors: Callable[[], Iterator[tuple[str, bytes | memoryview]]]


@dataclass(frozen=True)
class Plan:
    """Everything that the file will hold."""

    entries: dict[str, Entry]
    units: list[Unit]
    card: ModelCard
    source: str


def import_release(
    release: Release,
    out: Path,
    *,
    codec: CodecVariant = CodecVariant.AS_RELEASED,
    person: str | None = None,
    profile: Profile | None = None,
    progress: Callable[[int], object] = lambda size: None,
) -> ModelCard:
    """Write ``out``, or go on with an import of the same release that was interrupted.

    Args:
        release: see `find_release`.
        out: the checkpoint; one that was made of the same release is left as it is.
        codec: which arithmetic the VAE is to do; written on the card.
        person: the expression that is segmented; None takes the likeliest one there is.
        profile: the window and size that it is to run with; None is what it was trained on.
        progress: told the bytes that are done, including those of an earlier attempt.

    Raises:
        GenceptionError: something in the release is damaged.
        PartFileError: the disk is full, or another process writes the same file.
    """
    with open_arrays(release.transformer) as store:
        plan = _plan(release, store, partial(_card, release, codec, person, profile))
        if out.exists():
            _check_same(out, plan)
            progress(sum(unit.size for unit in plan.units))
            return plan.card
        metadata = {CARD_KEY: plan.card.to_json(), SOURCE_KEY: plan.source}
        with PartFile(out, plan.entries, metadata, plan.source) as file:
            for unit in plan.units:
                if unit.name not in file.done:
                    for name, data in unit.tensors():
                        file.write(name, data)
                    file.note(unit.name)
                progress(unit.size)
            file.finish()
    return plan.card


def _check_same(out: Path, plan: Plan) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(out, framework="numpy") as file:
            there = file.metadata() or {}
    except (SafetensorError, OSError):
        there = {}
    if (there.get(SOURCE_KEY), there.get(CARD_KEY)) != (plan.source, plan.card.to_json()):
        raise GenceptionError(
            f"{out} is there already and was made of something else. Give another --out, or "
            "remove it."
        )


def _plan(release: Release, store: ArrayStore, card: Callable[[], ModelCard]) -> Plan:
    units = [*_transformer_units(release, store)]
    entries: dict[str, Entry] = {}
    for weight in weight_table(release.config):
        if weight.target is not None:
            dtype = _stored_type(store, weight)
            for block in range(weight.count):
                name = f"transformer.{weight.target_name(block)}"
                entries[name] = Entry(dtype, weight.target_shape)
    if release.vae is not None:
        entries |= {f"vae.{name}": entry for name, entry in release.vae.entries.items()}
        units.extend(_vae_units(release.vae))
    shape = (release.prompt_length, release.config.text_dim)
    entries |= {f"prompt.{name}": Entry("F32", shape) for name in release.prompts}
    units.extend(_prompt_units(release))
    return Plan(entries, units, card(), _identity(release, store))


def _stored_type(store: ArrayStore, weight: Weight) -> str:
    dtype = store.dtypes[weight.key + SUFFIX]
    known = {("V", 2): "BF16", ("f", 2): "F16", ("f", 4): "F32"}
    if (dtype.kind, dtype.itemsize) not in known:
        raise GenceptionError(
            f"{weight.key} is stored as {dtype}; expected float32, or bfloat16 as 2-byte void. "
            "The file was not written by the official code."
        )
    return known[dtype.kind, dtype.itemsize]


def _transformer_units(release: Release, store: ArrayStore) -> Iterator[Unit]:
    for weight in weight_table(release.config):
        if weight.target is not None:
            count = int(np.prod(weight.shape)) * store.dtypes[weight.key + SUFFIX].itemsize
            yield Unit(weight.key, count, partial(_turned, store, weight))


def _turned(store: ArrayStore, weight: Weight) -> Iterator[tuple[str, memoryview]]:
    for block, array in enumerate(store.read(weight.key + SUFFIX, stacked=weight.stacked)):
        turned = np.ascontiguousarray(np.transpose(array, weight.axes))
        yield f"transformer.{weight.target_name(block)}", _bytes(turned)


def _bytes(array: np.ndarray[Any, Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _vae_units(stored: StoredFile) -> Iterator[Unit]:
    def one(name: str) -> Iterator[tuple[str, bytes]]:
        yield f"vae.{name}", stored.read(name)

    for name, entry in stored.entries.items():
        yield Unit(f"vae.{name}", entry.size, partial(one, name))


def _prompt_units(release: Release) -> Iterator[Unit]:
    width = release.config.text_dim

    def one(name: str, path: Path) -> Iterator[tuple[str, memoryview]]:
        yield f"prompt.{name}", _bytes(read_embeddings(path, width))

    for name, path in release.prompts.items():
        size = release.prompt_length * width * 4
        yield Unit(f"prompt.{name}", size, partial(one, name, path))


def _identity(release: Release, store: ArrayStore) -> str:
    if not isinstance(store, NpzStore):
        raise TypeError("a release is read from files")
    prompts = {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in release.prompts.items()
    }
    vae = release.vae
    parts = {
        "transformer": store.checksums(),
        "vae": None if vae is None else [vae.path.stat().st_size, vae.path.stat().st_mtime_ns],
        "prompts": prompts,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _card(
    release: Release, codec: CodecVariant, person: str | None, profile: Profile | None
) -> ModelCard:
    config = release.config
    profile = profile or Profile(NATIVE_FRAMES, config.width, config.height)
    by_task = release.prompts_by_task(person)
    if release.vae is None:
        by_task = {}  # nothing can be seen without an encoder
    missing = sorted({Task.DEPTH.value, Task.NORMALS.value} - {task.value for task in by_task})
    if missing:
        _log.warning("The checkpoint will not do: %s (no VAE, or no embeddings)", missing)
    groups = {
        f"tokens{n}": [wide // each, each]
        for n, (wide, each) in enumerate(
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
        joint_names=(),  # the order of the 33 is not published: none is claimed
        part_names=(),
        crop_size=(profile.width, profile.height),
        frame_size=(profile.width, profile.height),
        window=profile.frames,
        network={
            "transformer": config.to_dict(),
            "vae": release.vae_config,
            "codec": codec.value,
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
    parser.add_argument("source", type=Path, help="the downloaded folder, or the .npz in it")
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--vae", type=Path, help="folder of the Wan 2.1 VAE (default: SOURCE/vae)")
    parser.add_argument("--prompts", type=Path, help="folder of *.npy (default: SOURCE)")
    parser.add_argument("--segment", metavar="EXPRESSION", help="which *.npy is segmented")
    parser.add_argument(
        "--profile",
        metavar="WIDTHxHEIGHTxFRAMES",
        help="how it is to run (default: as it was trained, 832x480x81)",
    )
    parser.add_argument(
        "--codec",
        choices=[variant.value for variant in CodecVariant],
        default=CodecVariant.AS_RELEASED.value,
        help="arithmetic of the VAE: as in the released code, or as everybody runs it",
    )


def run(args: argparse.Namespace) -> int:
    """Import, with a progress bar."""
    if args.out.suffix != ".safetensors":
        raise GenceptionError(f"--out is {args.out}; give it the ending .safetensors.")
    release = find_release(args.source, args.vae, args.prompts)
    with tqdm(unit="B", unit_scale=True, desc=release.name, total=_bytes_to_do(release)) as bar:
        card = import_release(
            release,
            args.out,
            codec=CodecVariant(args.codec),
            person=args.segment,
            profile=None if args.profile is None else Profile.from_text(args.profile),
            progress=bar.update,
        )
    tasks = ", ".join(task.value for task in card.tasks) or "none"
    sys.stdout.write(f"{args.out}: {card.name}, tasks: {tasks}\n")
    if not card.tasks:
        sys.stdout.write("It cannot run yet: import it with its VAE and prompt embeddings.\n")
    return 0


def _bytes_to_do(release: Release) -> int:
    with open_arrays(release.transformer) as store:
        units = [*_transformer_units(release, store), *_prompt_units(release)]
    if release.vae is not None:
        units.extend(_vae_units(release.vae))
    return sum(unit.size for unit in units)
