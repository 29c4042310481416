# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Counts a network's operations, memory traffic and peak memory without computing anything.

Run the network on tensors of the device "meta" in an `OpCounter` context.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


class OpCounter:
    """Context manager. Afterwards:

    ``flop``: floating-point operations of convolutions, matrix products and attention (2 per MAC).
    ``traffic``: bytes that operations read and write, without fusion.
    ``peak``: the largest number of bytes that results occupied at one time, without weights and
    inputs.
    """

    def __init__(self) -> None:
        self.flop = 0
        self.traffic = 0
        self.peak = 0
        self._live = 0
        self._tracked: set[int] = set()
        self._modes = ExitStack()

    def __enter__(self) -> "OpCounter":
        self._counter = self._modes.enter_context(FlopCounterMode(display=False))
        self._modes.enter_context(_TrafficMode(self))
        self._modes.enter_context(_AttentionMode(self))
        return self

    def __exit__(self, *error: Any) -> None:
        self._modes.close()
        self.flop += int(self._counter.get_total_flops())

    def record(self, inputs: Iterable[Tensor], outputs: Iterable[Tensor]) -> None:
        """Count one operation; a view (an output in its input's memory) costs nothing."""
        sources = {_storage(each): each for each in inputs}
        results = [each for each in outputs if _storage(each) not in sources]
        if not results:
            return
        self.traffic += sum(_size(each) for each in [*sources.values(), *results])
        for each in results:
            self._track(each)

    def _track(self, result: Tensor) -> None:
        storage = result.untyped_storage()
        key, size = _storage(result), storage.nbytes()
        if key in self._tracked:
            return
        self._tracked.add(key)
        self._live += size
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._tracked.discard(key)
        self._live -= size


def _storage(x: Tensor) -> int:
    return int(x.untyped_storage()._cdata)


def _size(x: Tensor) -> int:
    return x.numel() * x.element_size()


def _tensors(*values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


class _TrafficMode(TorchDispatchMode):
    def __init__(self, counter: OpCounter) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # not annotated in PyTorch
        self._counter = counter

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self._counter.record(_tensors(args, kwargs), _tensors(out))
        return out


class _AttentionMode(TorchFunctionMode):
    """Counts attention as one fused operation that does not store the n x n scores."""

    def __init__(self, counter: OpCounter) -> None:
        super().__init__()
        self._counter = counter

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is not scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key, value = args[:3]
        out = torch.empty_like(query)
        self._counter.flop += 4 * query.numel() * key.shape[-2]
        self._counter.record([query, key, value], [out])
        return out
