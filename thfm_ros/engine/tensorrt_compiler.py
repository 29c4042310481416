"""torch_tensorrt, behind the few functions that the rest needs, so that tests can do without.

It cannot be imported on a machine without an NVIDIA driver, hence only inside functions. Its
options have come and gone between 2.8, which JetPack 6 has, and 2.14.
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
    """What needs a GPU and its libraries."""

    device: torch.device

    def gpu(self) -> str:
        """Name and architecture: an engine runs on no other."""

    def libraries(self) -> tuple[tuple[str, str], ...]:
        """Versions of what is behind torch_tensorrt: CUDA and TensorRT."""

    def build(self, graph: nn.Module, example: tuple[Tensor, ...], path: Path) -> None:
        """Compile and write to ``path``."""

    def load(self, path: Path) -> Run:
        """Make what `build` wrote ready to run. It may overwrite its outputs at every call."""


class TorchTensorRt:
    """torch_tensorrt 2.8 (JetPack 6) to 2.14, by what its functions accept."""

    def __init__(self, folder: Path) -> None:
        """``folder``: for the timing cache, which makes the second build faster."""
        self.device = torch.device("cuda")
        self._folder = folder

    def gpu(self) -> str:
        """See Compiler."""
        major, minor = torch.cuda.get_device_capability()
        return f"{torch.cuda.get_device_name()}, SM {major}.{minor}"

    def libraries(self) -> tuple[tuple[str, str], ...]:
        """See Compiler. On a Jetson TensorRT comes from JetPack, not as a package."""
        import tensorrt

        return (("cuda", str(torch.version.cuda)), ("tensorrt", str(tensorrt.__version__)))

    def build(self, graph: nn.Module, example: tuple[Tensor, ...], path: Path) -> None:
        """See Compiler; minutes."""
        import torch_tensorrt

        with torch.no_grad():
            program = torch.export.export(graph, example, strict=False)
        compile_program = torch_tensorrt.dynamo.compile
        wanted = build_options(self._folder)
        compiled = compile_program(program, arg_inputs=example, **accepted(compile_program, wanted))
        torch_tensorrt.save(
            compiled, str(path), output_format="exported_program", arg_inputs=example
        )

    def load(self, path: Path) -> Run:
        """See Compiler. CUDA graphs: a step is hundreds of small kernels, launched as one."""
        import torch_tensorrt

        loaded = torch_tensorrt.load(str(path))
        module = loaded.module() if hasattr(loaded, "module") else loaded
        runtime = torch_tensorrt.runtime
        runtime.set_cudagraphs_mode(True)
        if hasattr(runtime, "enable_pre_allocated_outputs"):
            runtime.enable_pre_allocated_outputs(module).__enter__()
        return module  # type: ignore[no-any-return]


def build_options(folder: Path) -> dict[str, Any]:
    """How torch_tensorrt is asked to compile. The precision is that of the graph's weights."""
    return {
        "use_explicit_typing": True,  # gone since 2.13, where it is the only way
        "min_block_size": 1,
        "require_full_compilation": True,
        "use_fp32_acc": True,
        "optimization_level": 3,
        "truncate_double": True,
        "immutable_weights": True,
        "offload_module_to_cpu": False,  # the judge needs it where it is
        "timing_cache_path": str(folder / "timing.bin"),
    }


def accepted(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Those options that ``function`` has by name: unknown ones would vanish in its ``**kwargs``,
    or be an error, depending on the release."""
    names = inspect.signature(function).parameters
    dropped = [name for name in options if name not in names]
    if dropped:
        log.debug("%s does not know %s", function.__qualname__, ", ".join(dropped))
    return {name: value for name, value in options.items() if name in names}
