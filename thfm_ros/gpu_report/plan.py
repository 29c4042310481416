# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The steps of a report, in order of value, and how the time is shared among them."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

BUDGET_S = 300.0
"""Wall time of a whole report."""

FIRST_S = 90.0
"""What the first step may take at the others' expense: without it there is no report, and on a
fresh machine PyTorch's first import reads gigabytes from a slow disk."""

LEAST_S = 2.0
"""A step that would get less time is skipped."""

INSTALL = {
    "cv2": "opencv-python-headless",
    "diffusers": "diffusers",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime-gpu",
    "safetensors": "safetensors",
    "torch_tensorrt": "torch-tensorrt",
    "tqdm": "tqdm",
}
"""Module: what `pip install` calls it."""


@dataclass(frozen=True)
class Step:
    """One step, which runs in a process of its own.

    Attributes:
        name: in gpu.json and for ``--only``.
        title: heading of its section in gpu.md.
        target: "module:function"; the function takes a `step_context.StepContext`.
        limit_s: wall time after which its process is killed.
        needs: modules without which it is skipped.
    """

    name: str
    title: str
    target: str
    limit_s: float
    needs: tuple[str, ...] = ()


def _step(name: str, title: str, function: str, limit_s: float, *needs: str) -> Step:
    return Step(name, title, f"thfm_ros.gpu_report.{function}", limit_s, needs)


MACHINE = _step("machine", "Machine", "machine:run", 25)
STEPS: tuple[Step, ...] = (
    MACHINE,
    _step("eager", "nano: PyTorch", "nano_runtimes:eager", 25, "safetensors"),
    _step("cuda_graphs", "nano: CUDA graphs", "nano_runtimes:cuda_graphs", 25, "safetensors"),
    _step("compile", "nano: torch.compile", "nano_runtimes:compiled", 45, "safetensors"),
    _step(
        *("onnxruntime_cuda", "nano: ONNX Runtime, CUDA", "nano_onnx:cuda", 25),
        *("safetensors", "onnx", "onnxruntime"),
    ),
    _step(
        *("onnxruntime_tensorrt", "nano: ONNX Runtime, TensorRT", "nano_onnx:tensorrt", 30),
        *("safetensors", "onnx", "onnxruntime"),
    ),
    _step(
        *("torch_tensorrt", "nano: torch-tensorrt", "nano_engine:tensorrt", 40),
        *("safetensors", "torch_tensorrt"),
    ),
    _step("training", "Training of nano", "training_speed:run", 25, "safetensors", "cv2", "tqdm"),
    _step(
        "full_size",
        "The 1.3B shapes, random weights",
        "full_size:run",
        40,
        "safetensors",
        "diffusers",
    ),
    _step("engine_cache", "The engine cache", "nano_engine:cache_life", 20, "safetensors"),
)
"""In order of value; the limits together stay within the budget."""


def missing_packages(step: Step) -> str | None:
    """Why a step cannot run here; None if all that it needs is installed."""
    missing = [name for name in step.needs if find_spec(name) is None]
    if not missing:
        return None
    packages = " ".join(INSTALL.get(name, name) for name in missing)
    verb = "is" if len(missing) == 1 else "are"
    return f"{', '.join(missing)} {verb} not installed: pip install {packages}"


def time_limit(steps: Sequence[Step], number: int, left_s: float) -> float | None:
    """Seconds that step ``number`` may take; None if too little is left of the budget.

    Time that earlier steps did not use goes to the next step, but none is taken from later ones.
    """
    later_s = sum(step.limit_s for step in steps[number + 1 :])
    limit_s = min(max(steps[number].limit_s, left_s - later_s), left_s)
    return limit_s if limit_s >= min(LEAST_S, steps[number].limit_s) else None
