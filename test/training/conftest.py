# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A painted data folder, and one thread for PyTorch: small networks are slower with more."""

from pathlib import Path

import pytest
from painted_store import write_data
from torch_threads import one_thread

from thfm_ros.training.augmentation.backgrounds import Backgrounds
from thfm_ros.training.shard_store import Store

__all__ = ["one_thread"]


@pytest.fixture
def plots() -> None:
    """Requested by a test whose run draws its curves."""


@pytest.fixture(autouse=True)
def no_curves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations draw no curves, which takes longer than a few steps of training."""
    if "plots" not in request.fixturenames:
        monkeypatch.setattr("thfm_ros.training.plots.draw_curves", lambda *_: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def store(data: Path) -> Store:
    return Store(data / "train")


@pytest.fixture(scope="module")
def backgrounds(data: Path) -> Backgrounds:
    return Backgrounds(data / "backgrounds.npy")
