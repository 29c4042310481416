"""Stand-ins for torch_tensorrt that need no GPU: they keep the graph as it is."""

import contextlib
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class FakeCompiler:
    """Builds nothing, but behaves: slow to build, and with CUDA graphs' habit of overwriting."""

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
        assert next(graph.parameters()).dtype == example[-1].dtype
        torch.save(graph, path)

    def load(self, path: Path) -> Callable[..., Sequence[Tensor]]:
        module = torch.load(path, weights_only=False)
        outputs: list[Tensor] = []

        def run(*inputs: Tensor) -> Sequence[Tensor]:
            said = module(*inputs)
            said = [value + self.error for value in ([said] if isinstance(said, Tensor) else said)]
            if not outputs:
                outputs.extend(value.clone() for value in said)
            for place, value in zip(outputs, said, strict=True):
                place.copy_(value)
            return outputs

        return run


class PretendedTorchTensorRt(types.ModuleType):
    """What `TorchTensorRt` calls, with the exported graph in the place of an engine."""

    def __init__(self, asked: dict[str, Any]) -> None:
        super().__init__("torch_tensorrt")

        def compile(
            exported_program: Any, *, arg_inputs: Any, require_full_compilation: bool, **_: Any
        ) -> Any:
            asked["require_full_compilation"] = require_full_compilation
            return exported_program

        def save(module: Any, file_path: str, *, output_format: str, arg_inputs: Any) -> None:
            asked["output_format"] = output_format
            torch.export.save(module, file_path)

        def set_cudagraphs_mode(mode: bool) -> None:
            asked["cudagraphs"] = mode

        self.dynamo = types.SimpleNamespace(compile=compile)
        self.save, self.load = save, torch.export.load
        self.runtime = types.SimpleNamespace(
            set_cudagraphs_mode=set_cudagraphs_mode,
            enable_pre_allocated_outputs=lambda _: contextlib.nullcontext(),
        )
