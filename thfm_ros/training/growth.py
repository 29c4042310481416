"""A network with more layers that begins by giving the same answers.

What is added starts as the identity (Net2Net, Chen et al. 2016), so nothing that was learned is
lost, and a small network can be trained first because its steps are cheaper.
"""

import torch
from torch import nn

from thfm_ros.model.backbone import Block
from thfm_ros.model.network import NanoNetwork


def grown(network: NanoNetwork, depth: int, refine: int) -> NanoNetwork:
    """A copy with ``depth`` transformer blocks and ``refine`` blocks before the dense read-outs.

    Raises:
        ValueError: the network has more of either already.
    """
    if depth < network.depth or refine < network.refine_depth:
        raise ValueError(
            f"A network of {network.depth} blocks and {network.refine_depth} refining ones does "
            f"not shrink to {depth} and {refine}; let a stage's depth and refine never fall."
        )
    larger = NanoNetwork(**{**network.sizes(), "depth": depth, "refine": refine})
    larger.load_state_dict({**larger.state_dict(), **network.state_dict()})
    for block in larger.backbone.blocks[network.depth :]:
        assert isinstance(block, Block)
        for last in (block.join, block.narrow):  # a refining block starts as the identity anyway
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    return larger.train(network.training)


@torch.no_grad()
def average_of(network: NanoNetwork, average: NanoNetwork) -> NanoNetwork:
    """The running average of a network that has grown: ``average``, and the new layers as is."""
    larger = NanoNetwork(**network.sizes())
    larger.load_state_dict({**network.state_dict(), **average.state_dict()})
    return larger.train(average.training)
