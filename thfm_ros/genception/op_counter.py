"""Count what a network does without doing it: multiplications, bytes moved, memory at once.

Run the network on tensors of the device "meta" under `Tally`. Shapes are real, numbers are not.
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


class Tally:
    """A context. Afterwards:

    ``flop``: floating-point operations of convolutions, products and attention (2 per MAC).
    ``traffic``: bytes that operations read and write, each on its own: what fusion can save.
    ``peak``: the most bytes that results occupied at one time, weights and inputs not counted.
    """

    def __init__(self) -> None:
        self.flop = 0
        self.traffic = 0
        self.peak = 0
        self._live = 0
        self._tracked: set[int] = set()
        self._modes = ExitStack()

    def __enter__(self) -> "Tally":
        self._counter = self._modes.enter_context(FlopCounterMode(display=False))
        self._modes.enter_context(_Moves(self))
        self._modes.enter_context(_Attention(self))
        return self

    def __exit__(self, *error: Any) -> None:
        self._modes.close()
        self.flop += int(self._counter.get_total_flops())

    def moved(self, given: Iterable[Tensor], made: Iterable[Tensor]) -> None:
        """Note one operation; an output that shares its input's memory costs nothing."""
        sources = {_storage(each): each for each in given}
        fresh = [each for each in made if _storage(each) not in sources]
        if not fresh:
            return
        self.traffic += sum(_size(each) for each in [*sources.values(), *fresh])
        for each in fresh:
            self._hold(each)

    def _hold(self, made: Tensor) -> None:
        storage = made.untyped_storage()
        key, size = _storage(made), storage.nbytes()
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


class _Moves(TorchDispatchMode):
    def __init__(self, tally: Tally) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as PyTorch has it
        self._tally = tally

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self._tally.moved(_tensors(args, kwargs), _tensors(out))
        return out


class _Attention(TorchFunctionMode):
    """Attention as one operation, as every GPU does it: the n x n scores are never stored."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

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
        self._tally.flop += 4 * query.numel() * key.shape[-2]
        self._tally.moved([query, key, value], [out])
        return out
