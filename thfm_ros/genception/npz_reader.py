# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Reads the arrays of an `.npz` slice by slice, so that an array of 800 MB is never in memory."""

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

import numpy as np
from numpy.lib import format as npy

from thfm_ros.genception.config import GenceptionError

Array: TypeAlias = np.ndarray[Any, Any]


class ArrayReader(Protocol):
    """Arrays by key, from a file or from memory."""

    name: str
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, np.dtype[Any]]

    def read(self, key: str, *, stacked: bool) -> Iterator[Array]:
        """Yield the slices along the leading axis if ``stacked``, else the whole array.

        The memory of a yielded array may be reused for the next one.
        """


class NpzReader:
    """An `.npz` file, compressed or not. The checksum of each array that is read is verified."""

    def __init__(self, path: Path) -> None:
        """Read the headers of all arrays; GenceptionError if the file is damaged."""
        self.name = path.name
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, np.dtype[Any]] = {}
        try:
            self._zip = zipfile.ZipFile(path)
            for member in self._zip.namelist():
                with self._zip.open(member) as file:
                    shape, _, dtype = _header(file)
                key = member.removesuffix(".npy")
                self.shapes[key], self.dtypes[key] = shape, dtype
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise GenceptionError(
                f"{path} cannot be read as .npz: {error}. If the download is incomplete, finish it."
            ) from error

    def read(self, key: str, *, stacked: bool) -> Iterator[Array]:
        """See `ArrayReader`. A wrong checksum raises GenceptionError after the last slice."""
        try:
            with self._zip.open(key + ".npy") as file:
                yield from _slices(file, stacked)
                file.read()  # zipfile verifies the checksum at the end of the member
        except (EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise GenceptionError(
                f"{self.name} is damaged in {key} ({error}). Download it again."
            ) from error

    def checksums(self) -> list[tuple[str, int, int]]:
        """Name, size and CRC-32 of each member: identifies the content without reading it."""
        return [(m.filename, m.file_size, m.CRC) for m in self._zip.infolist()]

    def close(self) -> None:
        """Close the file."""
        self._zip.close()


class MappingReader:
    """Arrays of a mapping, which may hold them in memory or load them on access."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self.name = "the mapping"
        self._arrays = arrays
        # Weights only: the mapping may contain other entries, which need not be arrays.
        weights = {key: np.asarray(arrays[key]) for key in arrays if key.endswith(".value")}
        self.shapes = {key: array.shape for key, array in weights.items()}
        self.dtypes = {key: array.dtype for key, array in weights.items()}

    def read(self, key: str, *, stacked: bool) -> Iterator[Array]:
        """See `ArrayReader`."""
        array = np.ascontiguousarray(self._arrays[key]).reshape(self.shapes[key])
        yield from array if stacked else [array]


@contextmanager
def open_arrays(source: str | Path | Mapping[str, Any]) -> Iterator[ArrayReader]:
    """A reader of an `.npz` file or of a mapping of arrays; GenceptionError if it is damaged."""
    if isinstance(source, Mapping):
        yield MappingReader(source)
        return
    reader = NpzReader(Path(source))
    try:
        yield reader
    finally:
        reader.close()


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = npy.read_array_header_1_0(file)
    else:
        shape, fortran, dtype = npy.read_array_header_2_0(file)
    if dtype.hasobject:
        raise ValueError("it contains Python objects, which could execute code")
    return shape, fortran, dtype


def _slices(file: IO[bytes], stacked: bool) -> Iterator[Array]:
    shape, fortran, dtype = _header(file)
    if fortran and len(shape) > 1:  # column-major: slices are not contiguous in the file
        array = _read(file, shape[::-1], dtype).T
        yield from array if stacked else [array]
    elif stacked:
        for _ in range(shape[0]):
            yield _read(file, shape[1:], dtype)
    else:
        yield _read(file, shape, dtype)


def _read(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    buffer = bytearray(math.prod(shape) * dtype.itemsize)
    view, filled = memoryview(buffer), 0
    while filled < len(buffer):
        count = file.readinto(view[filled:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError(f"{len(buffer) - filled} bytes are missing")
        filled += count
    return np.frombuffer(buffer, dtype).reshape(shape)
