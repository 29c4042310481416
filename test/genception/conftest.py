"""A tiny release of the full-size family, as it is downloaded."""

from pathlib import Path

import genception_fixtures as reference
import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    reference.write_checkpoint_folder(tmp_path / "release")
    return tmp_path / "release"
