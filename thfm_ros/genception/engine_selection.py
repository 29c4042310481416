"""What runs a full-size checkpoint: TensorRT where it can, else PyTorch, never silently."""

import functools
import logging
from pathlib import Path

import torch

from thfm_ros.config import EngineConfig
from thfm_ros.contract import PerceptionError
from thfm_ros.engine.base import EngineError
from thfm_ros.engine.cache import EngineCache, default_folder
from thfm_ros.engine.checkpoint import Checkpoint, find_checkpoint
from thfm_ros.engine.select import choose_kind, has_gpu, need_a_gpu
from thfm_ros.genception.checkpoint import GenceptionCheckpoint, load_checkpoint
from thfm_ros.genception.runner import Network
from thfm_ros.genception.subgraphs import Profile

log = logging.getLogger(__name__)


def load_genception(config: EngineConfig) -> Network:
    """The network that ``config`` asks for, or PyTorch, with the reason in its description.

    PyTorch computes in bfloat16 on an NVIDIA GPU and in float32 on a CPU. The window and the
    images' size are those on the card (`thfm import --profile`). The first load on a GPU builds
    engines, which takes minutes.

    Raises:
        GenceptionError: no VAE in the file, or diffusers is not installed.
        EngineError, CheckpointError, CardError: there is no such file, or it is not whole.
    """
    checkpoint = find_checkpoint(config.checkpoint)
    # ONNX Runtime on a CPU is no choice: a pass takes minutes there, whatever runs it.
    kind = "torch" if config.kind == "auto" and not has_gpu() else choose_kind(config.kind)
    if kind == "torch":
        return _in_pytorch(checkpoint, config)
    try:
        if kind == "onnx":
            raise EngineError(
                "ONNX Runtime runs nano checkpoints only. Set engine.kind to auto or torch."
            )
        return _compiled(checkpoint, config)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        log.warning(
            "%s cannot be used, PyTorch runs the network instead: %s",
            kind,
            reason,
            exc_info=None if isinstance(error, PerceptionError) else error,
        )
    plain = _in_pytorch(checkpoint, config)
    plain.description += f" (instead of {kind}: {reason})"
    return plain


def _compiled(checkpoint: Checkpoint, config: EngineConfig) -> Network:
    need_a_gpu()
    from thfm_ros.engine.tensorrt_compiler import TorchTensorRt
    from thfm_ros.genception.tensorrt_engine import load_compiled
    from thfm_ros.genception.torch_reference import PRECISION

    cache = EngineCache(default_folder(config.cache_dir))
    tiny = _tiny_codec(config)
    load = functools.partial(
        load_checkpoint, checkpoint.path, dtype=PRECISION, device="cuda", tiny_codec=tiny
    )
    compiler = TorchTensorRt(cache.folder)
    network = load_compiled(checkpoint, cache, compiler, load, tiny_codec=tiny)
    torch.cuda.empty_cache()  # what building needed is TensorRT's now
    return network


def _in_pytorch(checkpoint: Checkpoint, config: EngineConfig) -> GenceptionCheckpoint:
    gpu = has_gpu()
    device, dtype = ("cuda", torch.bfloat16) if gpu else ("cpu", torch.float32)
    if not gpu:
        torch.set_num_threads(config.threads)
    loaded = load_checkpoint(
        checkpoint.path, dtype=dtype, device=device, tiny_codec=_tiny_codec(config)
    )
    card = loaded.card
    loaded.description += f", {Profile(card.window, *card.frame_size).name}"
    return loaded


def _tiny_codec(config: EngineConfig) -> Path | None:
    return Path(config.tiny_codec).expanduser() if config.tiny_codec else None
