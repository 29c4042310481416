"""A .npz of arrays that grow frame by frame and never fit into memory.

Frames are appended to one compressed temporary file per array, beside the result; at the end
each becomes a member of the zip file. Maps of people are mostly empty: 8 MB per frame of
768x576 shrink to some 50 kB, so a long video costs little disk as well.
"""

import contextlib
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

_PIECE = 1 << 20


class GrowingArchive:
    """Collects arrays row by row and writes ``path`` on `close`; nothing is there before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = Path(tempfile.mkdtemp(prefix=f".{path.stem}-", dir=path.parent))
        self._columns: dict[str, _Column] = {}

    def append(self, name: str, row: npt.NDArray[np.generic]) -> None:
        """Add one row to the array ``name``; all its rows have one shape and type."""
        if name not in self._columns:
            self._columns[name] = _Column(self._folder / f"{name}.z", row)
        self._columns[name].append(row)

    def close(self, **whole: npt.NDArray[np.generic]) -> None:
        """Write everything, and ``whole`` arrays beside it; then the temporary files go."""
        new = self._folder / "result.npz"
        try:
            with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                for name, column in self._columns.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        column.copy_to(member)
                for name, array in whole.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.ascontiguousarray(array))
            new.replace(self._path)
        finally:  # a full disk must not stay full of what nobody will read
            self.abandon()

    def abandon(self) -> None:
        """Remove the temporary files."""
        for column in self._columns.values():
            column.release()
        self._columns.clear()
        shutil.rmtree(self._folder, ignore_errors=True)


class _Column:
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
            while piece := file.read(_PIECE):
                # A piece of blank maps unpacks to a thousand times its size: in portions, then.
                while piece:
                    member.write(unzip.decompress(piece, 16 * _PIECE))
                    piece = unzip.unconsumed_tail
            member.write(unzip.flush())

    def release(self) -> None:
        """Close the file, whether it was finished or not."""
        with contextlib.suppress(OSError):  # of a full disk, which was told already
            self._file.close()
