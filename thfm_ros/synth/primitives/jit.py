# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Decorators that compile kernels with numba and keep their signatures for the type checker.

numba ships no type stubs; an untyped decorator would make every kernel untyped. Kernels are
compiled once per machine and cached beside this file (or in NUMBA_CACHE_DIR). ``fastmath`` lets
the compiler reorder sums, but always in the same way, so a seed still gives the same pixels.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def kernel(function: Kernel) -> Kernel:
    """Compile ``function`` to machine code on its first call."""
    return cast(Kernel, numba.njit(cache=True, fastmath=True, error_model="numpy")(function))


def inlined(function: Kernel) -> Kernel:
    """Inline a helper into the kernels that call it.

    A call that passes arrays counts references; once per pixel, that took eight times as long as
    the arithmetic itself.
    """
    options = {"inline": "always", "fastmath": True, "error_model": "numpy"}
    return cast(Kernel, numba.njit(**options)(function))
