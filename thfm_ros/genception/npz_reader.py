"""Read arrays out of an `.npz` piece by piece, so that no array of 800 MB is ever held whole."""

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


class ArrayStore(Protocol):
    """Arrays by their keys, wherever they are."""

    name: str
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, np.dtype[Any]]

    def read(self, key: str, *, stacked: bool) -> Iterator[Array]:
        """Yield the arrays along the leading axis or, if it is not ``stacked``, the only one.

        What is yielded may be overwritten by the next step.
        """


class NpzStore:
    """An `.npz` on the disk, compressed or not. Every byte that is read to the end is checked."""

    def __init__(self, path: Path) -> None:
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
                f"{path} cannot be read as .npz: {error}. If the download was cut short, finish it."
            ) from error

    def read(self, key: str, *, stacked: bool) -> Iterator[Array]:
        """See `ArrayStore`; a damaged byte raises GenceptionError, at the last array of its key."""
        try:
            with self._zip.open(key + ".npy") as file:
                yield from _pieces(file, stacked)
                file.read()  # the end of the member is where zipfile compares the checksum
        except (EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise GenceptionError(
                f"{self.name} is damaged in {key} ({error}). Download it again."
            ) from error

    def checksums(self) -> list[tuple[str, int, int]]:
        """Name, size and CRC-32 of each member: what tells one file from another in no time."""
        return [(m.filename, m.file_size, m.CRC) for m in self._zip.infolist()]

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()


class MappingStore:
    """Arrays that are in memory already, or that a mapping fetches one by one."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self.name = "the mapping"
        self._arrays = arrays
        # Weights only: a mapping may hold anything else beside them.
        mine = {key: np.asarray(arrays[key]) for key in arrays if key.endswith(".value")}
        self.shapes = {key: array.shape for key, array in mine.items()}
        self.dtypes = {key: array.dtype for key, array in mine.items()}

    def read(self, key: str, *, stacked: bool) -> Iterator[Array]:
        """See `ArrayStore`."""
        array = np.ascontiguousarray(self._arrays[key]).reshape(self.shapes[key])
        yield from array if stacked else [array]


@contextmanager
def open_arrays(source: str | Path | Mapping[str, Any]) -> Iterator[ArrayStore]:
    """A path to an `.npz`, or a mapping of arrays."""
    if isinstance(source, Mapping):
        yield MappingStore(source)
        return
    store = NpzStore(Path(source))
    try:
        yield store
    finally:
        store.close()


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = npy.read_array_header_1_0(file)
    else:
        shape, fortran, dtype = npy.read_array_header_2_0(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which could be programs")
    return shape, fortran, dtype


def _pieces(file: IO[bytes], stacked: bool) -> Iterator[Array]:
    shape, fortran, dtype = _header(file)
    if fortran and len(shape) > 1:  # columns first: there are no slices to stream
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
        got = file.readinto(view[filled:])  # type: ignore[attr-defined]
        if not got:
            raise EOFError(f"{len(buffer) - filled} bytes are missing")
        filled += got
    return np.frombuffer(buffer, dtype).reshape(shape)
