# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm benchmark archive`: frames per second of `thfm archive`, beside plain `thfm perceive`.

Bags are made from the shipped clip. In one run are measured: one worker, several workers, and the
same number of plain `thfm perceive` processes side by side, each on a share of the same bags. Then
the archive runs again with nothing to do, which is what it costs whatever the bags hold, and on
many short bags, which shows whether the memory of workers grows. All networks use one thread. The
machine should be idle: two runs of the same command differ by some percent even then, so --rounds
measures several workers and plain processes in turn.
"""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

import thfm_ros
from thfm_ros.commands.largest_process import LargestProcess
from thfm_ros.contract import PerceptionError
from thfm_ros.evaluation.markdown_report import group_table
from thfm_ros.media.video import Video
from thfm_ros.offline.results.message_store import message_store, stored_message
from thfm_ros.offline.results.messages import header_at

CLIP = Path(thfm_ros.__file__).resolve().parent / "clips" / "street.mp4"
_TOPIC, _KIND = "/camera/image_raw/compressed", "sensor_msgs/msg/CompressedImage"
_START_NS = 1_700_000_000_000_000_000
_SHORT_FRAMES = 4
_DAY_FRAMES = 24 * 3600 * 30  # 2,592,000
_IDLE_LOAD = 0.5
"""Processes that use or wait for a CPU, in the mean of a minute, before the run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--bags", type=int, default=8, help="number of bags (default: 8)")
    parser.add_argument("--frames", type=int, default=150, help="frames per bag (default: 150)")
    parser.add_argument("--workers", type=int, default=2, help="number of workers (default: 2)")
    parser.add_argument(
        "--short-bags",
        type=int,
        default=100,
        metavar="N",
        help=f"bags of {_SHORT_FRAMES} frames, for the memory of workers (default: 100; 0: none)",
    )
    parser.add_argument(
        "--rounds", type=int, default=1, help="of several workers and plain processes (default: 1)"
    )
    parser.add_argument(
        "--overhead-only", action="store_true", help="leave out the run with one worker"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="JSON", help="the figures")


def run(args: argparse.Namespace) -> int:
    """Measure, write the figures, and print them as a table; 0.

    Raises:
        PerceptionError: a command failed, or the numbers of bags and workers do not fit.
    """
    if not 2 <= args.workers <= args.bags or min(args.frames, args.rounds, args.short_bags + 1) < 1:
        raise PerceptionError(
            f"--workers {args.workers} --bags {args.bags} --frames {args.frames} --rounds "
            f"{args.rounds} --short-bags {args.short_bags}: give at least 2 workers (one is "
            "measured anyway), as many bags, a frame per bag, a round, and no negative number."
        )
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        report = _report(_measured(Path(name), args), args, load)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table_of(report))
    return 0


def _measured(folder: Path, args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """One worker, several, plain processes, nothing to do, many short bags; each in its rounds."""
    workers, long, short = args.workers, folder / "bags", folder / "short"
    frames = _write_bags(long, args.bags, args.frames)
    bags = sorted(long.iterdir())
    _perceive_plainly(bags[:1], folder / "warm", 1, "--max-frames", "1")  # caches the engine
    measured: dict[str, list[dict[str, Any]]] = {}
    if not args.overhead_only:
        measured[_ONE] = [_archive(long, folder / "out 1", 1)]
    for number in range(args.rounds):
        out = folder / f"out {number}"
        out.mkdir()
        # Which comes first alternates: a machine that gets slower is so for both.
        for name in (_MANY, _PLAIN) if number % 2 == 0 else (_PLAIN, _MANY):
            values = (
                _archive(long, out / "many", workers)
                if name == _MANY
                else _perceive_plainly(bags, out / "plain", workers)
            )
            measured.setdefault(name, []).append(values)
    for values in (each for results in measured.values() for each in results):
        values["frames"] = frames
    measured[_NOTHING] = [{**_archive(long, out / "many", workers), "frames": 0}]
    if args.short_bags:
        frames = _write_bags(short, args.short_bags, _SHORT_FRAMES)
        values = _archive(short, folder / "out short", workers)
        measured[_SHORT] = [{**values, "frames": frames}]
    return measured


_ONE, _MANY, _PLAIN = "1 worker", "{workers} workers", "{workers} processes of thfm perceive"
_NOTHING = "{workers} workers, nothing to do"
_SHORT = f"{{workers}} workers, {{short_bags}} bags of {_SHORT_FRAMES} frames"


def _report(
    rounds: dict[str, list[dict[str, Any]]], args: argparse.Namespace, load: float
) -> dict[str, Any]:
    """The mean of all rounds, and what follows from it; "overheads" has those of each round."""
    measured = {}
    for name, results in rounds.items():
        values = {**results[-1]}
        for key in ("seconds", "cpu_seconds"):
            values[key] = sum(each[key] for each in results) / len(results)
        if values["frames"]:
            rate = values["frames"] / values["seconds"]
            values.update(frames_per_s=rate, hours_for_a_day=_DAY_FRAMES / rate / 3600)
        measured[name.format(**vars(args))] = values
    many, plain = (measured[name.format(**vars(args))] for name in (_MANY, _PLAIN))
    one = measured.get(_ONE)
    return {
        "cpus": os.cpu_count(),
        "load_before": load,
        "bags": args.bags,
        "rounds": args.rounds,
        "frames": many["frames"],
        "measured": measured,
        "speed_up": one["seconds"] / many["seconds"] if one else None,
        "overhead": _overhead(many, plain, "seconds"),
        "cpu_overhead": _overhead(many, plain, "cpu_seconds"),
        "overheads": [
            {key: _overhead(*each, key) for key in ("seconds", "cpu_seconds")}
            for each in zip(rounds[_MANY], rounds[_PLAIN], strict=True)
        ],
    }


def _overhead(many: dict[str, Any], plain: dict[str, Any], key: str) -> float:
    return float(many[key] / plain[key] - 1)


def table_of(report: dict[str, Any]) -> str:
    """The figures in Markdown, with what they are worth."""
    columns = (
        "thfm archive; perceive is the baseline",
        "seconds",
        "processor seconds",
        "frames/s",
        "memory of a worker, first and last quarter, MiB",
        "hours for a day of 30 Hz video",
    )
    rows = [_row_of(name, values) for name, values in report["measured"].items()]
    speed_up = report["speed_up"]
    each = ", ".join(
        f"{one['seconds']:.1%} and {one['cpu_seconds']:.1%}" for one in report["overheads"]
    )
    lines = [
        f"{report['bags']} bags, {report['frames']} frames of the shipped clip, {report['cpus']} "
        f"CPUs, {report['rounds']} rounds, of which the table has the mean. Start of all processes "
        f"included. Load before: {report['load_before']:.1f}"
        + (": **the machine was not idle**." if report["load_before"] > _IDLE_LOAD else "."),
        "",
        group_table(columns, rows),
        "",
        (f"All workers have {speed_up:.2f} times the frames/s of one. " if speed_up else "")
        + f"The archive's own overhead, beside the same number of plain processes: "
        f"{report['overhead']:.1%} of the time, {report['cpu_overhead']:.1%} of the processor time "
        f"(by round: {each}). Those processes start anew for each bag: only with as many bags as "
        "workers do both start equally often.",
    ]
    return "\n".join(lines)


def _row_of(name: str, values: dict[str, Any]) -> tuple[str, ...]:
    memory = values["worker_mib"]
    return (
        name,
        f"{values['seconds']:.1f}",
        f"{values['cpu_seconds']:.1f}",
        f"{values['frames_per_s']:.1f}" if values["frames"] else "",
        f"{memory['first_quarter']:.0f}, {memory['last_quarter']:.0f}" if values["frames"] else "",
        f"{values['hours_for_a_day']:.0f}" if values["frames"] else "",
    )


def _write_bags(folder: Path, bags: int, count: int) -> int:
    """Write bags of at most ``count`` frames of the clip; the number of frames of all."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    images = []
    for frame in Video(CLIP):
        images.append((frame.stamp_ns, simplejpeg.encode_jpeg(frame.rgb, quality=90)))
        if len(images) == count:
            break
    folder.mkdir()
    for number in range(bags):
        path = folder / f"bag{number:03}"
        with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            connection = writer.add_connection(_TOPIC, _KIND, typestore=message_store())
            for stamp_ns, data in images:
                stamp = _START_NS + number * 10**12 + stamp_ns
                message = stored_message(
                    _KIND,
                    header=header_at(stamp, "camera"),
                    format="jpeg",
                    data=np.frombuffer(data, np.uint8),
                )
                raw = message_store().serialize_cdr(message, _KIND)
                writer.write(connection, stamp, raw)
    return bags * len(images)


def _archive(bags: Path, out: Path, workers: int) -> dict[str, Any]:
    command = ["archive", str(bags), "--out", str(out), "--workers", str(workers)]
    command += ["--format", "npz"]
    return _timed([command])


def _perceive_plainly(
    bags: Sequence[Path], out: Path, processes: int, *options: str
) -> dict[str, Any]:
    """The same bags, one after the other in each process, as a shell script would do it."""
    commands = []
    for first in range(processes):
        parts = []
        for bag in bags[first::processes]:
            target = out / bag.name
            arguments = ["perceive", str(bag), "--out", str(target), *_ONE_THREAD, *options]
            parts.append(_thfm(arguments))
        commands.append(["sh", "-ec", "\n".join(shlex.join(part) for part in parts)])
    return _timed(commands, raw=True)


_ONE_THREAD = ("--set", "engine.threads=1")


def _thfm(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "thfm_ros.commands.main", *arguments]


def _timed(commands: Sequence[Sequence[str]], *, raw: bool = False) -> dict[str, Any]:
    """Seconds until all commands have ended, and the memory of the processes that worked."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start_s, start_cpu_s = time.monotonic(), _cpu_s()
    processes = [
        subprocess.Popen(
            command if raw else _thfm(command), env=environment, stderr=subprocess.PIPE, text=True
        )
        for command in commands
    ]
    memory = LargestProcess([process.pid for process in processes])
    for process in processes:
        _, errors = process.communicate()
        if process.returncode:
            memory.stop()
            raise PerceptionError(f"A command failed: {errors[-2000:]}")
    seconds = time.monotonic() - start_s
    return {
        "seconds": seconds,
        "cpu_seconds": _cpu_s() - start_cpu_s,
        "worker_mib": memory.stop(),
    }


def _cpu_s() -> float:
    """Processor time of all processes that were started and have ended, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
