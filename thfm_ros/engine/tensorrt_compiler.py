# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""torch_tensorrt behind a small interface, which tests replace.

It cannot be imported on a machine without an NVIDIA driver, so it is imported inside functions.
Its options differ between versions 2.8 (JetPack 6) and 2.14.
"""

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

Run = Callable[..., Sequence[Tensor]]


class Compiler(Protocol):
    """The operations that need a GPU and its libraries."""

    device: torch.device

    def gpu(self) -> str:
        """Name and architecture of the GPU: an engine runs on no other."""

    def libraries(self) -> tuple[tuple[str, str], ...]:
        """Versions of CUDA and TensorRT."""

    def build(self, graph: nn.Module, example: tuple[Tensor, ...], path: Path) -> None:
        """Compile ``graph`` and write it to ``path``."""

    def load(self, path: Path) -> Run:
        """Load a file that `build` wrote. The result may overwrite its outputs at every call."""


class TorchTensorRt:
    """torch_tensorrt 2.8 (JetPack 6) to 2.14, with the options that its functions support."""

    def __init__(self, folder: Path) -> None:
        """``folder``: of the timing cache, which makes later builds faster."""
        self.device = torch.device("cuda")
        self._folder = folder

    def gpu(self) -> str:
        """See Compiler."""
        major, minor = torch.cuda.get_device_capability()
        return f"{torch.cuda.get_device_name()}, SM {major}.{minor}"

    def libraries(self) -> tuple[tuple[str, str], ...]:
        """See Compiler. On a Jetson TensorRT is part of JetPack, not a Python package."""
        import tensorrt

        return (("cuda", str(torch.version.cuda)), ("tensorrt", str(tensorrt.__version__)))

    def build(self, graph: nn.Module, example: tuple[Tensor, ...], path: Path) -> None:
        """See Compiler; takes minutes."""
        import torch_tensorrt

        with torch.no_grad():
            program = torch.export.export(graph, example, strict=False)
        compile_program = torch_tensorrt.dynamo.compile
        options = supported_options(compile_program, build_options(self._folder))
        compiled = compile_program(program, arg_inputs=example, **options)
        torch_tensorrt.save(
            compiled, str(path), output_format="exported_program", arg_inputs=example
        )

    def load(self, path: Path) -> Run:
        """See Compiler. A CUDA graph launches the hundreds of small kernels of a step at once."""
        import torch_tensorrt

        loaded = torch_tensorrt.load(str(path))
        module = loaded.module() if hasattr(loaded, "module") else loaded
        runtime = torch_tensorrt.runtime
        runtime.set_cudagraphs_mode(True)
        if hasattr(runtime, "enable_pre_allocated_outputs"):
            runtime.enable_pre_allocated_outputs(module).__enter__()
        return module  # type: ignore[no-any-return]


def build_options(folder: Path) -> dict[str, Any]:
    """Options of torch_tensorrt's compiler. The precision is that of the graph's weights."""
    return {
        "use_explicit_typing": True,  # removed in 2.13, where it is always on
        "min_block_size": 1,
        "require_full_compilation": True,
        "use_fp32_acc": True,
        "optimization_level": 3,
        "truncate_double": True,
        "immutable_weights": True,
        "offload_module_to_cpu": False,  # the reference engine needs it on the GPU
        "timing_cache_path": str(folder / "timing.bin"),
    }


def supported_options(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are parameters of ``function``: depending on the release, unknown ones are
    ignored as ``**kwargs`` or raise an error."""
    names = inspect.signature(function).parameters
    dropped = [name for name in options if name not in names]
    if dropped:
        log.debug("%s does not support %s", function.__qualname__, ", ".join(dropped))
    return {name: value for name, value in options.items() if name in names}
