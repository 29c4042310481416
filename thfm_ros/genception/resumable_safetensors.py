"""Write a large safetensors file piece by piece, so that an interrupted writer can go on.

The pieces go to ``FILE.part``, and what is safely on the disk is noted in ``FILE.part.json``.
Only a complete file gets its name. Knows neither torch nor what the tensors mean.
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
"""Bytes between two waits for the disk: what a power cut may cost. An exception costs nothing."""


class PartFileError(PerceptionError):
    """The file cannot be written here; the text says what is in the way."""


class Entry(NamedTuple):
    """One tensor to come: its type as safetensors names it, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        count = _BYTES[self.dtype]
        for side in self.shape:
            count *= side
        return count


class PartFile:
    """A context: on leaving it early, what was noted as done stays for the next attempt."""

    def __init__(
        self, path: Path, entries: Mapping[str, Entry], metadata: Mapping[str, str], source: str
    ) -> None:
        """Lay the file out.

        Args:
            path: where the complete file will be.
            entries: every tensor, in the order of the file.
            metadata: texts in the file's header.
            source: tells one content from another; another source begins from nothing.
        """
        self.path = path
        self._header, self._places = _layout(entries, metadata)
        self._entries = dict(entries)
        self._part = path.with_name(path.name + ".part")
        self._journal = path.with_name(path.name + ".part.json")
        self._identity = hashlib.sha256(self._header + source.encode()).hexdigest()
        self._unsaved = 0
        self.done: set[str] = set()

    @property
    def size(self) -> int:
        """Bytes of the complete file."""
        return len(self._header) + sum(entry.size for entry in self._entries.values())

    def __enter__(self) -> "PartFile":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._part.touch()
        self._file = self._part.open("r+b")
        try:
            self._begin()
        except BaseException:
            self._file.close()
            raise
        return self

    def _begin(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise PartFileError(
                f"{self._part} is being written by another process. Wait for it to end, or give "
                "another file name."
            ) from error
        self.done = self._noted()
        if not self.done:
            self._file.truncate(0)
        free = shutil.disk_usage(self.path.parent).free
        missing = self.size - os.fstat(self._file.fileno()).st_blocks * 512
        if missing > free:
            raise PartFileError(
                f"{self.path} needs {missing / 1e9:.2f} GB more; {free / 1e9:.2f} GB are free on "
                "that disk. Free some, or write to another one."
            )
        self._file.truncate(self.size)
        self._file.seek(0)
        self._file.write(self._header)

    def _noted(self) -> set[str]:
        try:
            journal: dict[str, Any] = json.loads(self._journal.read_text())
        except (OSError, ValueError):
            return set()
        whole = os.fstat(self._file.fileno()).st_size == self.size
        return set(journal["done"]) if whole and journal["identity"] == self._identity else set()

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Put one tensor in its place."""
        if len(data) != self._entries[name].size:
            raise ValueError(f"{name} has {len(data)} bytes, not {self._entries[name].size}")
        self._file.seek(self._places[name])
        self._file.write(data)
        self._unsaved += len(data)

    def note(self, unit: str) -> None:
        """``unit`` is written and need not be written again."""
        self.done.add(unit)
        if self._unsaved >= _SYNC_EVERY:
            self._save()

    def _save(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())  # the data first: the journal must not promise too much
        self._unsaved = 0
        text = json.dumps({"identity": self._identity, "done": sorted(self.done)})
        unfinished = self._journal.with_name(self._journal.name + ".new")
        unfinished.write_text(text)
        unfinished.replace(self._journal)

    def finish(self) -> None:
        """Give the complete file its name."""
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
        self._file.close()  # which also lets go of the lock


def _layout(
    entries: Mapping[str, Entry], metadata: Mapping[str, str]
) -> tuple[bytes, dict[str, int]]:
    table: dict[str, Any] = {"__metadata__": dict(metadata)}
    offsets, position = {}, 0
    for name, entry in entries.items():
        offsets[name] = position
        ends = [position, position + entry.size]
        table[name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": ends}
        position = ends[1]
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight
    header = struct.pack("<Q", len(text)) + text
    return header, {name: len(header) + offset for name, offset in offsets.items()}


class StoredFile:
    """A safetensors file to copy from: raw bytes, whatever their type."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            table = json.loads(file.read(length))
        table.pop("__metadata__", None)
        self._data = 8 + length
        self._offsets = {name: each["data_offsets"] for name, each in table.items()}
        self.entries = {
            name: Entry(each["dtype"], tuple(each["shape"])) for name, each in table.items()
        }
        odd = sorted({entry.dtype for entry in self.entries.values()} - _BYTES.keys())
        if odd:
            raise ValueError(f"it holds numbers of type {', '.join(odd)}")
        end = max((ends[1] for ends in self._offsets.values()), default=0)
        if path.stat().st_size != self._data + end:
            raise ValueError(f"it has {path.stat().st_size} bytes, not {self._data + end}")

    def read(self, name: str) -> bytes:
        """The bytes of one tensor."""
        start, end = self._offsets[name]
        with self.path.open("rb") as file:
            file.seek(self._data + start)
            return file.read(end - start)
