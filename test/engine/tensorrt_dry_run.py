# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Which operators of the networks' graphs torch_tensorrt can convert, found out without a GPU.

test_tensorrt_coverage.py runs it in a process of its own, since it replaces modules: it simulates
a GPU and a TensorRT installation. The library's own lowering, converters and partitioner then
report what they would do. That is coverage only: nothing is built, and neither results nor speed
are measured.
"""

import contextlib
import io
import logging
import os
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch


class _AnyAttribute(type):
    """A class with every attribute, each again such a class."""

    def __getattr__(cls, name: str) -> "_AnyAttribute":
        if name.startswith("__"):
            raise AttributeError(name)
        made = any_class(f"{cls.__name__}.{name}")
        setattr(cls, name, made)
        return made

    def __or__(cls, other: Any) -> "_AnyAttribute":
        return cls

    def __ror__(cls, other: Any) -> "_AnyAttribute":
        return cls

    def __iter__(cls) -> Iterator[Any]:
        return iter(())

    def __int__(cls) -> int:
        return 0

    def __index__(cls) -> int:
        return 0

    def __eq__(cls, other: object) -> bool:
        return cls is other

    def __hash__(cls) -> int:
        return hash(cls.__name__)


def any_class(name: str) -> _AnyAttribute:
    def __init__(self: Any, *_: Any, **__: Any) -> None:
        pass

    return _AnyAttribute(name, (), {"__init__": __init__})


class FakeTensorRt(types.ModuleType):
    """A module `tensorrt` with a version and any other attribute."""

    __version__ = "11.0.0.114"
    __path__: list[str] = []  # noqa: RUF012 (modules have it so)
    __file__ = "nowhere"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "tensorrt_rtx":
            raise AttributeError(name)
        if name == "tensorrt":  # the real package has its classes there
            return self
        made = any_class(name)
        setattr(self, name, made)
        return made


def import_torch_tensorrt() -> Any:
    """Import torch_tensorrt with a simulated GPU and without its shared libraries."""
    sys.modules["tensorrt"] = FakeTensorRt("tensorrt")
    cuda: Any = torch.cuda
    cuda.get_device_capability = lambda *_, **__: (9, 0)
    cuda.current_device = lambda: 0
    cuda.get_device_name = lambda *_, **__: "none"
    library: Any = torch._C
    if not hasattr(library, "_CudaDeviceProperties"):
        library._CudaDeviceProperties = type("_CudaDeviceProperties", (), {})
    is_file = os.path.isfile
    with mock.patch("os.path.isfile", lambda p: "libtorchtrt" not in str(p) and is_file(p)):
        import torch_tensorrt
    for name, module in list(sys.modules.items()):
        if name.startswith("torch_tensorrt") and hasattr(module, "to_torch_device"):
            vars(module)["to_torch_device"] = lambda _=None: torch.device("cpu")
    return torch_tensorrt


def coverage(torch_tensorrt: Any, graph: torch.nn.Module, example: tuple[Any, ...]) -> str:
    """Numbers of operators, of convertible ones among them, and of engines, as one text."""
    with torch.no_grad():
        program = torch.export.export(graph, example, strict=False)
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    logging.getLogger().addHandler(handler)
    with contextlib.redirect_stdout(output):
        torch_tensorrt.dynamo.compile(
            program,
            arg_inputs=[torch_tensorrt.Input(shape=x.shape, dtype=x.dtype) for x in example],
            dryrun=True,
            min_block_size=1,
            offload_module_to_cpu=True,
            truncate_double=True,
        )
    logging.getLogger().removeHandler(handler)
    text = output.getvalue()
    counts = re.search(r"of (\d+) Total Operators, of which (\d+) operators are supported", text)
    assert counts, text
    return f"{counts[1]} {counts[2]} {len(re.findall(r'TRT Engine #', text))}"


def step_graphs(checkpoint: Path) -> Iterator[tuple[str, torch.nn.Module, tuple[Any, ...]]]:
    """Name, graph and example inputs of each graph of a nano checkpoint, in both precisions."""
    from thfm_ros.engine.export import example_frame, example_inputs
    from thfm_ros.engine.graph_engine import PARTS, image_size
    from thfm_ros.engine.step_graph import DetectionGraph, StepGraph
    from thfm_ros.model.weights import load_network

    network, card = load_network(checkpoint)
    for part in PARTS:
        width, height = image_size(card, part)
        for dtype in (torch.float16, torch.float32):
            graph: torch.nn.Module
            example: tuple[Any, ...]
            if part == "detect":
                graph, example = DetectionGraph(network, card.frame_size), example_frame(card)
            else:
                graph = StepGraph(network, card.crop_size, part == "dense")
                example = example_inputs(card)
            inputs = tuple(x.to(dtype) if x.is_floating_point() else x for x in example)
            name = f"{width}x{height} {part} {str(dtype).removeprefix('torch.')}"
            yield name, graph.to(dtype), inputs


def full_size_graphs(checkpoint: Path) -> Iterator[tuple[str, torch.nn.Module, tuple[Any, ...]]]:
    """The same for the parts of a full-size checkpoint."""
    from thfm_ros.genception.checkpoint import load_checkpoint
    from thfm_ros.genception.subgraphs import Profile
    from thfm_ros.genception.tensorrt_engine import ENGINES_OF_SUBGRAPH
    from thfm_ros.genception.torch_reference import PRECISION, TorchReference

    loaded = load_checkpoint(checkpoint, dtype=PRECISION)
    profile = Profile(loaded.card.window, *loaded.card.frame_size)
    reference = TorchReference(lambda: loaded, profile)
    for name in (name for names in ENGINES_OF_SUBGRAPH.values() for name in names):
        precision = str(PRECISION).removeprefix("torch.")
        yield f"{profile.name} {name} {precision}", reference.module(name), reference.inputs[name]


def main(checkpoint: Path) -> None:
    """Print one line per graph: size, name, precision, operators, convertible ones, engines."""
    torch_tensorrt = import_torch_tensorrt()
    from thfm_ros.model.weights import read_card

    nano = read_card(checkpoint).family == "nano"
    for name, graph, example in (step_graphs if nano else full_size_graphs)(checkpoint):
        print(name, coverage(torch_tensorrt, graph, example), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
