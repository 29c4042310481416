# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The first step: is there a GPU, what is it, and how fast can it copy and multiply?"""

import functools
import os
import platform
import shutil
import subprocess
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from thfm_ros.engine.versions import processor
from thfm_ros.gpu_report.step_context import StepContext, reason_of

PACKAGES = (
    *("numpy", "triton", "torch_tensorrt", "tensorrt", "onnxruntime-gpu", "onnxruntime", "onnx"),
    *("diffusers", "safetensors", "opencv-python-headless", "opencv-python"),
)
NVIDIA_SMI = "driver_version,power.limit,clocks.max.sm,clocks.max.memory,pstate,temperature.gpu"


def run(context: StepContext) -> None:
    """Record the machine and the GPU, or why there is none."""
    if find_spec("torch") is None:
        context.record({"no_gpu": "No NVIDIA GPU can be measured: PyTorch is not installed."})
        return
    import torch

    if not context.stand_in and not torch.cuda.is_available():
        built = "" if torch.version.cuda else " (it is built without CUDA)"
        context.record({"no_gpu": f"PyTorch {torch.__version__} finds no NVIDIA GPU{built}."})
        return
    context.record({"gpu": _gpu(context.stand_in), "machine": _machine()})
    context.record({"ceilings": ceilings(stand_in=context.stand_in)})


def _machine() -> dict[str, Any]:
    """Nothing that names the machine or its user."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(pages / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "container": Path("/.dockerenv").exists(),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "onnxruntime_providers": _providers(),
    }


def _gpu(stand_in: bool) -> dict[str, Any]:
    import torch

    versions: dict[str, Any] = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if not stand_in else None,
    }
    if stand_in:
        return {"name": "stand-in (CPU)", **versions}
    properties = torch.cuda.get_device_properties(0)
    free, total = torch.cuda.mem_get_info()
    return {
        "name": properties.name,
        "architecture": f"SM {properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_gb": round(total / 1e9, 1),
        "free_gb": round(free / 1e9, 1),
        "gpus": torch.cuda.device_count(),
        **versions,
        "nvidia_smi": nvidia_smi(),
    }


def nvidia_smi() -> dict[str, str] | str:
    """Driver, power limit and clocks; or why they are not known, as on a Jetson."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "nvidia-smi is not installed"
    query = [program, f"--query-gpu={NVIDIA_SMI}", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return reason_of(error)
    values = (value.strip() for value in done.stdout.strip().split(","))
    return dict(zip(NVIDIA_SMI.split(","), values, strict=False))


def ceilings(*, stand_in: bool) -> dict[str, Any]:
    """What this GPU reaches: a copy within its memory, and a product of large matrices."""
    import numpy as np
    import torch

    from thfm_ros.gpu_report.device import durations_s, open_device

    device = open_device(stand_in=stand_in)
    side, size = (64, 1 << 16) if stand_in else (8192, min(1 << 31, device.memory_bytes // 8))
    where = device.torch_device
    found: dict[str, Any] = {}
    source = torch.empty(size, dtype=torch.uint8, device=where)
    target = torch.empty_like(source)
    copy_s = np.median(durations_s(lambda: target.copy_(source), device, most_s=0.3))
    found["copy_gb_s"] = float(f"{2 * size / copy_s / 1e9:.3g}")
    del source, target
    for name in ("bfloat16", "float32"):  # float32 without TF32, as PyTorch multiplies by default
        matrix = torch.randn(side, side, device=where, dtype=getattr(torch, name))
        multiply = functools.partial(torch.matmul, matrix, matrix)
        product_s = float(np.median(durations_s(multiply, device, most_s=0.5, warm_up=2)))
        found[f"{name}_tflop_s"] = float(f"{2 * side**3 / product_s / 1e12:.3g}")
    return found


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _providers() -> list[str]:
    if find_spec("onnxruntime") is None:
        return []
    import onnxruntime

    return list(onnxruntime.get_available_providers())
