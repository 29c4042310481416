# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Training in several processes (torchrun): each has its own images, all share their gradients.

On CPU cores this scales where threads do not: the network is so small that threads would mostly
wait for each other.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import distributed, nn

from thfm_ros.contract import PerceptionError


def device_of_process(name: str) -> torch.device:
    """The device of this process.

    Args:
        name: as PyTorch has it: "cpu", "cuda:1"; "cuda" is one GPU for each process of torchrun.

    Raises:
        PerceptionError: no such device, or PyTorch cannot use it.
    """
    try:
        local_rank = os.environ.get("LOCAL_RANK", "0")
        device = torch.device(f"cuda:{local_rank}" if name == "cuda" else name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: PyTorch without CUDA
        reason = str(error).splitlines()[0]
        raise PerceptionError(
            f"PyTorch cannot use the device {name!r} ({reason}). Use cpu, or cuda with an NVIDIA "
            "GPU and a PyTorch that is built for it."
        ) from error
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def join(device: torch.device) -> None:
    """Connect to the other processes, if torchrun started any."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def rank() -> int:
    """Number of this process; 0 if it is the only one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def share_gradients(network: nn.Module) -> None:
    """Replace each gradient by its mean over the processes."""
    if not distributed.is_initialized():
        return
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    joined = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(joined)
    joined /= distributed.get_world_size()
    for gradient, mean in zip(gradients, joined.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def broadcast_decision(stop: bool, device: torch.device) -> bool:
    """The first process' decision, so that all leave the loop at the same step."""
    if not distributed.is_initialized():
        return stop
    decision = torch.tensor([float(stop)], device=device)
    distributed.broadcast(decision, 0)
    return bool(decision.item())


@contextmanager
def stop_at_a_signal() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM was received, so that a run can finish its step and save."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda which, _: received.append(which)) for number in numbers]
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
