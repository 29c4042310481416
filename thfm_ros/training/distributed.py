"""Training in several processes at once (torchrun): each has its own images, all share gradients.

On CPU cores this scales where threads do not: the network is small, so that threads would mostly
wait for each other.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import distributed, nn


def join() -> None:
    """Meet the other processes, if torchrun started any."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        distributed.init_process_group("gloo")


def rank() -> int:
    """Number of this process; 0 when it is alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def share_gradients(network: nn.Module) -> None:
    """Replace every gradient by its mean over the processes."""
    if not distributed.is_initialized():
        return
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(together)
    together /= distributed.get_world_size()
    for gradient, part in zip(
        gradients, together.split([g.numel() for g in gradients]), strict=True
    ):
        gradient.copy_(part.view_as(gradient))


def agreed(stop: bool) -> bool:
    """What the first process says, so that all leave the loop at the same step."""
    if not distributed.is_initialized():
        return stop
    said = torch.tensor([float(stop)])
    distributed.broadcast(said, 0)
    return bool(said.item())


@contextmanager
def stop_at_a_signal() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM has come, so that a run can finish its step and save."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda which, _: came.append(which)) for number in numbers]
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
