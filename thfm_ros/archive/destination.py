# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Where the results of an archive go: a folder, or a folder in remote storage such as s3://.

The driver of a run and its workers write into local folders. In remote storage, where nothing can
be renamed, objects become visible whole, and a unit is done when its outcome is there, which is
uploaded last.
"""

import contextlib
import fcntl
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from thfm_ros.archive.storage import address_of, file_system, is_in_memory, is_remote
from thfm_ros.contract import PerceptionError
from thfm_ros.media.errors import shown

UNITS, OUTCOME, MANIFEST = "units", "outcome.json", "manifest.parquet"
TEMPORARY = ".unit-"
_REQUESTS_AT_ONCE = 16


class Destination(Protocol):
    """A folder of results; it can be pickled, since each worker has one."""

    def opened(self) -> contextlib.AbstractContextManager[Path]:
        """The local folder in which the driver of a run reads and writes.

        Raises:
            PerceptionError: another run works there.
            OSError: it cannot be written to.
        """

    def fetch(self, folder: Path, names: Sequence[str]) -> None:
        """Get those of the files that exist into the driver's folder.

        Raises:
            PerceptionError: the storage cannot be read.
        """

    def publish(self, folder: Path, name: str) -> None:
        """Show a file of the driver's folder to others.

        Raises:
            PerceptionError: the storage cannot be written to.
        """

    def check_shared(self) -> None:
        """Refuse work whose results the driver would never see; called by a worker.

        Raises:
            PerceptionError: the manifest, which the driver writes first, is not there.
        """

    def unit_folder(self, key: str) -> Path:
        """A path at which a worker may make the folder of a unit."""

    def publish_unit(self, folder: Path, key: str) -> None:
        """Give a unit's folder its name, and remove the one at the worker's path.

        Raises:
            PerceptionError, OSError: it cannot be written.
        """


def destination_of(text: str) -> "LocalDestination | RemoteDestination":
    """The destination that a path or an address names.

    Raises:
        PerceptionError: the storage is not known, or other processes cannot see it.
    """
    if not is_remote(text):
        return LocalDestination(Path(text).absolute())
    if is_in_memory(text):
        raise PerceptionError(
            f"--out {text} is in the memory of this process, and workers are processes of their "
            "own, so all results would be lost. Give a folder, or the address of a storage that "
            "all workers reach: --out people, or --out s3://BUCKET/people."
        )
    uri, local = address_of(text)
    return LocalDestination(Path(local)) if local else RemoteDestination(uri)


@dataclass(frozen=True)
class LocalDestination:
    """A folder of this machine, or of one that all machines share."""

    folder: Path

    def __str__(self) -> str:
        return shown(self.folder)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Path]:
        """The folder itself; the lock of a run ends with its process, however that ends."""
        (self.folder / UNITS).mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise PerceptionError(
                    f"Another thfm archive works in {self}: wait for it, or give another --out."
                ) from error
            for unfinished in (self.folder / UNITS).glob(f"{TEMPORARY}*"):  # of a killed run
                shutil.rmtree(unfinished, ignore_errors=True)
            yield self.folder

    def fetch(self, folder: Path, names: Sequence[str]) -> None:
        """Nothing to do."""

    def publish(self, folder: Path, name: str) -> None:
        """Nothing to do."""

    def check_shared(self) -> None:
        """Look for the manifest."""
        if not (self.folder / MANIFEST).exists():
            raise _not_shared(self)

    def unit_folder(self, key: str) -> Path:
        """Beside the final one, so that it can be renamed.

        Containers of a cluster may have the same ids of processes, but not the same names.
        """
        return self.folder / UNITS / f"{TEMPORARY}{key}-{platform.node()}-{os.getpid()}"

    def publish_unit(self, folder: Path, key: str) -> None:
        """Rename the folder."""
        final = self.folder / UNITS / key
        try:
            folder.replace(final)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            if not final.is_dir():  # otherwise another worker was first, with the same results
                raise


@dataclass(frozen=True)
class RemoteDestination:
    """A folder in a storage that fsspec knows, by its address."""

    uri: str

    def __str__(self) -> str:
        return self.uri

    @contextlib.contextmanager
    def opened(self) -> Iterator[Path]:
        """A temporary folder. There is no lock: one that a killed run left would stay for ever."""
        with tempfile.TemporaryDirectory(prefix="thfm-archive-") as name:
            (Path(name) / UNITS).mkdir()
            yield Path(name)

    def fetch(self, folder: Path, names: Sequence[str]) -> None:
        """Download them, many at once: a storage answers after tens of milliseconds."""
        fs, root = file_system(self.uri)

        def get(name: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                data = fs.cat_file(f"{root}/{name}")
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(data)

        try:
            with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as executor:
                list(executor.map(get, names))
        except Exception as error:  # any: each storage has errors of its own
            raise PerceptionError(f"{self.uri} cannot be read: {_reason(error)}") from error

    def publish(self, folder: Path, name: str) -> None:
        """Upload it."""
        fs, root = file_system(self.uri)
        try:
            fs.put_file(str(folder / name), f"{root}/{name}")
        except Exception as error:  # any: each storage has errors of its own
            raise PerceptionError(
                f"{self.uri}/{name} cannot be written: {_reason(error)}"
            ) from error

    def check_shared(self) -> None:
        """Look for the manifest."""
        fs, root = file_system(self.uri)
        try:
            shared = bool(fs.exists(f"{root}/{MANIFEST}"))
        except Exception as error:  # any: each storage has errors of its own
            raise PerceptionError(f"{self.uri} cannot be read: {_reason(error)}") from error
        if not shared:
            raise _not_shared(self)

    def unit_folder(self, key: str) -> Path:
        """In the temporary folder of the worker's machine."""
        return Path(tempfile.gettempdir()) / f"thfm-archive{TEMPORARY}{key}-{os.getpid()}"

    def publish_unit(self, folder: Path, key: str) -> None:
        """Upload the files, the outcome last: without it the unit is done anew."""
        with tempfile.TemporaryDirectory(prefix="thfm-archive-") as name:
            staged = Path(name) / UNITS / key
            staged.parent.mkdir()
            shutil.move(folder, staged)
            files = [each for each in staged.rglob("*") if each.is_file()]
            for file in sorted(files, key=lambda each: (each == staged / OUTCOME, each)):
                self.publish(Path(name), str(file.relative_to(name)))


def _not_shared(out: Destination) -> PerceptionError:
    return PerceptionError(
        f"The worker on {platform.node()} does not see {out}/{MANIFEST}, which the driver has "
        "written, so its results would be lost: give an --out that the machines of all workers "
        "share, a folder on a shared file system or an address such as s3://BUCKET/people."
    )


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
