# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""One thread for PyTorch, and a tiny imported checkpoint."""

from pathlib import Path

import genception_fixtures as reference
import pytest
from torch_threads import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reference.write_checkpoint(tmp_path_factory.mktemp("release"))
