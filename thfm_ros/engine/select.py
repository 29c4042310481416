"""Which engine it is going to be. Falls back to PyTorch, never silently."""

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
from thfm_ros.engine.checkpoint import Checkpoint, find_checkpoint

if TYPE_CHECKING:
    from thfm_ros.engine.torch_engine import TorchEngine

# An engine from the cache does without PyTorch and is ready in less than half the time: so
# everything that needs it is imported where it is needed.

log = logging.getLogger(__name__)

_GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvmap", "/dev/dxg")  # a PC, a Jetson, WSL


def load_engine(config: EngineConfig) -> Engine:
    """The engine that ``config`` asks for, or PyTorch, with the reason in its description.

    The first load of a checkpoint builds its engines, in seconds for ONNX and in minutes for
    TensorRT. They are kept in the cache; still, do this before there is work to do.

    Raises:
        EngineError: there is no such checkpoint, or no engine for its family.
        CheckpointError, CardError: the file cannot be read.
    """
    checkpoint = find_checkpoint(config.checkpoint)
    if checkpoint.card.family != "nano":
        raise EngineError(
            f"{checkpoint.path} is of the {checkpoint.card.family} family, which is not run step "
            "by step. Set engine.checkpoint to 'nano' or to a file made by `thfm train`."
        )
    kind = choose_kind(config.kind)
    cache = EngineCache(default_folder(config.cache_dir))
    try:
        if kind == "onnx":
            return _onnx(checkpoint, cache, config.threads)
        if kind == "tensorrt":
            return _tensorrt(checkpoint, cache)
    except Exception as error:
        return _instead(kind, error, checkpoint, config.threads)
    return _torch(checkpoint, config.threads)


def choose_kind(kind: str) -> str:
    """Resolve "auto": TensorRT on an NVIDIA GPU, or PyTorch where it is missing; ONNX on a CPU."""
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
    """Whether PyTorch can use an NVIDIA GPU; it is only asked where there may be one."""
    if not any(Path(device).exists() for device in _GPU_DEVICES):
        return False
    import torch

    return torch.cuda.is_available()


def need_a_gpu() -> None:
    """EngineError where TensorRT cannot run."""
    if not has_gpu():
        raise EngineError(
            "TensorRT needs an NVIDIA GPU, and PyTorch finds none. Set engine.kind to auto."
        )


def _onnx(checkpoint: Checkpoint, cache: EngineCache, threads: int) -> Engine:
    from thfm_ros.engine.onnx_engine import load_onnx_engine

    return load_onnx_engine(checkpoint, cache, threads, _judge(checkpoint, "cpu", threads))


def _tensorrt(checkpoint: Checkpoint, cache: EngineCache) -> Engine:
    need_a_gpu()
    from thfm_ros.engine.tensorrt_compiler import TorchTensorRt
    from thfm_ros.engine.tensorrt_engine import load_tensorrt_engine

    judge = _judge(checkpoint, "cuda", 1)
    return load_tensorrt_engine(checkpoint, cache, TorchTensorRt(cache.folder), judge)


def _torch(checkpoint: Checkpoint, threads: int) -> Engine:
    return _judge(checkpoint, "cuda" if has_gpu() else "cpu", threads)()


def _judge(checkpoint: Checkpoint, device: str, threads: int) -> "Callable[[], TorchEngine]":
    @functools.cache
    def load() -> "TorchEngine":
        from thfm_ros.engine.torch_engine import TorchEngine
        from thfm_ros.model.weights import load_network

        network, card = load_network(checkpoint.path)
        return TorchEngine(network, card, device=device, threads=threads)

    return load


def _instead(kind: str, error: Exception, checkpoint: Checkpoint, threads: int) -> Engine:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    known = isinstance(error, PerceptionError)  # else a programmer wants to see where it was
    log.warning(
        "The %s engine cannot be used, PyTorch runs the network instead: %s",
        kind,
        reason,
        exc_info=None if known else error,
    )
    engine = _torch(checkpoint, threads)
    engine.description += f" (instead of {kind}: {reason})"
    return engine
