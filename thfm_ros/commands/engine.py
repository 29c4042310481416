"""`thfm engine`: build, look at, check and remove the engines in the cache."""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from thfm_ros.config import EngineConfig, parameters
from thfm_ros.engine.base import Engine
from thfm_ros.engine.cache import EngineCache, default_folder
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.engine.select import load_engine
from thfm_ros.engine.verify import TOLERANCES, difference, fixed_clip
from thfm_ros.engine.versions import processor

if TYPE_CHECKING:
    from thfm_ros.genception.runner import Network

EPILOG = """\
build   makes the engines of a checkpoint now, so that the node's first start does not have to
list    shows what is in the cache, and whether each file is sound
verify  compares the engine with PyTorch on a fixed clip; with --time measures both
clear   empties the cache
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of all four, which are the parameters of the group "engine"."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("what", choices=("build", "list", "verify", "clear"))
    for each in parameters():
        if each.group == "engine":
            parser.add_argument(
                f"--{each.field.replace('_', '-')}",
                default=each.default,
                type=type(each.default),
                choices=each.choices,
                help=f"{each.doc} (default: {each.default or 'none'})",
            )
    parser.add_argument("--time", action="store_true", help="verify: measure steps, too")
    parser.add_argument("--repeats", type=int, default=40, help="steps per measurement")


def run(args: argparse.Namespace) -> int:
    """0 when all is well; 1 when an engine was replaced, differs or is damaged."""
    config = EngineConfig(**{each.name: getattr(args, each.name) for each in fields(EngineConfig)})
    cache = EngineCache(default_folder(config.cache_dir))
    if args.what == "build":
        return _build(config, cache)
    if args.what == "list":
        return _list(cache)
    if args.what == "verify":
        verify = _verify if _is_nano(config) else _verify_full_size
        return verify(config, args.repeats if args.time else 0)
    print(f"{cache.clear() / 1e6:.1f} MB removed from {cache.folder}")
    return 0


def _build(config: EngineConfig, cache: EngineCache) -> int:
    engine: "Engine | Network" = load_engine(config) if _is_nano(config) else _full_size(config)
    print(f"{engine.card.name}: {engine.description}")
    print(f"cache: {cache.folder}")
    return int(_replaced(engine.description))


def _list(cache: EngineCache) -> int:
    damaged = False
    rows = [("engine", "precision", "MB", "built", "seconds", "difference", "device", "state")]
    for manifest in cache.entries():
        key, problem = manifest.key, cache.problem(manifest.key)
        damaged |= problem is not None
        rows.append(
            (
                key.purpose,
                key.precision,
                f"{manifest.bytes / 1e6:.1f}",
                manifest.created[:16].replace("T", " "),
                f"{manifest.build_s:.1f}",
                manifest.notes.get("difference", ""),
                key.device,
                problem or "sound",
            )
        )
    print(f"cache: {cache.folder}")
    _print_table(rows)
    return int(damaged)


def _verify(config: EngineConfig, repeats: int) -> int:
    engine = load_engine(config)
    judge = load_engine(
        EngineConfig(checkpoint=config.checkpoint, kind="torch", threads=config.threads)
    )
    print(f"{engine.card.name}: {engine.description}\nagainst: {judge.description}")
    if repeats:
        print(f"on: {processor()}, load average {os.getloadavg()[0]:.1f}")
    rows = [["image", "outputs", "difference"]]
    if repeats:
        rows[0] += ["CPU ms", "wall ms", "CPU ms PyTorch", "ratio"]
    well = not _replaced(engine.description)
    tolerance = TOLERANCES["float16" if "float16" in engine.description else "float32"]
    for size in sorted({engine.card.crop_size, engine.card.frame_size}):
        for dense in (True, False):
            off = difference(engine, judge, size, dense=dense, quantile=tolerance.quantile)
            well &= off <= tolerance.largest
            row = [f"{size[0]}x{size[1]}", "all" if dense else "bodies", f"{off:.1e}"]
            if repeats:
                mine, other = _measure([engine, judge], size, dense, repeats)
                row += [f"{mine.cpu_ms:.1f}", f"{mine.wall_ms:.1f}", f"{other.cpu_ms:.1f}"]
                row.append(f"{mine.cpu_ms / other.cpu_ms:.2f}")
            rows.append(row)
    return _verdict(rows, well)


def _verify_full_size(config: EngineConfig, repeats: int) -> int:
    from thfm_ros.genception import verify as full_size
    from thfm_ros.genception.subgraphs import Profile

    network, judge = _full_size(config), _full_size(replace(config, kind="torch"))
    print(f"{network.card.name}: {network.description}\nagainst: {judge.description}")
    profile = Profile(network.card.window, *network.card.frame_size)
    found = full_size.differences(network, judge, profile)
    rows = [["part", "difference"], *([part, f"{off:.1e}"] for part, off in found.items())]
    if repeats:
        rows[0] += ["ms", "ms PyTorch"]
        for each in (network, judge):
            took_s = full_size.seconds(each, profile, repeats)
            for row in rows[1:]:
                row.append(f"{1e3 * took_s[row[0]]:.1f}")
    same = max(found.values()) <= full_size.TOLERANCE
    return _verdict(rows, same and not _replaced(network.description))


def _verdict(rows: Sequence[Sequence[str]], well: bool) -> int:
    _print_table(rows)
    print(
        "It says what PyTorch says." if well else "It is NOT the same, or not what was asked for."
    )
    return int(not well)


def _is_nano(config: EngineConfig) -> bool:
    return find_checkpoint(config.checkpoint).card.family == "nano"


def _full_size(config: EngineConfig) -> "Network":
    # With PyTorch and diffusers behind it: only who has such a checkpoint waits for them.
    from thfm_ros.genception.engine_selection import load_genception

    return load_genception(config)


def _replaced(description: str) -> bool:
    return "instead of" in description


@dataclass(frozen=True)
class _Cost:
    """Medians over steps of a running stream."""

    cpu_ms: float
    wall_ms: float


def _measure(
    engines: list[Engine], size: tuple[int, int], dense: bool, repeats: int
) -> Iterator[_Cost]:
    """In turn, so that whatever else the machine does falls on all of them alike."""
    images = fixed_clip(size, 8)
    states: list[object | None] = [None] * len(engines)
    times: list[list[tuple[float, float]]] = [[] for _ in engines]
    for i in range(repeats + len(images)):
        for e, engine in enumerate(engines):
            cpu, wall = time.process_time(), time.perf_counter()
            _, states[e] = engine.step(images[i % len(images)], states[e], dense=dense)
            if i >= len(images):  # the first ones warm up
                times[e].append((time.process_time() - cpu, time.perf_counter() - wall))
    for each in times:
        cpu_ms, wall_ms = 1e3 * np.median(np.array(each), 0)
        yield _Cost(float(cpu_ms), float(wall_ms))


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())
