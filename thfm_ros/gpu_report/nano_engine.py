# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The engines that the node would use on this GPU, and the life of one in the cache."""

import functools
import shutil
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from thfm_ros.engine.cache import EngineCache
from thfm_ros.engine.graph_engine import GraphEngine
from thfm_ros.engine.tensorrt_compiler import Compiler, Run, TorchTensorRt
from thfm_ros.engine.tensorrt_engine import PRECISIONS as TRIED
from thfm_ros.engine.tensorrt_engine import TensorRtBuild, tensorrt_engine
from thfm_ros.engine.torch_engine import TorchEngine
from thfm_ros.gpu_report.nano_runtimes import NanoBench, Variant
from thfm_ros.gpu_report.numerics import EngineStepper
from thfm_ros.gpu_report.step_context import StepContext, reason_of

RUNTIME = "torch-tensorrt, the node's engine, crops one after another"


class ExportCompiler:
    """Saves a graph as PyTorch exports it: exercises the cache where TensorRT is missing."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def gpu(self) -> str:
        """See Compiler."""
        return TorchTensorRt(Path()).gpu() if self.device.type == "cuda" else "stand-in"

    def libraries(self) -> tuple[tuple[str, str], ...]:
        """See Compiler."""
        return (("cuda", str(torch.version.cuda)), ("tensorrt", "none: torch.export"))

    def build(self, graph: nn.Module, example: tuple[Tensor, ...], path: Path) -> None:
        """See Compiler."""
        with torch.no_grad():
            torch.export.save(torch.export.export(graph, example, strict=False), path)

    def load(self, path: Path) -> Run:
        """See Compiler."""
        return torch.export.load(path).module()


class OtherGpu:
    """A compiler that claims to be on another GPU."""

    def __init__(self, compiler: Compiler) -> None:
        self.device, self.build, self.load = compiler.device, compiler.build, compiler.load
        self.libraries = compiler.libraries

    def gpu(self) -> str:
        """See Compiler."""
        return "another GPU, SM 0.0"


def tensorrt(context: StepContext) -> None:
    """Build the node's TensorRT engine for crops with all outputs, and measure it.

    Precisions are tried in the order of engine.tensorrt_engine; one that is not within its
    tolerance is recorded with the reason.
    """
    bench = NanoBench(context)
    compiler = _compiler(bench)
    for precision in TRIED:
        engines: list[GraphEngine] = []
        variant = Variant(RUNTIME, precision, 1)

        def build(
            precision: str = precision, engines: list[GraphEngine] = engines
        ) -> EngineStepper:
            cache, builder = _cache(context), _builder(bench, compiler, precision)
            engines.append(
                tensorrt_engine(bench.nano.card, RUNTIME, _runs(builder, cache), builder)
            )
            return EngineStepper(engines[0])

        bench.measure(variant, build)
        if engines:
            for crops in bench.crops[1:]:
                again = variant._replace(crops=crops)
                bench.measure(again, functools.partial(EngineStepper, engines[0]))
            return


def cache_life(context: StepContext) -> None:
    """Build an engine or find it in the cache, load it, and offer it under another GPU's key.

    Records:
        ``step`` "build", "load", "run" and "foreign GPU", with seconds, or what was refused.
    """
    bench = NanoBench(context)
    compiler, cache = _compiler(bench), _cache(context)
    precision = _precision_in(cache, bench, compiler)
    builder = _builder(bench, compiler, precision)
    key = builder.key()
    how = dict(compiler.libraries())["tensorrt"]
    was_there = cache.problem(key) is None
    begin = time.perf_counter()
    path = cache.get(key, builder.build)
    (manifest,) = [entry for entry in cache.entries() if entry.key == key]
    context.record(
        {
            **{"step": "build", "with": how, "precision": precision, "was_there": was_there},
            **{"build_s": manifest.build_s, "seconds": _since(begin), **manifest.notes},
            "megabytes": round(manifest.bytes / 1e6, 1),
        }
    )
    begin = time.perf_counter()
    runs = _runs(builder, cache)
    context.record({"step": "load", "seconds": _since(begin)})
    begin = time.perf_counter()
    tensorrt_engine(bench.nano.card, RUNTIME, runs, builder)
    context.record({"step": "run", "seconds": _since(begin)})
    context.record({"step": "foreign GPU", **_offer_foreign(cache, path, bench, compiler)})


def _offer_foreign(
    cache: EngineCache, path: Path, bench: NanoBench, compiler: Compiler
) -> dict[str, object]:
    """Whether the cache gives this GPU's engine to another one, also if its files are renamed."""
    precision = _precision_in(cache, bench, compiler)
    foreign = _builder(bench, OtherGpu(compiler), precision).key()
    unknown = cache.problem(foreign)
    manifest = path.with_suffix(".json")
    shutil.copy(path, cache.path(foreign))
    shutil.copy(manifest, cache.path(foreign).with_suffix(".json"))
    renamed = cache.problem(foreign)
    refused = unknown is not None and renamed is not None
    found = {"agrees": refused, "as_it_is": unknown or "accepted", "renamed": renamed or "accepted"}
    return dict(found)


def _precision_in(cache: EngineCache, bench: NanoBench, compiler: Compiler) -> str:
    """The precision that an earlier step built; the last one that is tried if there is none."""
    for precision in TRIED:
        if cache.problem(_builder(bench, compiler, precision).key()) is None:
            return precision
    return TRIED[-1]


def _compiler(bench: NanoBench) -> Compiler:
    if bench.context.stand_in or find_spec("torch_tensorrt") is None:
        return ExportCompiler(bench.device.torch_device)
    compiler = TorchTensorRt(_cache(bench.context).folder)
    try:
        compiler.libraries()
    except ImportError as error:
        bench.context.record({"step": "TensorRT", "failed": reason_of(error)})
        return ExportCompiler(bench.device.torch_device)
    return compiler


def _cache(context: StepContext) -> EngineCache:
    folder = context.work / "engines"
    folder.mkdir(exist_ok=True)
    return EngineCache(folder, lock_timeout_s=5.0)


def _builder(bench: NanoBench, compiler: Compiler, precision: str) -> TensorRtBuild:
    card, reference = bench.nano.card, _reference_of(bench)
    return TensorRtBuild(card, "of this report", "dense", precision, compiler, reference)


def _runs(builder: TensorRtBuild, cache: EngineCache) -> dict[str, Run]:
    return {builder.part: builder.load(cache)}


def _reference_of(bench: NanoBench) -> Callable[[], TorchEngine]:
    def load() -> TorchEngine:
        where = str(bench.device.torch_device)
        network = bench.nano.network
        return TorchEngine(network, bench.nano.card, device=where, threads=torch.get_num_threads())

    return load


def _since(begin: float) -> float:
    return round(time.perf_counter() - begin, 2)
