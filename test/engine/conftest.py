# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A small nano network in PyTorch and in ONNX Runtime, exported once per run."""

from pathlib import Path

import pytest
from small_checkpoint import write_small_checkpoint

from thfm_ros.engine.cache import EngineCache
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.engine.onnx_engine import load_onnx_engine
from thfm_ros.engine.shaped_engine import ShapedEngine
from thfm_ros.engine.torch_engine import TorchEngine
from thfm_ros.model.card import ModelCard
from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.weights import load_network


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of small_checkpoint.py: crops of 64 x 64, whole images of 96 x 80."""
    return write_small_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    """Shared by all tests of a run, since an export takes seconds."""
    return EngineCache(tmp_path_factory.mktemp("cache") / "engines")


@pytest.fixture(scope="session")
def reference(small: tuple[NanoNetwork, ModelCard]) -> TorchEngine:
    """The small network in PyTorch."""
    return TorchEngine(*small)


@pytest.fixture(scope="session")
def exported(checkpoint: Path, cache: EngineCache, reference: TorchEngine) -> ShapedEngine:
    """The small network in ONNX Runtime."""
    return load_onnx_engine(find_checkpoint(str(checkpoint)), cache, 1, lambda: reference)


@pytest.fixture(scope="session")
def small(checkpoint: Path) -> tuple[NanoNetwork, ModelCard]:
    """The network and the card of that file."""
    return load_network(checkpoint)
