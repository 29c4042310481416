# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A small untrained checkpoint stands in for the shipped one, whatever that is."""

from pathlib import Path

import pytest
from small_checkpoint import write_small_checkpoint

from thfm_ros.engine import checkpoint


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint called "nano"."""
    folder = tmp_path_factory.mktemp("weights")
    write_small_checkpoint(folder).rename(folder / "nano.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _small_checkpoint(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SHIPPED", shipped)
    monkeypatch.setenv("XDG_CACHE_HOME", str(shipped))  # of the engines built from it
