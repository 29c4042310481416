# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Growing a network: more layers that leave its outputs as they were.

New layers begin as the identity (Net2Net, Chen et al. 2016), so nothing that was learned is lost,
and a run can begin with a smaller network, whose steps are cheaper.
"""

import torch
from torch import nn

from thfm_ros.model.backbone import Block
from thfm_ros.model.network import NanoNetwork


def grown_network(network: NanoNetwork, depth: int, refine: int, seed: int) -> NanoNetwork:
    """A copy with ``depth`` transformer blocks and ``refine`` blocks before the dense read-outs.

    The same seed adds the same layers: to a network and to its moving average, and again after an
    interruption.

    Raises:
        ValueError: the network has more blocks of either kind already.
    """
    if depth < network.depth or refine < len(network.refine):
        raise ValueError(
            f"A network of {network.depth} blocks and {len(network.refine)} refining ones does "
            f"not shrink to {depth} and {refine}: depth and refine of a stage must not fall."
        )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        larger = NanoNetwork(**{**network.sizes(), "depth": depth, "refine": refine})
    larger.load_state_dict({**larger.state_dict(), **network.state_dict()})
    for block in larger.backbone.blocks[network.depth :]:
        assert isinstance(block, Block)
        for last in (block.join, block.narrow):  # a refining block is the identity at first anyway
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    return larger.to(next(network.parameters()).device).train(network.training)
