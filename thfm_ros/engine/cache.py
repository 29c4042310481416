# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Cache of built engines on disk, found by what they were built from and verified on every use.

An entry is two files side by side, the artefact and a JSON manifest. Both are written under
a temporary name and renamed, the manifest last: a build that is killed at any moment leaves no
entry, only a temporary file that the next build of the same key removes. The cache is independent
of what an artefact is and how it is built.
"""

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from thfm_ros.engine.base import EngineError
from thfm_ros.engine.manifest import EngineKey, Manifest, manifest_from_json
from thfm_ros.user_folders import NoHomeError, cache_folder, expanded

log = logging.getLogger(__name__)

KEEP = 3
"""Entries kept per purpose (engine, checkpoint, profile): several installations may share a cache,
but engines of outdated weights must not fill the disk."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
_MIN_FREE_BYTES = 1 << 20


class CacheError(EngineError):
    """The cache cannot be used: disk full, read-only, or locked by another process for too long."""


def default_folder(cache_dir: str = "") -> Path:
    """``cache_dir`` if given, else the user's cache folder according to the XDG standard.

    Raises:
        CacheError: the user has no home folder.
    """
    try:
        return (expanded(cache_dir) if cache_dir else cache_folder()) / "engines"
    except NoHomeError as error:
        raise CacheError(f"{error}, or engine.cache_dir, so that engines are cached.") from error


def sha256_of(path: Path) -> str:
    """Checksum of a file, read in chunks: engines may be larger than the free memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


T = TypeVar("T")
Build = Callable[[Path], dict[str, str]]
"""Writes one artefact to the path it is given and returns notes for the manifest."""


class EngineCache:
    """One folder of artefacts, shared by any number of processes."""

    def __init__(self, folder: Path, *, lock_timeout_s: float = 3600.0) -> None:
        """The folder is created when the first engine is built."""
        self.folder = folder
        self._lock_timeout_s = lock_timeout_s

    def get(self, key: EngineKey, build: Build, *, needs_bytes: int = 0) -> Path:
        """Return the artefact for ``key``, building it if there is no valid one.

        Of several processes that need it at the same time one builds, the others wait for it.

        Raises:
            CacheError: not enough disk space (``needs_bytes`` is checked before the build), no
                permission, or another process has been building for longer than the time limit.
            Exception: any error of ``build``; there is no entry then.
        """
        if self.problem(key) is None:
            with contextlib.suppress(OSError):  # a cache that has become read-only
                os.utime(self._manifest(key.stem))  # last use, for _remove_oldest
            return self.path(key)
        with self._errors(), self._locked(key):
            found = self.find(key)
            if found is None:
                self._check_free_space(needs_bytes)
                found = self._build(key, build)
                self._remove_oldest(key)
            return found

    def load(
        self, key: EngineKey, build: Build, read: Callable[[Path], T], *, needs_bytes: int = 0
    ) -> T:
        """Read the artefact for ``key``; if it cannot be read, it is rebuilt once.

        Raises: see `get`; and any error of ``read`` for a rebuilt artefact.
        """
        path = self.get(key, build, needs_bytes=needs_bytes)
        try:
            return read(path)
        except Exception as error:
            log.warning("The cached engine %s does not load and is rebuilt: %s", path, error)
            with self._errors():
                self.remove(key.stem)
        return read(self.get(key, build, needs_bytes=needs_bytes))

    def find(self, key: EngineKey) -> Path | None:
        """Return the artefact of ``key`` if it exists and is valid; else log why it is not used."""
        problem = self.problem(key)
        if problem is None:
            return self.path(key)
        if self._manifest(key.stem).exists() or self.path(key).exists():
            log.warning("The cached engine %s is not used and rebuilt: %s", key.stem, problem)
        return None

    def of_other_device(self, key: EngineKey) -> Manifest | None:
        """An intact entry that differs from ``key`` in nothing but the device, if there is one."""
        for manifest in self.entries():
            is_equal = dataclasses.replace(manifest.key, device=key.device) == key
            if is_equal and self.problem(manifest.key) is None:
                return manifest
        return None

    def problem(self, key: EngineKey) -> str | None:
        """What is wrong with an entry; None if it is valid. Reads the whole artefact."""
        try:
            manifest = manifest_from_json(self._manifest(key.stem).read_text())
        except FileNotFoundError:
            return "its build was never finished"
        except (ValueError, OSError) as error:
            return f"its manifest cannot be read ({error})"
        if manifest.key != key:
            return "its manifest describes another engine"
        try:
            size = self.path(key).stat().st_size
            if size != manifest.bytes:
                return f"it has {size} bytes instead of {manifest.bytes}"
            if sha256_of(self.path(key)) != manifest.sha256:
                return "its checksum differs: the file is corrupted"
        except OSError as error:
            return f"its file cannot be read ({error})"
        return None

    def path(self, key: EngineKey) -> Path:
        """Path of the artefact of an entry, whether it exists or not."""
        return self.folder / key.file_name

    def entries(self) -> list[Manifest]:
        """All complete entries, newest first; unreadable manifests are left out."""
        found = []
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(ValueError, OSError):
                found.append(manifest_from_json(path.read_text()))
        return sorted(found, key=lambda manifest: manifest.created, reverse=True)

    def remove(self, stem: str) -> None:
        """Remove an entry, manifest first, so that no entry without its artefact is left."""
        self._manifest(stem).unlink(missing_ok=True)
        for path in self._files(stem):
            path.unlink(missing_ok=True)

    def clear(self) -> int:
        """Remove everything that is not being built at the moment; returns the bytes freed."""
        freed = 0
        for stem in {
            path.stem for kind in ("json", "lock") for path in self.folder.glob(f"*.{kind}")
        }:
            with self._errors(), self._lock(stem).open("w") as file:
                if _try_lock(file.fileno()):
                    freed += sum(path.stat().st_size for path in self._files(stem))
                    self.remove(stem)
        return freed

    def _manifest(self, stem: str) -> Path:
        return self.folder / f"{stem}.json"

    def _lock(self, stem: str) -> Path:
        return self.folder / f"{stem}.lock"

    def _files(self, stem: str) -> list[Path]:
        return [path for path in self.folder.glob(f"{stem}.*") if path.suffix != ".lock"]

    def _build(self, key: EngineKey, build: Build) -> Path:
        self.remove(key.stem)  # also the temporary files of a build that was killed
        temporary = self.folder / f"{key.stem}.{os.getpid()}.tmp{self.path(key).suffix}"
        try:
            begin = time.monotonic()
            notes = build(temporary)
            manifest = Manifest(
                key=key,
                created=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                build_s=round(time.monotonic() - begin, 3),
                bytes=temporary.stat().st_size,
                sha256=sha256_of(temporary),
                notes=notes,
            )
            _rename_to_disk(temporary, self.path(key))
            temporary.write_text(manifest.to_json())
            _rename_to_disk(temporary, self._manifest(key.stem))
        finally:
            temporary.unlink(missing_ok=True)
        return self.path(key)

    def _remove_oldest(self, key: EngineKey) -> None:
        same = [
            path
            for path in self.folder.glob(f"{key.purpose}-*.json")
            if re.fullmatch(r"[0-9a-f]{16}", path.stem[len(key.purpose) + 1 :])
        ]
        same.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in same[KEEP:]:
            log.info("Removing the least recently used engine: %s", path.stem)
            self.remove(path.stem)

    def _check_free_space(self, needs_bytes: int) -> None:
        free = self._free()
        if free < needs_bytes:
            raise CacheError(
                f"An engine needs about {needs_bytes >> 20} MB in {self.folder}, "
                f"{free >> 20} MB are free. {_REMEDY}"
            )

    def _free(self) -> int:
        return shutil.disk_usage(self.folder).free

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Create the folder, and turn disk errors into CacheError."""
        has_folder = False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            has_folder = True
            yield
        except OSError as error:
            if error.errno in _DISK_FULL:
                raise CacheError(f"The disk of {self.folder} is full. {_REMEDY}") from error
            if error.errno in _NOT_WRITABLE or not has_folder:
                raise CacheError(f"{self.folder} cannot be written ({error}). {_REMEDY}") from error
            raise
        except Exception as error:
            # PyTorch's file writer reports a full disk as a bare RuntimeError.
            if not isinstance(error, EngineError) and self._free() < _MIN_FREE_BYTES:
                raise CacheError(f"The disk of {self.folder} is full. {_REMEDY}") from error
            raise

    @contextlib.contextmanager
    def _locked(self, key: EngineKey) -> Iterator[None]:
        # The kernel releases this lock when its process ends in any way: no stale locks.
        with self._lock(key.stem).open("w") as file:
            deadline = time.monotonic() + self._lock_timeout_s
            waited = False
            while not _try_lock(file.fileno()):
                if not waited:
                    log.info("Another process is building %s; waiting for it.", key.stem)
                    waited = True
                if time.monotonic() > deadline:
                    raise CacheError(
                        f"Another process has been building {key.stem} for more than "
                        f"{self._lock_timeout_s:.0f} s. End it, or set engine.cache_dir to "
                        "another folder."
                    )
                time.sleep(0.1)
            yield


_REMEDY = (
    "Free some space (`thfm engine clear`), or set engine.cache_dir to a folder on a larger or "
    "writable disk."
)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _rename_to_disk(source: Path, target: Path) -> None:
    # Without fsync a power failure may keep the new name and lose the content.
    with source.open("rb") as file:
        os.fsync(file.fileno())
    source.replace(target)
