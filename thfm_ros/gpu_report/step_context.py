# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What a step gets, and how it hands back its results."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NOT_AVAILABLE = "reason of absence"
"""Key of the record that a step which cannot run on this machine leaves behind."""

REASON = "reason of failure"
"""Key of the record that a step which raised an error leaves behind."""


class NotAvailableError(Exception):
    """A step needs something that this machine lacks: it is skipped, not failed."""


class StepContext:
    """What a step's function gets.

    Attributes:
        stand_in: tiny networks on the CPU take the place of the GPU.
        work: folder that all steps of a report share, removed at its end.
    """

    def __init__(self, *, stand_in: bool, work: Path, limit_s: float, records: Path) -> None:
        """``records``: JSON lines, appended to."""
        self.stand_in, self.work = stand_in, work
        self._end = time.monotonic() + limit_s
        self._records = records

    def seconds_left(self) -> float:
        """Until this process is killed."""
        return self._end - time.monotonic()

    def record(self, values: Mapping[str, Any]) -> None:
        """Write one result at once: what is written is kept, whatever happens afterwards."""
        with self._records.open("a", encoding="utf-8") as file:
            file.write(json.dumps(_finite(values), allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    """The value as JSON can hold it: "nan" and "inf" as texts, so that they stay visible."""
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def reason_of(error: BaseException) -> str:
    """What a report says of an error: its type and first line; of lost memory that it was that."""
    line = str(error).strip().partition("\n")[0]
    if type(error).__name__ in ("OutOfMemoryError", "MemoryError"):
        return f"out of memory: {line}" if line else "out of memory"
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed"
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
