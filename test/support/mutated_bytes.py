# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Changed copies of valid files, for fuzz tests."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from hypothesis import strategies as st

MAX_CPU_S = 2.0
"""A reader that computes for longer, hangs."""

CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "remove", "truncate", "repeat"]),
        st.one_of(st.integers(0, 65535), st.integers(0, 4000)),  # headers more often
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)
"""A change: what to do, where (in 65536ths of the length), and with which bytes."""

T = TypeVar("T")


def changed(file: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    for action, place, new in changes:
        at = len(file) * place // 65536
        span = 1 + new[0] * (len(file) // 256)
        file = {
            "replace": file[:at] + new + file[at + len(new) :],
            "insert": file[:at] + new + file[at:],
            "remove": file[:at] + file[at + span :],
            "truncate": file[:at],
            "repeat": file[: at + span] + file[at:],
        }[action]
    return file


def mutated(files: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the files with one to four changes."""
    return st.builds(changed, st.sampled_from(files), CHANGES)


@contextmanager
def bounded_time() -> Iterator[None]:
    """Fails if the block uses more processor time than `MAX_CPU_S`."""
    start_s = time.process_time()
    yield
    assert time.process_time() - start_s < MAX_CPU_S


def refused_or(read: Callable[[], T], *errors: type[Exception]) -> T | None:
    """What is read, or None after one of the documented errors, which says why; in bounded time."""
    with bounded_time():
        try:
            return read()
        except errors as error:
            assert len(str(error)) > 20, repr(error)
            return None
