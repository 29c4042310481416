# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The capsule pack on disk and in memory, so that tests need no sources and no body model."""

from pathlib import Path

import pytest

from thfm_ros.synth.baking.capsules import capsule_pack
from thfm_ros.synth.pack import AssetPack
from thfm_ros.synth.scene.asset_choices import AssetChoices, choose_assets


@pytest.fixture(scope="session")
def pack() -> AssetPack:
    return capsule_pack()


@pytest.fixture(scope="session")
def choices(pack: AssetPack) -> AssetChoices:
    return choose_assets(pack, "all")


@pytest.fixture(scope="session")
def pack_path(pack: AssetPack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "capsules.npz"
    pack.save(path)
    return path
