# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Fakes of the compiler and of torch_tensorrt that need no GPU: they keep the graph unchanged."""

import contextlib
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class FakeCompiler:
    """Saves the graph instead of compiling it. Like CUDA graphs, a call overwrites its outputs."""

    def __init__(self, *, error: float = 0.0, gpu: str = "Fake GPU, SM 0.0") -> None:
        self.device = torch.device("cpu")
        self.builds = 0
        self.error = error
        self.name = gpu
        self.release = "11.0"

    def gpu(self) -> str:
        return self.name

    def libraries(self) -> tuple[tuple[str, str], ...]:
        return (("cuda", "13.0"), ("tensorrt", self.release))

    def build(self, graph: nn.Module, example: tuple[Tensor, ...], path: Path) -> None:
        self.builds += 1
        dtypes = {value.dtype for value in example if value.is_floating_point()}
        assert dtypes <= {next(graph.parameters()).dtype}
        torch.save(graph, path)

    def load(self, path: Path) -> Callable[..., Sequence[Tensor]]:
        module = torch.load(path, weights_only=False)
        outputs: list[Tensor] = []

        def run(*inputs: Tensor) -> Sequence[Tensor]:
            results = module(*inputs)
            results = [results] if isinstance(results, Tensor) else results
            results = [value + self.error for value in results]
            if not outputs:
                outputs.extend(value.clone() for value in results)
            for output, value in zip(outputs, results, strict=True):
                output.copy_(value)
            return outputs

        return run


class FakeTorchTensorRt(types.ModuleType):
    """The functions of torch_tensorrt that `TorchTensorRt` calls; the engine is the export."""

    def __init__(self, options: dict[str, Any]) -> None:
        """``options`` receives the options of the calls."""
        super().__init__("torch_tensorrt")

        def compile(
            exported_program: Any, *, arg_inputs: Any, require_full_compilation: bool, **_: Any
        ) -> Any:
            options["require_full_compilation"] = require_full_compilation
            return exported_program

        def save(module: Any, file_path: str, *, output_format: str, arg_inputs: Any) -> None:
            options["output_format"] = output_format
            torch.export.save(module, file_path)

        def set_cudagraphs_mode(mode: bool) -> None:
            options["cudagraphs"] = mode

        self.dynamo = types.SimpleNamespace(compile=compile)
        self.save, self.load = save, torch.export.load
        self.runtime = types.SimpleNamespace(
            set_cudagraphs_mode=set_cudagraphs_mode,
            enable_pre_allocated_outputs=lambda _: contextlib.nullcontext(),
        )
