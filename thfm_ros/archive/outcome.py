# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What became of a unit, and the manifest of all units."""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from thfm_ros.contract import PerceptionError
from thfm_ros.offline.results.temporary_file import TemporaryFile

DONE, ERROR = "done", "error"


@dataclass(frozen=True)
class Outcome:
    """A row of the manifest.

    Attributes:
        unit: key of the unit; the name of its folder below units/.
        source: the bag.
        topic: of the images.
        state: "done" or "error".
        frames: perceived images.
        people: different ids of confirmed tracks.
        seconds: time it took, of the run in which it was done.
        error: why there are no results; empty if there are.
        warning: what should be known about the results, such as images that were left out.
    """

    unit: str
    source: str
    topic: str
    state: str
    frames: int = 0
    people: int = 0
    seconds: float = 0.0
    error: str = ""
    warning: str = ""


def read_manifest(path: Path) -> dict[str, Outcome]:
    """The rows of a manifest by their units; none if there is no file.

    Raises:
        PerceptionError: it is no manifest, or pyarrow is missing.
    """
    if not path.exists():
        return {}
    arrow, parquet = _arrow()
    try:
        # Not read_table, which imports pandas: that takes longer than all other imports together.
        with parquet.ParquetFile(path) as file:
            rows = file.read().to_pylist()
        return {row["unit"]: Outcome(**row) for row in rows}
    except (arrow.ArrowInvalid, TypeError, KeyError, OSError) as error:
        raise PerceptionError(
            f"{path} is no manifest of thfm archive ({error}): give another --out, or remove it; "
            "finished units are found again without it."
        ) from error


def write_manifest(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Write a manifest whole or not at all, ordered by source and topic."""
    arrow, parquet = _arrow()
    kinds = {int: arrow.int64(), float: arrow.float64(), str: arrow.string()}
    schema = arrow.schema([(each.name, kinds[each.type]) for each in fields(Outcome)])  # type: ignore[index]
    ordered = sorted(outcomes, key=lambda row: (row.source, row.topic, row.unit))
    table = arrow.Table.from_pylist([asdict(row) for row in ordered], schema)
    file = TemporaryFile(path)
    try:
        parquet.write_table(table, file.temporary, compression="zstd")
        with file.temporary.open("rb") as stream:
            os.fsync(stream.fileno())  # after a power cut an old manifest is better than a torn one
        file.complete()
    finally:
        file.abandon()


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise PerceptionError(
            "thfm archive needs pyarrow: pip install 'thfm_ros[archive]'"
        ) from error
    return pyarrow, pyarrow.parquet
