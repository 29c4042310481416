# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Tuning glibc's allocator so that freed memory stays in the process, and is used again.

Arrays of a frame are 0.1 to 4 MB. By default glibc returns such blocks to the system when they are
freed, and the system zeroes every page when the next frame allocates them again: painting one
person into all maps of a 640x480 frame takes 4.2 ms of CPU time, and 2.1 ms with kept blocks.

By default a new thread gets a heap of its own, up to eight per core, and each keeps what was freed
in it: a node that was configured again and again grew from 400 to more than 700 MB on two cores.
"""

import ctypes
import logging
import sys
from typing import Any

log = logging.getLogger(__name__)

# M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_ARENA_MAX of <malloc.h>
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_ARENAS = 2  # heaps of the process; obeyed only while there are not many threads yet
_KEPT_BYTES = 256 << 20  # free memory at the end of the heap that is kept
_LARGEST_BYTES = 32 << 20  # blocks up to this size come from the heap; glibc's own limit


def keep_freed_memory() -> bool:
    """Set the allocator's thresholds for the whole process; False where it is not glibc's.

    Call it before threads are started: a larger number of heaps is not reduced.
    """
    mallopt = _function("mallopt")
    if mallopt is None:
        return False
    trimmed = mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    limited = mallopt(_ARENA_MAX, _ARENAS)
    return bool(trimmed and limited and mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES))


def return_freed_memory() -> bool:
    """Return to the system what was freed and kept; False where the C library is not glibc.

    For after an engine was loaded or released, which leaves gaps that no frame's array fills.
    """
    trim = _function("malloc_trim")
    return trim is not None and bool(trim(0))


def _function(name: str) -> Any:
    """A function of glibc's allocator, or None."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):  # another C library, as on Alpine
        log.debug("this C library has no %s", name)
        return None
