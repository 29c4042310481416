# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm engine`: build, list, verify and remove the engines in the cache."""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from thfm_ros.commands.engine_start import MAX_STARTS, start_report
from thfm_ros.config import EngineConfig, parameters
from thfm_ros.config_option import check_numbers
from thfm_ros.engine.base import Engine
from thfm_ros.engine.cache import EngineCache, default_folder
from thfm_ros.engine.checkpoint import Checkpoint, find_checkpoint, shipped_checkpoints
from thfm_ros.engine.graph_engine import all_graphs, image_size
from thfm_ros.engine.select import has_gpu, load_engine
from thfm_ros.engine.verify import TOLERANCES, fixed_clip, part_difference
from thfm_ros.engine.versions import processor

if TYPE_CHECKING:
    from thfm_ros.genception.runner import GenceptionNetwork

EPILOG = """\
build   build the engines of a checkpoint, so that the node's first start need not do it
list    list the engines in the cache and check that no file is damaged
verify  compare the engine's outputs with PyTorch on a fixed clip; --time measures both
start   measure the time from the start of a process to its first result, without and with a cache
clear   remove all engines from the cache

An image of a robot can carry the cache: `thfm engine build --all --cache-dir FOLDER` when it is
made, and engine.cache_dir: FOLDER in the node's parameters. It may be read-only then.
"""

PART_NAMES = {"dense": "all", "body": "bodies", "detect": "detections"}
"""What each graph of an engine gives."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The action, and as options the parameters of the group "engine"."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("action", choices=("build", "list", "verify", "start", "clear"))
    for each in parameters():
        if each.group == "engine":
            parser.add_argument(
                f"--{each.field.replace('_', '-')}",
                default=each.default,
                type=type(each.default),
                choices=each.choices,
                help=f"{each.doc} (default: {each.default or 'none'})",
            )
    parser.add_argument(
        "--all", action="store_true", help="build: for all checkpoints that ship, all engines"
    )
    parser.add_argument(
        "--time", action="store_true", help="verify: also measure the time of a step"
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=40,
        help="steps per measurement; start: at most 5 processes (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the action; 1 if an engine was replaced by PyTorch, differs or is damaged, else 0."""
    check_numbers(vars(args), {"repeats": (1, 10**6)})
    config = EngineConfig(**{each.name: getattr(args, each.name) for each in fields(EngineConfig)})
    cache = EngineCache(default_folder(config.cache_dir))
    if args.action == "build":
        configs = [*_all_engines(config)] if args.all else [config]
        codes = [_build(find_checkpoint(each.checkpoint), each) for each in configs]
        print(f"cache: {cache.folder}")
        return max(codes)
    if args.action == "start":
        print(start_report(config, min(args.repeats, MAX_STARTS)))
        return 0
    if args.action == "list":
        return _list(cache)
    if args.action == "verify":
        checkpoint = find_checkpoint(config.checkpoint)
        verify = _verify if checkpoint.card.family == "nano" else _verify_full_size
        return verify(checkpoint, config, args.repeats if args.time else 0)
    print(f"{cache.clear() / 1e6:.1f} MB removed from {cache.folder}")
    return 0


def _all_engines(config: EngineConfig) -> Iterator[EngineConfig]:
    """Every engine that this machine can run, of each checkpoint that ships."""
    kinds = ("onnx", "tensorrt") if has_gpu() and find_spec("torch_tensorrt") else ("onnx",)
    for name in shipped_checkpoints():
        for kind in kinds:
            yield replace(config, checkpoint=name, kind=kind)


def _build(checkpoint: Checkpoint, config: EngineConfig) -> int:
    load = load_engine if checkpoint.card.family == "nano" else _full_size
    engine: "Engine | GenceptionNetwork" = load(checkpoint, config)
    print(f"{engine.card.name}: {engine.description}")
    return int(engine.fallback_reason is not None)


def _list(cache: EngineCache) -> int:
    any_damaged = False
    rows = [("engine", "precision", "MB", "built", "build s", "difference", "device", "state")]
    for manifest in cache.entries():
        key, problem = manifest.key, cache.problem(manifest.key)
        any_damaged |= problem is not None
        rows.append(
            (
                key.purpose,
                key.precision,
                f"{manifest.bytes / 1e6:.1f}",
                manifest.created[:16].replace("T", " "),
                f"{manifest.build_s:.1f}",
                manifest.notes.get("difference", ""),
                key.device,
                problem or "intact",
            )
        )
    print(f"cache: {cache.folder}")
    _print_table(rows)
    return int(any_damaged)


def _verify(checkpoint: Checkpoint, config: EngineConfig, repeats: int) -> int:
    engine = load_engine(checkpoint, config)
    reference = load_engine(checkpoint, replace(config, kind="torch"))
    print(f"{engine.card.name}: {engine.description}\nreference: {reference.description}")
    if repeats:
        print(f"on: {processor()}, load average {os.getloadavg()[0]:.1f}")
    rows = [["image", "outputs", "difference"]]
    if repeats:
        rows[0] += ["CPU ms", "wall ms", "CPU ms PyTorch", "ratio"]
    passed = engine.fallback_reason is None
    precision = next((p for p in ("float16", "int8") if f", {p}" in engine.description), "float32")
    tolerance = TOLERANCES[precision]
    for card, part in all_graphs(engine.card):
        size = width, height = image_size(card, part)
        largest = part_difference(engine, reference, part, size=size, quantile=tolerance.quantile)
        passed &= largest <= tolerance.largest
        row = [f"{width}x{height}", PART_NAMES[part], f"{largest:.1e}"]
        if repeats:
            own, pytorch = _measure([engine, reference], part, size, repeats)
            row += [f"{own.cpu_ms:.1f}", f"{own.wall_ms:.1f}", f"{pytorch.cpu_ms:.1f}"]
            row.append(f"{own.cpu_ms / pytorch.cpu_ms:.2f}")
        rows.append(row)
    return _report(rows, passed)


def _verify_full_size(checkpoint: Checkpoint, config: EngineConfig, repeats: int) -> int:
    from thfm_ros.genception import verify as full_size
    from thfm_ros.genception.subgraphs import Profile

    network = _full_size(checkpoint, config)
    reference = _full_size(checkpoint, replace(config, kind="torch"))
    print(f"{network.card.name}: {network.description}\nreference: {reference.description}")
    profile = Profile(network.card.window, *network.card.frame_size)
    differences = full_size.differences(network, reference, profile)
    rows = [["subgraph", "difference"]]
    rows += [[name, f"{largest:.1e}"] for name, largest in differences.items()]
    if repeats:
        rows[0] += ["ms", "ms PyTorch"]
        for each in (network, reference):
            seconds = full_size.seconds(each, profile, repeats)
            for row in rows[1:]:
                row.append(f"{1e3 * seconds[row[0]]:.1f}")
    passed = max(differences.values()) <= full_size.TOLERANCE
    return _report(rows, passed and network.fallback_reason is None)


def _report(rows: Sequence[Sequence[str]], passed: bool) -> int:
    _print_table(rows)
    if passed:
        print("The outputs agree with those of PyTorch.")
    else:
        print("The outputs do NOT agree with those of PyTorch, or the engine was replaced.")
    return int(not passed)


def _full_size(checkpoint: Checkpoint, config: EngineConfig) -> "GenceptionNetwork":
    # PyTorch and diffusers take seconds to import: only for such a checkpoint.
    from thfm_ros.genception.engine_selection import load_genception

    return load_genception(checkpoint, config)


@dataclass(frozen=True)
class _StepTime:
    """Medians over the steps of a running stream."""

    cpu_ms: float
    wall_ms: float


def _measure(
    engines: list[Engine], part: str, size: tuple[int, int], repeats: int
) -> Iterator[_StepTime]:
    """Run all engines alternately, so that other load on the machine affects them alike."""
    images = fixed_clip(size, 8)
    states: list[object | None] = [None] * len(engines)
    times: list[list[tuple[float, float]]] = [[] for _ in engines]
    for i in range(repeats + len(images)):
        for e, engine in enumerate(engines):
            cpu, wall = time.process_time(), time.perf_counter()
            image = images[i % len(images)]
            if part == "detect":
                engine.detect(image)
            else:
                _, states[e] = engine.step(image, states[e], dense=part == "dense")
            if i >= len(images):  # the steps before are a warm-up
                times[e].append((time.process_time() - cpu, time.perf_counter() - wall))
    for each in times:
        cpu_ms, wall_ms = 1e3 * np.median(np.array(each), 0)
        yield _StepTime(float(cpu_ms), float(wall_ms))


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())
