# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Outputs of nano on the GPU, compared with those of PyTorch in float32 on the CPU."""

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from thfm_ros.engine.base import Engine
from thfm_ros.engine.stream import OUTPUTS, raw_outputs
from thfm_ros.engine.torch_engine import TorchEngine
from thfm_ros.engine.verify import (
    TOLERANCES,
    fixed_clip,
    largest_error,
    named_arrays,
    relative_errors,
)
from thfm_ros.gpu_report.device import Device, Run
from thfm_ros.gpu_report.nano_step import Nano, first_inputs
from thfm_ros.model.outputs import RawOutputs

Images = UInt8[np.ndarray, "b h w 3"]

PRECISIONS = {
    # PyTorch's default on a GPU: convolutions round their inputs to 10 bits of mantissa, as half
    # precision does.
    "tf32": (torch.float32, TOLERANCES["float16"]),
    "float32": (torch.float32, TOLERANCES["float32"]),
    "float16": (torch.float16, TOLERANCES["float16"]),
}
"""Type of the tensors, and the limits of their errors (engine.verify)."""


class Stepper(Protocol):
    """Several streams, one image of each per step."""

    def step(self, images: Images, state: Any) -> tuple[RawOutputs, Any]:
        """Outputs of the first image, and the next state; None begins the streams. All outputs of
        all images are on the host when it returns."""


class BatchStepper:
    """A compiled step of all crops at once; images and outputs on the host, the state stays."""

    def __init__(self, run: Run, nano: Nano, device: Device, dtype: torch.dtype) -> None:
        self._run, self._nano, self._device, self._dtype = run, nano, device, dtype

    @torch.no_grad()
    def step(self, images: Images, state: Sequence[Tensor] | None) -> tuple[RawOutputs, Any]:
        """See Stepper."""
        if state is None:
            state = first_inputs(self._nano, len(images), self._device, self._dtype)[1:]
        pixels = torch.from_numpy(images).to(self._device.torch_device)
        results = self._run(pixels.permute(0, 3, 1, 2).to(self._dtype).contiguous(), *state)
        outputs = [each.float().cpu().numpy() for each in results[: len(OUTPUTS)]]
        first = [each[:1] if each.ndim == 1 else each[0] for each in outputs]
        return raw_outputs(first), results[len(OUTPUTS) :]


class EngineStepper:
    """An engine of the node, which takes one crop after another."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def step(self, images: Images, state: list[object] | None) -> tuple[RawOutputs, Any]:
        """See Stepper."""
        states = state or [None] * len(images)
        results = [
            self._engine.step(image, each, dense=True)
            for image, each in zip(images, states, strict=True)
        ]
        return results[0][0], [each for _, each in results]


def crops_of(image: UInt8[np.ndarray, "h w 3"], crops: int) -> Images:
    """The image, then the same image shifted by other amounts: mixed-up crops would differ."""
    return np.stack([np.roll(image, 5 * number, axis=1) for number in range(crops)])


class Reference:
    """Outputs of PyTorch on the CPU for the fixed clip, two frames longer than the window."""

    def __init__(self, nano: Nano) -> None:
        self.clip = fixed_clip(nano.card.crop_size, nano.card.window + 2)
        threads = torch.get_num_threads()
        engine = TorchEngine(copy.deepcopy(nano.network), nano.card, threads=threads)
        self._expected = []
        state: object | None = None
        for image in self.clip:
            outputs, state = engine.step(image, state, dense=True)
            self._expected.append(dict(named_arrays(outputs)))

    def compare(self, stepper: Stepper, crops: int, precision: str) -> dict[str, Any]:
        """Errors of the first crop, |a - b| / max(1, max |b|), as in engine.verify.

        Returns:
            ``errors``: largest and median of each output; ``largest``: what is compared with
            ``tolerance``, the largest but for the share that the precision's tolerance leaves
            out; ``agrees``.
        """
        tolerance = PRECISIONS[precision][1]
        errors: dict[str, list[Any]] = {}
        largest, state = 0.0, None
        for image, expected in zip(self.clip, self._expected, strict=True):
            outputs, state = stepper.step(crops_of(image, crops), state)
            for name, found in named_arrays(outputs):
                error = relative_errors(name, found, expected[name])
                errors.setdefault(name, []).append(error.ravel())
                largest = max(largest, largest_error(error, tolerance.quantile))
        joined = {name: np.concatenate(each) for name, each in errors.items()}
        return {
            "errors": {
                name: {"max": _rounded(each.max()), "median": _rounded(np.median(each))}
                for name, each in joined.items()
            },
            "largest": _rounded(largest),
            "tolerance": tolerance.largest,
            "share_compared": tolerance.quantile,
            "agrees": largest <= tolerance.largest,
        }


def _rounded(value: float) -> float:
    return float(f"{value:.2e}")
