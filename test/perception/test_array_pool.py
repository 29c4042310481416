import platform
import sys

import numpy as np
import pytest
from fake_engine import Person
from perfect_sight import SIZE, sight

from thfm_ros.contract import Task
from thfm_ros.perception.array_pool import ArrayPool
from thfm_ros.perception.dense_maps import Canvas
from thfm_ros.perception.malloc_tuning import keep_freed_memory

BLANK = np.float32(np.nan)
ALL = slice(None)


def test_a_sheet_that_nobody_holds_is_used_again_and_blank() -> None:
    sheets = ArrayPool()
    sheet = sheets.take("depth", (4, 5), BLANK)
    sheet.part(slice(1, 3), slice(2, 4))[:] = 7
    address = sheet.values.ctypes.data
    assert np.isfinite(sheet.values).sum() == 4
    del sheet
    again = sheets.take("depth", (4, 5), BLANK)
    assert again.values.ctypes.data == address
    assert np.isnan(again.values).all()


@pytest.mark.parametrize("hold", [lambda a: a, lambda a: a[1:, 2], memoryview, lambda a: [a]])
def test_a_sheet_that_somebody_holds_is_left_alone(hold: object) -> None:
    sheets = ArrayPool()
    held = hold(sheets.take("depth", (4, 5), BLANK).values)  # type: ignore[operator]
    other = sheets.take("depth", (4, 5), BLANK)
    other.part(ALL, ALL)[:] = 1
    assert np.isnan(np.asarray(held)).all()
    del held
    assert sheets.take("depth", (4, 5), BLANK) is not other


def test_sheets_of_other_purposes_and_sizes_are_others() -> None:
    sheets = ArrayPool()
    sheets.take("depth", (4, 5), BLANK)
    assert sheets.take("mask", (4, 5), np.float32(0)).values.tolist() == [[0.0] * 5] * 4
    assert sheets.take("depth", (5, 4), BLANK).values.shape == (5, 4)


def test_a_reader_who_never_lets_go_does_not_make_memory_grow() -> None:
    sheets = ArrayPool()
    held = [sheets.take("depth", (4, 5), BLANK).values for _ in range(50)]
    assert len({each.ctypes.data for each in held}) == 50
    counts = [sys.getrefcount(each) for each in held]
    assert sum(count > min(counts) for count in counts) <= 4  # the store let the others go


def test_painting_on_used_sheets_equals_painting_on_new_ones() -> None:
    sheets = ArrayPool()
    tasks = frozenset(Task) - {Task.BODIES}
    for person in (Person(-0.4, 0, 3), Person(0.5, 0.1, 4), Person(0.5, 0, 2)):
        painted = []
        for store in (sheets, ArrayPool()):
            canvas = Canvas(*SIZE, tasks, metric=True, threshold=0.5, arrays=store)
            painted.append(canvas.paint([(0, sight(person))]))
        for name, values in painted[0].items():
            np.testing.assert_array_equal(values, painted[1][name])
        del painted, values, canvas


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_glibc_is_told_to_keep_freed_blocks() -> None:
    assert keep_freed_memory()
    assert keep_freed_memory()  # harmless to say twice
