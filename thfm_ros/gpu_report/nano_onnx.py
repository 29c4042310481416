# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""nano on the GPU by ONNX Runtime, with its CUDA or its TensorRT provider."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thfm_ros.engine.export import OPSET
from thfm_ros.gpu_report.device import Device
from thfm_ros.gpu_report.nano_runtimes import NanoBench, Variant
from thfm_ros.gpu_report.nano_step import first_inputs
from thfm_ros.gpu_report.numerics import PRECISIONS
from thfm_ros.gpu_report.step_context import NotAvailableError, StepContext

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
ORDER = {CUDA: ("tf32", "float16"), TENSORRT: ("float16", "tf32")}
"""Precisions of each provider, the more useful one first."""

STAND_IN = "CPUExecutionProvider"


def cuda(context: StepContext) -> None:
    """The CUDA provider; in float32 it rounds products to TF32 by default."""
    _measure(context, "ONNX Runtime, CUDA", CUDA, {})


def tensorrt(context: StepContext) -> None:
    """The TensorRT provider, which builds an engine at the session's first run."""
    options = {"trt_fp16_enable": "0", "trt_engine_cache_enable": "0"}
    _measure(context, "ONNX Runtime, TensorRT", TENSORRT, options)


def _measure(
    context: StepContext,
    runtime: str,
    provider: str,
    options: dict[str, str],
) -> None:
    import onnxruntime

    chosen = STAND_IN if context.stand_in else provider
    available = onnxruntime.get_available_providers()
    if chosen not in available:
        raise NotAvailableError(
            f"onnxruntime {onnxruntime.__version__} has no {provider}, only "
            f"{', '.join(available)}: pip install onnxruntime-gpu"
        )
    bench = NanoBench(context)
    if not context.stand_in and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA's libraries, from PyTorch's packages
    for precision in ORDER[provider]:
        for crops in bench.crops:
            bench.measure(
                Variant(runtime, precision, crops),
                lambda crops=crops, precision=precision: bench.stepper(  # type: ignore[misc]
                    OnnxStep(bench, crops, precision, [(chosen, options)]), precision
                ),
            )


class OnnxStep:
    """`nano_step.folded_step` in ONNX Runtime; inputs and outputs stay on the device."""

    def __init__(
        self, bench: NanoBench, crops: int, precision: str, providers: list[tuple[str, Any]]
    ) -> None:
        import onnxruntime

        dtype, self._device = PRECISIONS[precision][0], bench.device
        example = first_inputs(bench.nano, crops, bench.device, dtype)
        path = bench.onnx_path(crops, precision)
        step = bench.folded(crops, precision)
        if not path.exists():
            export_onnx(step, example, path)
        with torch.no_grad():
            self._empty = [torch.empty(x.shape).to(x) for x in step(*example)]  # contiguous
        session_options = onnxruntime.SessionOptions()
        session_options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), session_options, providers=[*providers]
        )
        self._session.disable_fallback()
        used = self._session.get_providers()
        if used[0] != providers[0][0]:
            raise RuntimeError(f"{providers[0][0]} does not load; ONNX Runtime uses {used[0]}")

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Run on tensors of the device."""
        outputs = [torch.empty_like(each) for each in self._empty]
        binding = self._session.io_binding()
        for value, tensor in zip(self._session.get_inputs(), inputs, strict=True):
            binding.bind_input(value.name, *_place(tensor, self._device))
        for value, tensor in zip(self._session.get_outputs(), outputs, strict=True):
            binding.bind_output(value.name, *_place(tensor, self._device))
        self._device.synchronize()  # ONNX Runtime computes in a stream of its own
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return outputs


def _place(tensor: Tensor, device: Device) -> tuple[Any, ...]:
    """Device, its number, type, shape and address, as ONNX Runtime wants them."""
    assert tensor.is_contiguous()
    dtype = np.dtype(str(tensor.dtype).removeprefix("torch."))
    place = device.torch_device
    return place.type, place.index or 0, dtype, tuple(tensor.shape), tensor.data_ptr()


def export_onnx(step: torch.nn.Module, example: tuple[Tensor, ...], path: Path) -> None:
    """Write a folded step, by tracing where PyTorch still can; see engine.export."""
    part = path.with_suffix(".part")
    try:
        _export(step, example, part, dynamo=False)
    except Exception:
        _export(step, example, part, dynamo=True)
    part.replace(path)


def _export(
    step: torch.nn.Module, example: tuple[Tensor, ...], path: Path, *, dynamo: bool
) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            step,
            example,
            str(path),
            dynamo=dynamo,
            external_data=False,
            opset_version=OPSET,
            verbose=False,
        )
