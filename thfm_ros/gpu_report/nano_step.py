# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""One streaming step of nano for several crops, in forms that GPU runtimes take.

The network's own step makes small tables on the CPU at every call. `folded_step` is the same step
with everything that depends on no input computed once, so that it can become a CUDA graph.
"""

import copy
import dataclasses
import operator
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.engine.stream import OUTPUTS
from thfm_ros.gpu_report.device import Device, open_device
from thfm_ros.model.backbone import Cache
from thfm_ros.model.card import ModelCard
from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.weights import load_network, nano_card

CHECKS = ("_guards", "aten._assert")
"""Operations of an exported graph that compute nothing and hold for one data type only."""


class Nano(NamedTuple):
    """A network in float32 on the CPU, with its card."""

    network: NanoNetwork
    card: ModelCard


def load_nano(*, stand_in: bool) -> Nano:
    """The shipped network; or a tiny random one."""
    if not stand_in:
        return Nano(*load_network(find_checkpoint("nano").path))
    # A network whose peaks do not move in half precision: of seeds 0 to 9 those of 3, 4 and 6.
    # `pytest -m slow test/gpu_report` fails if a change of the layers moves them.
    torch.manual_seed(6)
    network = NanoNetwork((8, 16, 24), width=64, depth=1, window=2).eval().requires_grad_(False)
    network.heatmap.sharpness.data += 2.0
    card = nano_card("stand-in", network, "nothing")
    return Nano(network, dataclasses.replace(card, crop_size=(64, 64), frame_size=(96, 64)))


class BatchedStep(nn.Module):
    """NanoNetwork.step with all outputs, as a function of tensors.

    Inputs: images ``[b 3 h w]`` as float in 0..255, then the cache's tensors. Outputs:
    stream.OUTPUTS with a leading axis over the crops, then the next cache's tensors.
    """

    def __init__(self, network: NanoNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, images: Tensor, keys: Tensor, values: Tensor, allowed: Tensor
    ) -> tuple[Tensor, ...]:
        """See the class."""
        outputs, cache = self.network.step(images, Cache(keys, values, allowed), True)
        named = outputs._asdict()
        return (*(named[name] for name in OUTPUTS), *cache)


def first_inputs(nano: Nano, crops: int, device: Device, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Random images and an empty cache."""
    width, height = nano.card.crop_size
    images = torch.rand(crops, 3, height, width) * 255
    cache = nano.network.empty_cache(crops, height, width)
    return tuple(each.to(device.torch_device, dtype) for each in (images, *cache))


def folded_step(nano: Nano, crops: int) -> fx.GraphModule:
    """The step for a number of crops with constants folded; in float32 on the CPU.

    Nothing in it is bound to a type or device: ``.to(device, torch.float16)`` converts it, which
    it does not do to the network itself, some tables of which are always made in float32.
    """
    example = first_inputs(nano, crops, open_device(stand_in=True), torch.float32)
    with torch.no_grad():
        step = BatchedStep(copy.deepcopy(nano.network))  # the graph holds its weights
        module = torch.export.export(step, example, strict=False).module()
        assert isinstance(module, fx.GraphModule)
        return folded(module)


def folded(module: fx.GraphModule) -> fx.GraphModule:
    """A graph of pure operations, with what depends on no input computed once."""
    graph = module.graph
    known: dict[fx.Node, Any] = {}
    for node in list(graph.nodes):
        if str(node.target).startswith(CHECKS):
            graph.erase_node(node)
        elif node.op == "get_attr":
            known[node] = operator.attrgetter(str(node.target))(module)
        elif node.op == "call_function" and all(each in known for each in node.all_input_nodes):
            args = fx.node.map_arg(node.args, known.__getitem__)
            options = fx.node.map_arg(node.kwargs, known.__getitem__)
            known[node] = node.target(*args, **options)
    for number, (node, value) in enumerate(known.items()):
        outside = [user for user in node.users if user not in known]
        if node.op == "get_attr" or not outside or not isinstance(value, Tensor):
            continue
        name = f"folded_{number}"
        module.register_buffer(name, value.detach().clone())
        with graph.inserting_before(node):
            constant = graph.get_attr(name)
        node.replace_all_uses_with(constant)
    for node in reversed(known):
        if not node.users:
            graph.erase_node(node)
    plain = fx.Graph()  # without what export adds to a graph, which cannot be saved
    plain.output(plain.graph_copy(graph, {}))
    plain.lint()
    return fx.GraphModule(module, plain)
