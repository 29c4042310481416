# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The allocator's settings, in a process of their own."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ctypes, sys, threading
from thfm_ros.perception.malloc_tuning import keep_freed_memory

assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
together = threading.Barrier(12)

def allocate():
    together.wait()
    assert libc.malloc(1000)
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")
def test_threads_share_heaps_so_that_memory_that_one_has_freed_serves_the_next(
    tmp_path: Path,
) -> None:
    statistics = tmp_path / "malloc.xml"
    subprocess.run([sys.executable, "-c", PROGRAM, str(statistics)], check=True)
    assert statistics.read_text().count("<heap nr=") <= 2


GAPS = """
import numpy as np
from pathlib import Path
from thfm_ros.perception.malloc_tuning import keep_freed_memory, return_freed_memory

def memory_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

keep_freed_memory()
blocks = [np.ones(2**20, np.uint8) for _ in range(200)]
blocks = blocks[::10]  # gaps between what is still used
before = memory_mb()
assert return_freed_memory()
assert before - memory_mb() > 100, (before, memory_mb())
assert all(block.all() for block in blocks)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")
def test_gaps_that_a_released_engine_leaves_are_returned_to_the_system() -> None:
    subprocess.run([sys.executable, "-c", GAPS], check=True)
