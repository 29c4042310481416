# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Selection of the engine, with a logged fallback to PyTorch."""

import functools
import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from thfm_ros.config import EngineConfig
from thfm_ros.contract import PerceptionError
from thfm_ros.engine.base import Engine, EngineError
from thfm_ros.engine.cache import EngineCache, default_folder
from thfm_ros.engine.checkpoint import Checkpoint

if TYPE_CHECKING:
    from thfm_ros.engine.torch_engine import TorchEngine

# An engine from the cache does not need PyTorch and loads in less than half the time without it:
# so modules that need it are imported inside functions.

log = logging.getLogger(__name__)

_GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvmap", "/dev/dxg")  # a PC, a Jetson, WSL


def load_engine(checkpoint: Checkpoint, config: EngineConfig) -> Engine:
    """The engine that ``config`` requests, or PyTorch with a ``fallback_reason``; or fp32 with one
    in the place of int8.

    The first load of a checkpoint builds its engines, in seconds for ONNX and in minutes for
    TensorRT. They are cached; so load once before the robot needs the results.

    Raises:
        EngineError: the checkpoint is not of the nano family.
        CheckpointError, CardError: the file cannot be read.
    """
    if checkpoint.card.family != "nano":
        raise EngineError(
            f"{checkpoint.path} is of the {checkpoint.card.family} family, which is not run step "
            "by step. Set engine.checkpoint to 'nano' or to a file made by `thfm train`."
        )
    kind = choose_kind(config.kind)
    try:
        if kind == "onnx":
            return _onnx(checkpoint, _cache(config), config)
        if kind == "tensorrt":
            return _tensorrt(checkpoint, _cache(config))
    except Exception as error:
        return _fallback(kind, error, checkpoint, config.threads)
    return _torch(checkpoint, config.threads)


def choose_kind(kind: str) -> str:
    """Resolve "auto": ONNX on a CPU; TensorRT on an NVIDIA GPU, or PyTorch if not installed."""
    if kind != "auto":
        return kind
    if not has_gpu():
        return "onnx"
    if find_spec("torch_tensorrt") is None:
        log.info(
            "torch_tensorrt is not installed: PyTorch runs the network on the GPU. "
            "`pip install torch-tensorrt` for the version of your PyTorch makes it faster."
        )
        return "torch"
    return "tensorrt"


def has_gpu() -> bool:
    """Whether PyTorch can use an NVIDIA GPU. Imports PyTorch only if there is a GPU device."""
    if not any(Path(device).exists() for device in _GPU_DEVICES):
        return False
    import torch

    return torch.cuda.is_available()


def require_gpu() -> None:
    """Raise EngineError if there is no NVIDIA GPU for TensorRT."""
    if not has_gpu():
        raise EngineError(
            "TensorRT needs an NVIDIA GPU, and PyTorch finds none. Set engine.kind to auto."
        )


def _cache(config: EngineConfig) -> EngineCache:
    return EngineCache(default_folder(config.cache_dir))


def _onnx(checkpoint: Checkpoint, cache: EngineCache, config: EngineConfig) -> Engine:
    from thfm_ros.engine.onnx_engine import load_onnx_engine

    threads, precision = config.threads, config.precision
    load_reference = _torch_loader(checkpoint, "cpu", threads)
    if precision == "auto":
        from thfm_ros.engine.int8 import INT8, int8_precision

        precision = "int8" if int8_precision() == INT8 else "fp32"
    reason = None
    if precision == "int8":
        from thfm_ros.engine.int8_engine import load_int8_engine

        try:
            return load_int8_engine(checkpoint, cache, threads, load_reference)
        except Exception as error:
            reason = first_line(error)
            is_expected = isinstance(error, PerceptionError)  # otherwise log the traceback, too
            log.warning("int8 is not used: %s", reason, exc_info=None if is_expected else error)
    engine = load_onnx_engine(checkpoint, cache, threads, load_reference)
    if reason is not None and config.precision == "int8":
        engine.fallback_reason = reason
        engine.description += f" (fp32 instead of int8: {reason})"
    return engine


def _tensorrt(checkpoint: Checkpoint, cache: EngineCache) -> Engine:
    require_gpu()
    from thfm_ros.engine.tensorrt_compiler import TorchTensorRt
    from thfm_ros.engine.tensorrt_engine import load_tensorrt_engine

    load_reference = _torch_loader(checkpoint, "cuda", 1)
    return load_tensorrt_engine(checkpoint, cache, TorchTensorRt(cache.folder), load_reference)


def _torch(checkpoint: Checkpoint, threads: int) -> Engine:
    return _torch_loader(checkpoint, "cuda" if has_gpu() else "cpu", threads)()


def _torch_loader(checkpoint: Checkpoint, device: str, threads: int) -> "Callable[[], TorchEngine]":
    """A function that loads the PyTorch engine once, when it is first called."""

    @functools.cache
    def load() -> "TorchEngine":
        from thfm_ros.engine.torch_engine import TorchEngine
        from thfm_ros.model.weights import load_network

        network, card = load_network(checkpoint.path)
        return TorchEngine(network, card, device=device, threads=threads)

    return load


def _fallback(kind: str, error: Exception, checkpoint: Checkpoint, threads: int) -> Engine:
    """The PyTorch engine in the place of one that raised ``error``."""
    reason = first_line(error)
    is_expected = isinstance(error, PerceptionError)  # otherwise log the traceback, too
    log.warning(
        "The %s engine cannot be used, PyTorch runs the network instead: %s",
        kind,
        reason,
        exc_info=None if is_expected else error,
    )
    engine = _torch(checkpoint, threads)
    engine.fallback_reason = reason
    engine.description += f" (instead of {kind}: {reason})"
    return engine


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its type if it has none."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
