# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A tiny release of the full-size family in the layout of the public download."""

from pathlib import Path

import genception_fixtures as reference
import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    reference.write_checkpoint_folder(tmp_path / "release")
    return tmp_path / "release"
