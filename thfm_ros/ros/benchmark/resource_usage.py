# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Resource usage of processes: CPU time, memory, and the load of the rest of the machine."""

import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from thfm_ros.contract import PerceptionError

try:
    import psutil
except ModuleNotFoundError as missing:
    raise PerceptionError("The benchmark needs psutil: pip install psutil") from missing

RSS_PERIOD_S = 0.5


@dataclass(frozen=True, kw_only=True)
class ResourceUsage:
    """Resource usage over a span of time. ``cores``: 1.0 is one core fully used."""

    seconds: float
    cores: dict[str, float]  # by name of the process
    rss_mb: dict[str, float]  # at the end
    peak_rss_mb: dict[str, float]  # largest sample
    background_cores: float  # all other processes of this machine: they disturb the measurement
    stolen_cores: float  # taken by the hypervisor; 0 on bare metal


class UsageMeter:
    """Measures from `start` to `stop`; `sample_memory` in between keeps the peak."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._peak = dict.fromkeys(pids, 0.0)
        self._sampled_s = 0.0

    def start(self) -> None:
        """Start measuring."""
        self._started_s = time.perf_counter()
        self._cpu_s = {name: _cpu_s(process) for name, process in self._processes.items()}
        self._machine_s = _machine_s()
        self._sampled_s = 0.0
        self.sample_memory()

    def sample_memory(self) -> None:
        """Update the peak memory, at most once per ``RSS_PERIOD_S``."""
        now_s = time.perf_counter()
        if now_s - self._sampled_s < RSS_PERIOD_S:
            return
        self._sampled_s = now_s
        for name, process in self._processes.items():
            self._peak[name] = max(self._peak[name], process.memory_info().rss / 1e6)

    def stop(self) -> ResourceUsage:
        """The usage since `start`."""
        seconds = time.perf_counter() - self._started_s
        cores = {
            name: (_cpu_s(process) - self._cpu_s[name]) / seconds
            for name, process in self._processes.items()
        }
        busy, stolen = (
            (after - before) / seconds
            for after, before in zip(_machine_s(), self._machine_s, strict=True)
        )
        rss = {name: p.memory_info().rss / 1e6 for name, p in self._processes.items()}
        return ResourceUsage(
            seconds=seconds,
            cores=cores,
            rss_mb=rss,
            peak_rss_mb={name: max(self._peak[name], rss[name]) for name in rss},
            background_cores=max(0.0, busy - sum(cores.values())),
            stolen_cores=stolen,
        )


def background_cores(seconds: float) -> float:
    """Sample for ``seconds`` how many cores other processes and the hypervisor use."""
    started_s, own_s, before_s = time.perf_counter(), time.process_time(), sum(_machine_s())
    time.sleep(seconds)
    used_s = sum(_machine_s()) - before_s - (time.process_time() - own_s)
    return max(0.0, used_s / (time.perf_counter() - started_s))


def _cpu_s(process: "psutil.Process") -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _machine_s() -> tuple[float, float]:
    """CPU seconds, summed over all cores, that were busy and that were stolen."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    stolen = getattr(times, "steal", 0.0)
    # Linux counts a guest's time in user as well.
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle - stolen - guests), float(stolen)


def machine_description() -> dict[str, Any]:
    """The machine and the software that were measured."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    fields = {
        name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    # The network took twice as long on one of two machines of the same name: without AVX-512.
    flags = fields.get("flags", "").split()
    simd = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "")
    return {
        "processor": f"{fields.get('model name', platform.processor())} {simd}".strip(),
        "cores": psutil.cpu_count(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": platform.python_version(),
        "rclpy": _version("ros-kilted-rclpy", "rclpy"),
        "thfm_ros": _version("thfm_ros"),
    }


def _version(*names: str) -> str:
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "unknown"
