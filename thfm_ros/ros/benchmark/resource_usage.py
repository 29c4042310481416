"""What processes cost: CPU time, memory, and what the rest of the machine did meanwhile."""

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
    raise PerceptionError("The benchmark counts with psutil: pip install psutil") from missing

RSS_EVERY_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Of a span of time. ``cores``: 1.0 is one core fully used."""

    seconds: float
    cores: dict[str, float]  # of each process by its name
    rss_mb: dict[str, float]  # at the end
    peak_rss_mb: dict[str, float]  # the most that was seen
    others_cores: float  # everything else on this machine: what spoils the figures
    stolen_cores: float  # the hypervisor's share; 0 on bare metal


class Meter:
    """Counts from `begin` to `end`; `look` in between keeps the peak of memory."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._peak = dict.fromkeys(pids, 0.0)
        self._looked = 0.0

    def begin(self) -> None:
        """Start counting."""
        self._began = time.perf_counter()
        self._cpu = {name: _cpu_s(process) for name, process in self._processes.items()}
        self._machine = _machine_s()
        self._looked = 0.0
        self.look()

    def look(self) -> None:
        """Note the memory, now and then."""
        now = time.perf_counter()
        if now - self._looked < RSS_EVERY_S:
            return
        self._looked = now
        for name, process in self._processes.items():
            self._peak[name] = max(self._peak[name], process.memory_info().rss / 1e6)

    def end(self) -> Usage:
        """What it was since `begin`."""
        seconds = time.perf_counter() - self._began
        cores = {
            name: (_cpu_s(process) - self._cpu[name]) / seconds
            for name, process in self._processes.items()
        }
        busy, stolen = (
            (after - before) / seconds
            for after, before in zip(_machine_s(), self._machine, strict=True)
        )
        rss = {name: p.memory_info().rss / 1e6 for name, p in self._processes.items()}
        return Usage(
            seconds=seconds,
            cores=cores,
            rss_mb=rss,
            peak_rss_mb={name: max(self._peak[name], rss[name]) for name in rss},
            others_cores=max(0.0, busy - sum(cores.values())),
            stolen_cores=stolen,
        )


def others_cores(seconds: float) -> float:
    """How many cores all other processes use, and the hypervisor takes, for so long."""
    began, mine, before = time.perf_counter(), time.process_time(), sum(_machine_s())
    time.sleep(seconds)
    used = sum(_machine_s()) - before - (time.process_time() - mine)
    return max(0.0, used / (time.perf_counter() - began))


def _cpu_s(process: "psutil.Process") -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _machine_s() -> tuple[float, float]:
    """Seconds of all cores together that were busy, and that were stolen."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    stolen = getattr(times, "steal", 0.0)
    # Linux counts a guest's time in user as well.
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle - stolen - guests), float(stolen)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    about = {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    # Two machines of one name differed by two in the network's time: one had AVX-512.
    flags = about.get("flags", "").split()
    wide = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "")
    return {
        "processor": f"{about.get('model name', platform.processor())} {wide}".strip(),
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
