"""What an engine's key says about this machine: the versions and the processor."""

import functools
import hashlib
import platform
from importlib import metadata
from pathlib import Path

_SOURCES = {
    "nano": (
        *(f"model/{name}.py" for name in ("attention", "backbone", "codec", "heads", "network")),
        *(f"engine/{name}.py" for name in ("export", "step_graph", "stream")),
    ),
    "genception": (
        *(
            f"genception/{name}.py"
            for name in ("attention", "rope", "subgraphs", "tiny_vae", "transformer", "vae_steps")
        ),
        "genception/wan_vae.py",
    ),
}
"""What the graphs of a family are made by."""


def versions(family: str, *packages: str) -> tuple[tuple[str, str], ...]:
    """Of these packages and of our own sources, sorted by name; "none" if not installed."""
    found = {name: _version(name) for name in packages}
    return tuple(sorted({**found, "thfm_ros sources": _digest_of_sources(family)}.items()))


def processor() -> str:
    """Name of the CPU: ONNX Runtime chooses its kernels by it, so a check elsewhere is void."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "CPU part")):
                return f"{platform.machine()} {line.partition(':')[2].strip()}"
    except OSError:
        pass  # not Linux
    return f"{platform.machine()} {platform.processor()}".strip()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


@functools.cache
def _digest_of_sources(family: str) -> str:
    # Not the release's number: whoever works on the network must not meet yesterday's graph.
    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for name in _SOURCES[family]:
        digest.update((package / name).read_bytes())
    return digest.hexdigest()[:16]
