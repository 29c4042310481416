# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
import platform
import sys

import numpy as np
import pytest
from fake_engine import Person
from perfect_detection import SIZE, perfect_detection

from thfm_ros.contract import Task
from thfm_ros.perception.array_pool import ArrayPool
from thfm_ros.perception.dense_maps import Canvas
from thfm_ros.perception.malloc_tuning import keep_freed_memory

NAN = np.float32(np.nan)
ALL = slice(None)


def test_a_free_array_is_reused_and_cleared() -> None:
    pool = ArrayPool()
    pooled = pool.take("depth", (4, 5), NAN)
    pooled.writable(slice(1, 3), slice(2, 4))[:] = 7
    address = pooled.values.ctypes.data
    assert np.isfinite(pooled.values).sum() == 4
    del pooled
    again = pool.take("depth", (4, 5), NAN)
    assert again.values.ctypes.data == address
    assert np.isnan(again.values).all()


@pytest.mark.parametrize("refer", [lambda a: a, lambda a: a[1:, 2], memoryview, lambda a: [a]])
def test_a_referenced_array_is_not_reused(refer: object) -> None:
    pool = ArrayPool()
    reference = refer(pool.take("depth", (4, 5), NAN).values)  # type: ignore[operator]
    other = pool.take("depth", (4, 5), NAN)
    other.writable(ALL, ALL)[:] = 1
    assert np.isnan(np.asarray(reference)).all()
    del reference
    assert pool.take("depth", (4, 5), NAN) is not other


def test_arrays_are_reused_for_the_same_purpose_and_shape_only() -> None:
    pool = ArrayPool()
    pool.take("depth", (4, 5), NAN)
    assert pool.take("mask", (4, 5), np.float32(0)).values.tolist() == [[0.0] * 5] * 4
    assert pool.take("depth", (5, 4), NAN).values.shape == (5, 4)


def test_arrays_that_stay_referenced_leave_the_pool() -> None:
    pool = ArrayPool()
    arrays = [pool.take("depth", (4, 5), NAN).values for _ in range(50)]
    assert len({each.ctypes.data for each in arrays}) == 50
    counts = [sys.getrefcount(each) for each in arrays]
    assert sum(count > min(counts) for count in counts) <= 4  # still in the pool


def test_painting_on_reused_arrays_equals_painting_on_new_ones() -> None:
    reused = ArrayPool()
    tasks = frozenset(Task) - {Task.BODIES}
    for person in (Person(-0.4, 0, 3), Person(0.5, 0.1, 4), Person(0.5, 0, 2)):
        painted = []
        for pool in (reused, ArrayPool()):
            canvas = Canvas(*SIZE, tasks, metric=True, threshold=0.5, arrays=pool)
            painted.append(canvas.paint([(0, perfect_detection(person))]))
        for name, values in painted[0].items():
            np.testing.assert_array_equal(values, painted[1][name])
        del painted, values, canvas


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_glibc_is_set_to_keep_freed_blocks() -> None:
    assert keep_freed_memory()
    assert keep_freed_memory()  # a second call has no further effect
