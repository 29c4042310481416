# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A DDS domain for each test process, which no other test process of this machine has."""

import fcntl
import random
import tempfile
from pathlib import Path
from typing import IO

DOMAINS = range(1, 101)  # the ports of higher ones overlap with those of outgoing connections
_reserved: list[IO[bytes]] = []  # open files: their locks last as long as the process


def reserve_domain(folder: Path | None = None) -> int:
    """Reserve a DDS domain until this process ends, however it ends.

    Args:
        folder: of the lock files; None: the folder for temporary files.

    Raises:
        RuntimeError: all domains are in use.
    """
    folder = folder or Path(tempfile.gettempdir())
    for domain in random.SystemRandom().sample(DOMAINS, len(DOMAINS)):
        try:
            file = (folder / f"thfm_test_domain_{domain}.lock").open("ab")
        except PermissionError:  # another user's file
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _reserved.append(file)
        return domain
    raise RuntimeError(f"all {len(DOMAINS)} DDS domains are used by other test runs ({folder})")
