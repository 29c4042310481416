# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Write a .npz file whose arrays grow row by row and need not fit into memory.

Rows are appended to one compressed temporary file per array, in the folder of the result; at the
end each becomes a member of the zip file. Dense maps of people are mostly empty: 8 MB per frame
of 768x576 compress to some 50 kB, so a long video needs little disk space, too.
"""

import contextlib
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

_CHUNK_BYTES = 1 << 20


class NpzWriter:
    """Collects arrays row by row and writes ``path`` on `close`; until then it does not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = Path(tempfile.mkdtemp(prefix=f".{path.stem}-", dir=path.parent))
        self._arrays: dict[str, _GrowingArray] = {}

    def append(self, name: str, row: npt.NDArray[np.generic]) -> None:
        """Append one row to the array ``name``.

        Raises:
            ValueError: its shape or type is not that of the rows before.
        """
        if name not in self._arrays:
            self._arrays[name] = _GrowingArray(self._folder / f"{name}.z", row)
        self._arrays[name].append(row)

    def close(self, **whole: npt.NDArray[np.generic]) -> None:
        """Write the file with all growing arrays and the arrays ``whole``.

        The temporary files are removed, after an error as well.
        """
        new = self._folder / "result.npz"
        try:
            with zipfile.ZipFile(new, "w") as archive:
                for name, growing in self._arrays.items():
                    with archive.open(_member(name), "w", force_zip64=True) as member:
                        growing.copy_to(member)
                for name, array in whole.items():
                    with archive.open(_member(name), "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.ascontiguousarray(array))
            new.replace(self._path)
        finally:  # temporary files must not keep a full disk full
            self.abandon()

    def abandon(self) -> None:
        """Remove the temporary files and write nothing."""
        for growing in self._arrays.values():
            growing.release()
        self._arrays.clear()
        shutil.rmtree(self._folder, ignore_errors=True)


def _member(name: str) -> zipfile.ZipInfo:
    """A member of the zip file without the present time: the same arrays give the same bytes."""
    member: Any = zipfile.ZipInfo(f"{name}.npy")
    member.compress_type = zipfile.ZIP_DEFLATED
    member._compresslevel = 1
    return member  # type: ignore[no-any-return]


class _GrowingArray:
    """One growing array, compressed on disk."""

    def __init__(self, path: Path, row: npt.NDArray[np.generic]) -> None:
        self._path, self._shape, self._dtype = path, row.shape, row.dtype
        self._file = path.open("wb")
        self._zip = zlib.compressobj(1)
        self._rows = 0

    def append(self, row: npt.NDArray[np.generic]) -> None:
        if (row.shape, row.dtype) != (self._shape, self._dtype):
            raise ValueError(
                f"{self._path.stem}: a row of {row.dtype} {row.shape} after rows of "
                f"{self._dtype} {self._shape}"
            )
        self._file.write(self._zip.compress(np.ascontiguousarray(row).data))
        self._rows += 1

    def copy_to(self, member: IO[bytes]) -> None:
        """Write the whole array in numpy's file format."""
        self._file.write(self._zip.flush())
        self._file.close()
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._rows, *self._shape),
        }
        np.lib.format.write_array_header_1_0(member, header)
        unzip = zlib.decompressobj()
        with self._path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                # Empty maps decompress to a thousand times their size: limit the memory.
                while chunk:
                    member.write(unzip.decompress(chunk, 16 * _CHUNK_BYTES))
                    chunk = unzip.unconsumed_tail
            member.write(unzip.flush())

    def release(self) -> None:
        """Close the file, finished or not."""
        with contextlib.suppress(OSError):  # a full disk, which was already reported
            self._file.close()
