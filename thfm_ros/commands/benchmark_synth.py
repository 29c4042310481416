"""``thfm benchmark synth``: clips per second on one core, and where the time goes."""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from thfm_ros.commands.synth import DEFAULT_PACK
from thfm_ros.contract import PerceptionError
from thfm_ros.synth.dataset import write_shard
from thfm_ros.synth.generate import Order, make_cast, make_clip
from thfm_ros.synth.pack import load_pack
from thfm_ros.synth.rendering.render import Timings
from thfm_ros.synth.scene.asset_choices import Choices, choose

STAGES = (
    "body", "motion", "light", "visibility", "shading", "annotation", "sensor", "write",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the benchmark."""
    parser.add_argument("--pack", type=Path, default=DEFAULT_PACK, help="(%(default)s)")
    parser.add_argument("--clips", type=int, default=20, help="clips to measure (%(default)s)")
    parser.add_argument("--frames", type=int, default=8, help="frames per clip (%(default)s)")
    parser.add_argument("--size", type=int, default=128, help="of a crop, pixels (%(default)s)")
    parser.add_argument("--samples", type=int, default=1, help="samples per pixel and axis")
    parser.add_argument("--people", type=int, default=1, help="people per clip (%(default)s)")
    parser.add_argument("--view", choices=("crop", "frame"), default="crop")
    parser.add_argument("--json", type=Path, help="also write the figures there")


def run(args: argparse.Namespace) -> int:
    """Measure and print; the exit status."""
    order = Order(
        pack=str(args.pack), seed=1, split="all", view=args.view, clips=args.clips,
        shard=args.clips, frames=(args.frames,), size=args.size, samples=args.samples, reuse=1,
    )  # fmt: skip
    try:
        result = measure(order, choose(load_pack(args.pack), "all"), args.people)
    except PerceptionError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(table(order, result))
    return 0


def measure(order: Order, choices: Choices, people: int) -> dict[str, float]:
    """Time the making of clips, each with people of its own.

    CPU seconds of this process, so that what else runs on the machine counts little; the first
    clip, which compiles the kernels, is not counted.

    Returns:
        ``clips_per_s``, ``frames_per_s``, ``wall_clips_per_s``, ``mb_per_1000_clips``, and
        milliseconds per clip under each name of STAGES.
    """
    _timed_clip(order, choices, people, 0, Timings())
    timings = Timings(clock=time.process_time)
    started, wall = time.process_time(), time.monotonic()
    numbers = range(1, order.clips + 1)
    clips = [_timed_clip(order, choices, people, number, timings) for number in numbers]
    timings.start()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shard.npz"
        arrays = {name: np.concatenate([clip[name] for clip in clips]) for name in clips[0]}
        write_shard(path, arrays, {})
        size = path.stat().st_size
    timings.lap("write")
    spent, elapsed = time.process_time() - started, time.monotonic() - wall
    stages = {name: 1e3 * timings.seconds.get(name, 0.0) / order.clips for name in STAGES}
    return {
        "clips_per_s": order.clips / spent,
        "frames_per_s": order.clips * order.frames[0] / spent,
        "wall_clips_per_s": order.clips / elapsed,
        "mb_per_1000_clips": size / order.clips / 1e3,
        **stages,
    }


def _timed_clip(
    order: Order, choices: Choices, people: int, number: int, timings: Timings
) -> dict[str, np.ndarray]:
    timings.start()
    cast = make_cast(order, choices, number, people)
    timings.lap("body")
    return make_clip(replace(order, clips=number + 1), choices, cast, number, timings)


def table(order: Order, result: dict[str, float]) -> str:
    """The figures as text."""
    width, height = order.image
    lines = [
        f"{order.clips} clips of {order.frames[0]} frames, {width}x{height}, "
        f"{order.samples}x{order.samples} samples, CPU time of one core",
        f"{result['clips_per_s']:8.2f} clips/s   {result['frames_per_s']:.1f} frames/s   "
        f"({result['wall_clips_per_s']:.2f} clips/s by the clock)",
        f"{result['mb_per_1000_clips']:8.0f} MB per 1,000 clips",
        *(f"{result[name]:8.1f} ms per clip  {name}" for name in STAGES),
    ]
    return "\n".join(lines) + "\n"
