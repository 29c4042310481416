"""A nano network that is small, quick to export, and has no weight left at its gentle beginning."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from thfm_ros.engine.cache import EngineCache
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.engine.graph_engine import GraphEngine
from thfm_ros.engine.onnx_engine import load_onnx_engine
from thfm_ros.engine.torch_engine import TorchEngine
from thfm_ros.model.card import ModelCard
from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.weights import load_network, nano_card, save_network


def awake(network: NanoNetwork) -> NanoNetwork:
    """Give weights that start at 0 or 1 some other value: else an error in them would not show."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            noise = torch.rand(2, module.num_features, generator=generator)
            module.running_mean, module.running_var = noise[0] - 0.5, noise[1] + 0.5
    for name, value in network.named_parameters():
        if "norm" in name or "scale" in name or "modulate" in name or name.endswith("bias"):
            value.data += 0.2 * torch.randn(value.shape, generator=generator)
    network.heatmap.sharpness.data += 2.0  # peaks that rounding does not move
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint file with two blocks, a window of 3 and images of 64 x 64 and 96 x 64."""
    torch.manual_seed(0)
    network = awake(NanoNetwork(channels=(8, 16, 24), width=64, depth=2, window=3))
    card = dataclasses.replace(
        nano_card("small", network, "nothing"), crop_size=(64, 64), frame_size=(96, 64)
    )
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_network(network, card, path)
    return path


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    """Shared by all tests of a run, as an export takes seconds."""
    return EngineCache(tmp_path_factory.mktemp("cache") / "engines")


@pytest.fixture(scope="session")
def judge(small: tuple[NanoNetwork, ModelCard]) -> TorchEngine:
    """The small network in PyTorch."""
    return TorchEngine(*small)


@pytest.fixture(scope="session")
def exported(checkpoint: Path, cache: EngineCache, judge: TorchEngine) -> GraphEngine:
    """The small network in ONNX Runtime."""
    return load_onnx_engine(find_checkpoint(str(checkpoint)), cache, 1, lambda: judge)


@pytest.fixture(scope="session")
def small(checkpoint: Path) -> tuple[NanoNetwork, ModelCard]:
    """What is in that file."""
    return load_network(checkpoint)
