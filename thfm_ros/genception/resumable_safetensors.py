# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Writes a large safetensors file tensor by tensor, so that an interrupted write can be resumed.

Tensors are written to ``FILE.part``; ``FILE.part.json`` is a journal of what is on the disk. The
file is renamed when it is complete. Independent of torch and of what the tensors mean.
"""

import fcntl
import hashlib
import json
import os
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from thfm_ros.contract import PerceptionError

_BYTES = {"F32": 4, "BF16": 2, "F16": 2}
_SYNC_EVERY = 64_000_000
"""Bytes between two calls of fsync: at most this much is lost in a power cut."""


class ResumableWriteError(PerceptionError):
    """The file cannot be written: the disk is full, or another process writes it."""


class TensorEntry(NamedTuple):
    """Type (as safetensors names it) and shape of a tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Size in bytes."""
        size = _BYTES[self.dtype]
        for side in self.shape:
            size *= side
        return size


class ResumableWriter:
    """Context manager that writes one file; an exception keeps what was marked as done."""

    def __init__(
        self,
        path: Path,
        entries: Mapping[str, TensorEntry],
        metadata: Mapping[str, str],
        source: str,
    ) -> None:
        """Compute the file's layout.

        Args:
            path: of the complete file.
            entries: all tensors, in the order of the file.
            metadata: strings in the file's header.
            source: identifies the content. An unfinished file of another source is discarded.
        """
        self.path = path
        self._header, self._offsets = _layout(entries, metadata)
        self._entries = dict(entries)
        self._part = path.with_name(path.name + ".part")
        self._journal = path.with_name(path.name + ".part.json")
        self._identity = hashlib.sha256(self._header + source.encode()).hexdigest()
        self._unsaved = 0
        self.done: set[str] = set()

    @property
    def size(self) -> int:
        """Size of the complete file in bytes."""
        return len(self._header) + sum(entry.size for entry in self._entries.values())

    def __enter__(self) -> "ResumableWriter":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._part.touch()
        self._file = self._part.open("r+b")
        try:
            self._prepare()
        except BaseException:
            self._file.close()
            raise
        return self

    def _prepare(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ResumableWriteError(
                f"{self._part} is being written by another process. Wait until it has finished, "
                "or use another file name."
            ) from error
        self.done = self._read_journal()
        if not self.done:
            self._file.truncate(0)
        free = shutil.disk_usage(self.path.parent).free
        missing = self.size - os.fstat(self._file.fileno()).st_blocks * 512
        if missing > free:
            raise ResumableWriteError(
                f"{self.path} needs {missing / 1e9:.2f} GB more; {free / 1e9:.2f} GB are free on "
                "that disk. Free some space, or use another disk."
            )
        self._file.truncate(self.size)
        self._file.seek(0)
        self._file.write(self._header)

    def _read_journal(self) -> set[str]:
        try:
            journal: dict[str, Any] = json.loads(self._journal.read_text())
        except (OSError, ValueError):
            return set()
        same_size = os.fstat(self._file.fileno()).st_size == self.size
        same = same_size and journal["identity"] == self._identity
        return set(journal["done"]) if same else set()

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Write the bytes of one tensor; ValueError if their number is wrong."""
        if len(data) != self._entries[name].size:
            raise ValueError(f"{name} has {len(data)} bytes, not {self._entries[name].size}")
        self._file.seek(self._offsets[name])
        self._file.write(data)
        self._unsaved += len(data)

    def mark_done(self, unit: str) -> None:
        """Record that ``unit`` is written and can be skipped when the write is resumed."""
        self.done.add(unit)
        if self._unsaved >= _SYNC_EVERY:
            self._save()

    def _save(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())  # data before the journal, which must not run ahead of it
        self._unsaved = 0
        text = json.dumps({"identity": self._identity, "done": sorted(self.done)})
        unfinished = self._journal.with_name(self._journal.name + ".new")
        unfinished.write_text(text)
        unfinished.replace(self._journal)

    def finish(self) -> None:
        """Rename the complete file to its final name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._part.replace(self.path)
        self._journal.unlink(missing_ok=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and self.done:
            self._save()
        self._file.close()  # which also releases the lock


def _layout(
    entries: Mapping[str, TensorEntry], metadata: Mapping[str, str]
) -> tuple[bytes, dict[str, int]]:
    table: dict[str, Any] = {"__metadata__": dict(metadata)}
    offsets, position = {}, 0
    for name, entry in entries.items():
        offsets[name] = position
        ends = [position, position + entry.size]
        table[name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": ends}
        position = ends[1]
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors are aligned to 8 bytes
    header = struct.pack("<Q", len(text)) + text
    return header, {name: len(header) + offset for name, offset in offsets.items()}


class SafetensorsFile:
    """Reads the raw bytes of a safetensors file's tensors."""

    def __init__(self, path: Path) -> None:
        """Read the header; ValueError, KeyError or OSError if the file is damaged."""
        self.path = path
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            table = json.loads(file.read(length))
        table.pop("__metadata__", None)
        self._data_start = 8 + length
        self._offsets = {name: each["data_offsets"] for name, each in table.items()}
        self.entries = {
            name: TensorEntry(each["dtype"], tuple(each["shape"])) for name, each in table.items()
        }
        unsupported = sorted({entry.dtype for entry in self.entries.values()} - _BYTES.keys())
        if unsupported:
            raise ValueError(f"it contains tensors of type {', '.join(unsupported)}")
        end = max((ends[1] for ends in self._offsets.values()), default=0)
        if path.stat().st_size != self._data_start + end:
            raise ValueError(f"it has {path.stat().st_size} bytes, not {self._data_start + end}")

    def read(self, name: str) -> bytes:
        """The bytes of one tensor."""
        start, end = self._offsets[name]
        with self.path.open("rb") as file:
            file.seek(self._data_start + start)
            return file.read(end - start)
