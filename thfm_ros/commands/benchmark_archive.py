# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm benchmark archive`: frames per second of `thfm archive`, beside plain `thfm perceive`.

Bags are made from the shipped clip. In one run are measured: one worker, several workers, and the
same number of plain `thfm perceive` processes side by side, each on a share of the same bags. Many
short bags then show whether the memory of workers grows. All networks use one thread. The machine
should be idle.
"""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import simplejpeg

import thfm_ros
from thfm_ros.contract import PerceptionError
from thfm_ros.evaluation.markdown_report import group_table
from thfm_ros.media.video import Video
from thfm_ros.offline.results.message_store import message_store, stored_message
from thfm_ros.offline.results.messages import header_at

CLIP = Path(thfm_ros.__file__).resolve().parent / "clips" / "street.mp4"
_TOPIC, _KIND = "/camera/image_raw/compressed", "sensor_msgs/msg/CompressedImage"
_START_NS = 1_700_000_000_000_000_000
_SAMPLE_S = 0.5
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
    parser.add_argument("--out", type=Path, required=True, metavar="JSON", help="the figures")


def run(args: argparse.Namespace) -> int:
    """Measure, write the figures, and print them as a table; 0.

    Raises:
        PerceptionError: a command failed, or the numbers of bags and workers do not fit.
    """
    if not 2 <= args.workers <= args.bags or args.frames < 1 or args.short_bags < 0:
        raise PerceptionError(
            f"--workers {args.workers} --bags {args.bags} --frames {args.frames} --short-bags "
            f"{args.short_bags}: give at least 2 workers (one is measured anyway), as many bags, "
            "a frame per bag, and no negative number."
        )
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        measured = _measured(Path(name), args)
    for values in measured.values():
        rate = values["frames"] / values["seconds"]
        values.update(frames_per_s=rate, hours_for_a_day=_DAY_FRAMES / rate / 3600)
    one, many, plain = (values["frames_per_s"] for values in list(measured.values())[:3])
    _, many_cpu, plain_cpu = (values["cpu_seconds"] for values in list(measured.values())[:3])
    report = {
        "cpus": os.cpu_count(),
        "load_before": load,
        "bags": args.bags,
        "frames": measured["1 worker"]["frames"],
        "measured": measured,
        "speed_up": many / one,
        "overhead": 1 - many / plain,
        "cpu_overhead": many_cpu / plain_cpu - 1,
    }
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table_of(report))
    return 0


def _measured(folder: Path, args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """One worker, several, plain processes; then several on many short bags."""
    many, plain = f"{args.workers} workers", f"{args.workers} processes of thfm perceive"
    long, short = folder / "bags", folder / "short"
    frames = _write_bags(long, args.bags, args.frames)
    bags = sorted(long.iterdir())
    _perceive_plainly(bags[:1], folder / "warm", 1)  # builds and caches the engine
    measured = {
        "1 worker": _archive(long, folder / "out 1", 1),
        many: _archive(long, folder / "out many", args.workers),
        plain: _perceive_plainly(bags, folder / "out plain", args.workers),
    }
    for values in measured.values():
        values["frames"] = frames
    if args.short_bags:
        frames = _write_bags(short, args.short_bags, _SHORT_FRAMES)
        values = _archive(short, folder / "out short", args.workers)
        name = f"{many}, {args.short_bags} bags of {_SHORT_FRAMES} frames"
        measured[name] = {**values, "frames": frames}
    return measured


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
    rows = [
        (
            name,
            f"{values['seconds']:.1f}",
            f"{values['cpu_seconds']:.1f}",
            f"{values['frames_per_s']:.1f}",
            f"{values['worker_mib']['first_quarter']:.0f}, "
            f"{values['worker_mib']['last_quarter']:.0f}",
            f"{values['hours_for_a_day']:.0f}",
        )
        for name, values in report["measured"].items()
    ]
    lines = [
        f"{report['bags']} bags, {report['frames']} frames of the shipped clip, {report['cpus']} "
        f"CPUs. Start of all processes included. Load before: {report['load_before']:.1f}"
        + (": **the machine was not idle**." if report["load_before"] > _IDLE_LOAD else "."),
        "",
        group_table(columns, rows),
        "",
        f"All workers have {report['speed_up']:.2f} times the frames/s of one. The archive's own "
        f"overhead, beside the same number of plain processes: {report['overhead']:.1%} of "
        f"the frames/s, {report['cpu_overhead']:.1%} of the processor time. Those processes start "
        "anew for each bag: only with as many bags as workers do both start equally often.",
    ]
    return "\n".join(lines)


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


def _perceive_plainly(bags: Sequence[Path], out: Path, processes: int) -> dict[str, Any]:
    """The same bags, one after the other in each process, as a shell script would do it."""
    commands = []
    for first in range(processes):
        parts = []
        for bag in bags[first::processes]:
            target = out / bag.name
            parts.append(_thfm(["perceive", str(bag), "--out", str(target), *_ONE_THREAD]))
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
    memory = _Memory([process.pid for process in processes])
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


class _Memory:
    """Samples the largest resident set of the processes below some others, MiB."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids, self._samples = pids, list[float]()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, float]:
        """The largest value in the first and in the last quarter of the time."""
        self._ending.set()
        self._thread.join()
        quarter = max(1, len(self._samples) // 4)
        first, last = self._samples[:quarter] or [0.0], self._samples[-quarter:] or [0.0]
        return {"first_quarter": max(first), "last_quarter": max(last)}

    def _run(self) -> None:
        while not self._ending.wait(_SAMPLE_S):
            sizes = [0.0]
            for pid in self._pids:
                try:
                    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
                    sizes += [each.memory_info().rss / 2**20 for each in tree]
                except psutil.Error:
                    continue
            self._samples.append(max(sizes))
