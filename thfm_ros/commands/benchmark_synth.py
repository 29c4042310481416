# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""``thfm benchmark synth``: clips per second on one core, and time per stage."""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from thfm_ros.commands.synth import RENDER_LIMITS, add_pack_option, default_pack
from thfm_ros.config_option import check_numbers
from thfm_ros.contract import PerceptionError
from thfm_ros.synth.clip import MAX_PEOPLE
from thfm_ros.synth.dataset import write_shard
from thfm_ros.synth.generate import DatasetConfig, make_clip, make_person_group
from thfm_ros.synth.pack import load_pack
from thfm_ros.synth.rendering.render import Timings
from thfm_ros.synth.scene.asset_choices import AssetChoices, choose_assets

STAGES = (
    "body", "motion", "light", "visibility", "shading", "annotation", "sensor", "write",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the benchmark to the parser."""
    add_pack_option(parser)
    parser.add_argument("--clips", type=int, default=20, help="clips to measure (%(default)s)")
    parser.add_argument("--frames", type=int, default=8, help="frames per clip (%(default)s)")
    parser.add_argument(
        "--size", type=int, default=128, help="side of a crop, pixels (%(default)s)"
    )
    parser.add_argument(
        "--samples", type=int, default=1, help="samples per pixel and axis (%(default)s)"
    )
    parser.add_argument("--people", type=int, default=1, help="people per clip (%(default)s)")
    parser.add_argument("--view", choices=("crop", "frame"), default="crop", help="(%(default)s)")
    parser.add_argument("--json", type=Path, help="JSON file for the results")


def run(args: argparse.Namespace) -> int:
    """Measure and print; returns the exit status."""
    limits = {name: RENDER_LIMITS[name] for name in ("clips", "frames", "size", "samples")}
    check_numbers(vars(args), {**limits, "people": (0, MAX_PEOPLE)})
    pack = args.pack or default_pack()
    config = DatasetConfig(
        pack=str(pack), seed=1, split="all", view=args.view, clips=args.clips,
        shard=args.clips, frames=(args.frames,), size=args.size, samples=args.samples,
        clips_per_group=1,
    )  # fmt: skip
    try:
        result = measure(config, choose_assets(load_pack(pack), "all"), args.people)
    except PerceptionError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(table(config, result))
    return 0


def measure(config: DatasetConfig, choices: AssetChoices, people: int) -> dict[str, float]:
    """Time the rendering of clips, each with its own people.

    CPU time of this process is measured, so that other processes have little influence. The first
    clip, which compiles the kernels, is not counted.

    Returns:
        ``clips_per_s``, ``frames_per_s``, ``wall_clips_per_s``, ``mb_per_1000_clips``, and
        milliseconds per clip for each of STAGES.
    """
    _timed_clip(config, choices, people, 0, Timings())
    timings = Timings(clock=time.process_time)
    started, wall = time.process_time(), time.monotonic()
    numbers = range(1, config.clips + 1)
    clips = [_timed_clip(config, choices, people, number, timings) for number in numbers]
    timings.start()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shard.npz"
        arrays = {name: np.concatenate([clip[name] for clip in clips]) for name in clips[0]}
        write_shard(path, arrays, {})
        size = path.stat().st_size
    timings.lap("write")
    spent, elapsed = time.process_time() - started, time.monotonic() - wall
    stages = {name: 1e3 * timings.seconds.get(name, 0.0) / config.clips for name in STAGES}
    return {
        "clips_per_s": config.clips / spent,
        "frames_per_s": config.clips * config.frames[0] / spent,
        "wall_clips_per_s": config.clips / elapsed,
        "mb_per_1000_clips": size / config.clips / 1e3,
        **stages,
    }


def _timed_clip(
    config: DatasetConfig, choices: AssetChoices, people: int, number: int, timings: Timings
) -> dict[str, np.ndarray]:
    timings.start()
    group = make_person_group(config, choices, number, people)
    timings.lap("body")
    return make_clip(replace(config, clips=number + 1), choices, group, number, timings)


def table(config: DatasetConfig, result: dict[str, float]) -> str:
    """The results as text."""
    width, height = config.image
    lines = [
        f"{config.clips} clips of {config.frames[0]} frames, {width}x{height}, "
        f"{config.samples}x{config.samples} samples, CPU time of one core",
        f"{result['clips_per_s']:8.2f} clips/s   {result['frames_per_s']:.1f} frames/s   "
        f"({result['wall_clips_per_s']:.2f} clips/s wall time)",
        f"{result['mb_per_1000_clips']:8.0f} MB per 1,000 clips",
        *(f"{result[name]:8.1f} ms per clip  {name}" for name in STAGES),
    ]
    return "\n".join(lines) + "\n"
