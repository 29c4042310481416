"""One way to compile a kernel, so that the type checker still sees its signature.

numba has no types of its own; an untyped decorator would make every kernel untyped. Kernels are
compiled once per machine and cached beside this file (or in NUMBA_CACHE_DIR). ``fastmath`` is
on: sums may be reordered, but always in the same way, so that a seed gives the same pixels.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def kernel(function: Kernel) -> Kernel:
    """Compile ``function`` to machine code on its first call."""
    return cast(Kernel, numba.njit(cache=True, fastmath=True, error_model="numpy")(function))


def inlined(function: Kernel) -> Kernel:
    """Compile a helper into the kernels that call it.

    A call that passes arrays counts references; per pixel that cost eight times the arithmetic.
    """
    options = {"inline": "always", "fastmath": True, "error_model": "numpy"}
    return cast(Kernel, numba.njit(**options)(function))
