# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A real Ray for tests, if this machine is not too busy to start one."""

from collections.abc import Callable
from typing import TypeVar

import pytest

Started = TypeVar("Started")

TOO_LATE = "timed out during startup"


def started(start: Callable[[], Started]) -> Started:
    """What is started; the test is skipped where Ray's own limit for that has passed.

    A raylet waits 15 s for the port of its agent, a Python process, and ends otherwise
    (ray-project/ray#65983; there is no option). That says nothing of this package.
    """
    try:
        return start()
    except Exception as error:  # a bare Exception of Ray
        if TOO_LATE not in str(error):
            raise
        pytest.skip(f"Ray did not start on this busy machine: {error}")
