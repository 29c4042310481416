# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Versions and processor of this machine, for the keys of engines."""

import functools
import hashlib
import platform
from importlib import metadata
from pathlib import Path

_SOURCES = {
    "nano": (
        *(
            f"model/{name}.py"
            for name in (
                *("attention", "backbone", "codec", "detection", "efficientnet", "heads"),
                *("mixed_encoder", "network", "prompts", "target_cue"),
            )
        ),
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
_SOURCES["int8"] = (*_SOURCES["nano"], "engine/int8.py", "engine/int8_engine.py")
"""The source files that determine the graphs of a family."""


def versions(family: str, *packages: str) -> tuple[tuple[str, str], ...]:
    """Versions of packages, "none" if not installed, and a digest of our own sources, by name."""
    found = {name: _version(name) for name in packages}
    return tuple(sorted({**found, "thfm_ros sources": _digest_of_sources(family)}.items()))


def processor() -> str:
    """Name of the CPU: ONNX Runtime selects its kernels by it, so each CPU is verified."""
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
    # Not the version number: a change of the network's code must invalidate the cached graphs.
    package = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for name in _SOURCES[family]:
        digest.update((package / name).read_bytes())
    return digest.hexdigest()[:16]
