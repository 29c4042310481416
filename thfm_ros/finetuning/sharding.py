# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""One network over several processes: torch's `fully_shard` (FSDP2) on a device mesh.

Every process holds its part of each parameter, as a DTensor; whole weights exist for one block of
the transformer at a time.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Shard

from thfm_ros.genception.transformer import GenceptionTransformer


@contextmanager
def process_mesh(device: torch.device) -> Iterator[DeviceMesh]:
    """The mesh of all processes that torchrun started, or of this one alone."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    if distributed.is_torchelastic_launched():
        distributed.init_process_group(backend)
    else:
        store = distributed.HashStore()  # type: ignore[attr-defined]  # public, but not listed
        distributed.init_process_group(backend, store=store, rank=0, world_size=1)
    try:
        yield init_device_mesh(device.type, (distributed.get_world_size(),))
    finally:
        distributed.destroy_process_group()


def shard(network: GenceptionTransformer, mesh: DeviceMesh, precision: torch.dtype) -> None:
    """Replace each parameter by this process' part, a DTensor.

    Args:
        network: float32, with equal weights in all processes; is changed.
        mesh: one dimension, all processes.
        precision: in which the network computes; parameters and sums of gradients stay float32.
    """
    mixed = MixedPrecisionPolicy(
        param_dtype=None if precision == torch.float32 else precision,
        reduce_dtype=torch.float32,
        # The network converts its inputs itself; rotary embeddings must stay float32.
        cast_forward_inputs=False,
    )

    def placement(parameter: nn.Parameter) -> Shard:
        """The first axis that the processes can divide evenly; some tables begin with a 1."""
        even = [axis for axis, size in enumerate(parameter.shape) if size % mesh.size() == 0]
        return Shard(even[0] if even else 0)

    # The tables are views of a layer's output; nothing changes them in place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
    for module in (*network.wan.blocks, network):
        fully_shard(module, mesh=mesh, mp_policy=mixed, shard_placement_fn=placement)


def trained_state(network: nn.Module) -> dict[str, Tensor]:
    """All trained parameters of a network, whole, on the CPU of the first process.

    Every process must call it; the others get nothing.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    state = get_model_state_dict(network, options=options)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean of a tensor that every process has; of this one if it is alone."""
    if distributed.is_initialized():
        distributed.all_reduce(values)
        values = values / distributed.get_world_size()
    return values
