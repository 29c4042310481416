# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The examples of docs/archives.md read results of `thfm archive`, as they stand there."""

import contextlib
import io
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[archive]'")

LIBRARIES = ("pandas", "duckdb", "polars", "duckdb, with the manifest")


def example(page: str, library: str) -> str:
    """The block of Python that begins with the library's import."""
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    name, _, rest = library.partition(", ")
    (block,) = [
        each
        for each in blocks
        if each.startswith(f"import {name}\n") and ("manifest" in each) == bool(rest)
    ]
    return str(block)


Rows = list[dict[str, Any]]


@pytest.fixture
def rows(tmp_path: Path, bags: Path, thfm: Callable[..., int]) -> Rows:
    """All rows of the results, which lie where the examples look for them."""
    from pyarrow import parquet

    assert thfm(bags, "--out", tmp_path / "people") == 0
    tables = sorted((tmp_path / "people" / "units").glob("*/people.parquet"))
    all_rows = [row for table in tables for row in parquet.read_table(table).to_pylist()]
    (tmp_path / "drive").mkdir()
    # In the example of one bag people come nearer than three metres, or do not.
    drive = [{**row, "root_z": 2.0 + row["frame"] % 2} for row in all_rows]
    schema = parquet.read_schema(tables[0])
    pyarrow = pytest.importorskip("pyarrow")
    parquet.write_table(
        pyarrow.Table.from_pylist(drive, schema), tmp_path / "drive" / "people.parquet"
    )
    return all_rows


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_example_prints_the_people(
    library: str, rows: Rows, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(library.partition(",")[0])
    code = example((root / "docs" / "archives.md").read_text("utf-8"), library)
    monkeypatch.chdir(tmp_path)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, library, "exec"), {})
    text = output.getvalue()
    ids = Counter(row["id"] for row in rows)
    near = Counter(row["id"] for row in rows if row["frame"] % 2 == 0)
    assert len(ids) == 3 and set(ids.values()) == {2, 3, 4}  # a person in each bag
    if library == "duckdb":
        assert text.strip() == str(sorted(ids.items()))
    elif library == "duckdb, with the manifest":
        assert all(f"bags/bag{each}', '/camera/image_raw', 1)" in text for each in range(3))
    else:
        found = re.findall(r"\b([a-z]{5})\b\W+(\d+)", text)
        assert {name: int(count) for name, count in found if name != "shape"} == dict(near)
