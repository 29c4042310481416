# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Selects what runs a full-size checkpoint: TensorRT, or PyTorch with a logged reason."""

import functools
import logging
from pathlib import Path

import torch

from thfm_ros.config import EngineConfig
from thfm_ros.contract import PerceptionError
from thfm_ros.engine.base import EngineError
from thfm_ros.engine.cache import EngineCache, default_folder
from thfm_ros.engine.checkpoint import Checkpoint
from thfm_ros.engine.select import choose_kind, first_line, has_gpu, require_gpu
from thfm_ros.genception.checkpoint import GenceptionCheckpoint, load_checkpoint
from thfm_ros.genception.out_of_memory import OutOfMemoryError, is_out_of_memory
from thfm_ros.genception.runner import GenceptionNetwork
from thfm_ros.genception.subgraphs import Profile
from thfm_ros.user_folders import expanded

log = logging.getLogger(__name__)


def load_genception(checkpoint: Checkpoint, config: EngineConfig) -> GenceptionNetwork:
    """Load the network with the engine that ``config`` requests, or with PyTorch.

    If the requested engine cannot be used, PyTorch runs the network; ``fallback_reason`` and the
    description say why. PyTorch computes in bfloat16 on an NVIDIA GPU and in float32 on a CPU.
    The window and the image size are those on the card (`thfm import --profile`). The first load
    on a GPU builds engines, which takes minutes.

    Raises:
        GenceptionError: no VAE in the file, or diffusers is not installed.
        EngineError, CheckpointError, CardError: the file is incomplete.
        OutOfMemoryError: the weights do not fit into memory.
    """
    # "auto" without a GPU is PyTorch: ONNX Runtime does not run this family.
    kind = "torch" if config.kind == "auto" and not has_gpu() else choose_kind(config.kind)
    if kind == "torch":
        return _load_in_pytorch(checkpoint, config)
    try:
        if kind == "onnx":
            raise EngineError(
                "ONNX Runtime runs nano checkpoints only. Set engine.kind to auto or torch."
            )
        return _load_tensorrt(checkpoint, config)
    except Exception as error:
        reason = first_line(error)
        log.warning(
            "%s cannot be used, PyTorch runs the network instead: %s",
            kind,
            reason,
            exc_info=None if isinstance(error, PerceptionError) else error,
        )
    fallback = _load_in_pytorch(checkpoint, config)
    fallback.description += f" (instead of {kind}: {reason})"
    fallback.fallback_reason = reason
    return fallback


def _load_tensorrt(checkpoint: Checkpoint, config: EngineConfig) -> GenceptionNetwork:
    require_gpu()
    from thfm_ros.engine.tensorrt_compiler import TorchTensorRt
    from thfm_ros.genception.tensorrt_engine import load_compiled
    from thfm_ros.genception.torch_reference import PRECISION

    cache = EngineCache(default_folder(config.cache_dir))
    tiny_vae = _tiny_vae(config)
    load = functools.partial(
        load_checkpoint, checkpoint.path, dtype=PRECISION, device="cuda", tiny_vae=tiny_vae
    )
    compiler = TorchTensorRt(cache.folder)
    network = load_compiled(checkpoint, cache, compiler, load, tiny_vae=tiny_vae)
    torch.cuda.empty_cache()  # TensorRT cannot use what PyTorch's allocator keeps from building
    return network


def _load_in_pytorch(checkpoint: Checkpoint, config: EngineConfig) -> GenceptionCheckpoint:
    gpu = has_gpu()
    device, dtype = ("cuda", torch.bfloat16) if gpu else ("cpu", torch.float32)
    if not gpu:
        torch.set_num_threads(config.threads)
    try:
        loaded = load_checkpoint(
            checkpoint.path, dtype=dtype, device=device, tiny_vae=_tiny_vae(config)
        )
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"The weights of {checkpoint.card.name} do not fit into the memory of the "
            f"{'GPU' if gpu else 'computer'} ({first_line(error)}). Free memory, use a smaller "
            "checkpoint of the family, or nano."
        ) from error
    card = loaded.card
    loaded.description += f", {Profile(card.window, *card.frame_size).name}"
    return loaded


def _tiny_vae(config: EngineConfig) -> Path | None:
    return expanded(config.tiny_codec) if config.tiny_codec else None
