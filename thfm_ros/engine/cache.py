"""Built engines on disk: found again by what they were built from, never trusted unchecked.

An entry is two files side by side, the artefact and a JSON manifest. Both are written under
another name and renamed, the manifest last: a build that is killed at any moment leaves no entry,
only a temporary file that the next build of the same key sweeps away. Nothing here knows what an
artefact is or how it is built.
"""

import contextlib
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

log = logging.getLogger(__name__)

KEEP = 3
"""Entries kept per purpose (engine, checkpoint, profile): two installations may share a cache,
but a robot's disk must not fill up with the engines of yesterday's weights."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NEARLY_FULL = 1 << 20


class CacheError(EngineError):
    """The cache folder cannot be used: full, read-only, or held by another process for too long."""


def default_folder(cache_dir: str = "") -> Path:
    """``cache_dir`` if given, else the user's cache folder as the XDG standard has it."""
    if cache_dir:
        return Path(cache_dir).expanduser() / "engines"
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return root / "thfm_ros" / "engines"


def sha256_of(path: Path) -> str:
    """Checksum of a file, in pieces: engines may be larger than what memory is free."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


T = TypeVar("T")
Build = Callable[[Path], dict[str, str]]
"""Writes one artefact to the path it is given and returns notes for the manifest."""


class EngineCache:
    """One folder of artefacts, shared by any number of processes."""

    def __init__(self, folder: Path, *, lock_timeout_s: float = 3600.0) -> None:
        """Nothing is created before something is built."""
        self.folder = folder
        self._lock_timeout_s = lock_timeout_s

    def get(self, key: EngineKey, build: Build, *, needs_bytes: int = 0) -> Path:
        """Return the artefact for ``key``, building it if there is no sound one.

        Of several processes that ask at once one builds, the others wait for it.

        Raises:
            CacheError: no room (``needs_bytes`` is checked before the work), no permission, or
                somebody else has been building for longer than the time limit.
            Exception: whatever ``build`` raised; then there is no entry.
        """
        if self.problem(key) is None:
            with contextlib.suppress(OSError):  # a folder that was filled and is now read-only
                os.utime(self._manifest(key.stem))  # "used last", for _forget_oldest
            return self.path(key)
        with self._errors(), self._locked(key):
            found = self.find(key)
            if found is None:
                self._check_room(needs_bytes)
                found = self._build(key, build)
                self._forget_oldest(key)
            return found

    def load(
        self, key: EngineKey, build: Build, read: Callable[[Path], T], *, needs_bytes: int = 0
    ) -> T:
        """Read the artefact for ``key``; one that cannot be read is built anew, once.

        Raises: see `get`; and whatever ``read`` raises about a new one.
        """
        path = self.get(key, build, needs_bytes=needs_bytes)
        try:
            return read(path)
        except Exception as error:
            log.warning("The cached engine %s does not load, it is built anew: %s", path, error)
            with self._errors():
                self.remove(key.stem)
        return read(self.get(key, build, needs_bytes=needs_bytes))

    def find(self, key: EngineKey) -> Path | None:
        """Return the artefact of ``key`` if it is there and sound; log why it is not used."""
        problem = self.problem(key)
        if problem is None:
            return self.path(key)
        if self._manifest(key.stem).exists() or self.path(key).exists():
            log.warning("Cached engine %s is not used and built anew: %s", key.stem, problem)
        return None

    def problem(self, key: EngineKey) -> str | None:
        """Say what is wrong with an entry; None when it is sound. Reads the whole artefact."""
        try:
            manifest = manifest_from_json(self._manifest(key.stem).read_text())
        except FileNotFoundError:
            return "it was never finished"
        except (ValueError, OSError) as error:
            return f"its manifest cannot be read ({error})"
        if manifest.key != key:
            return "its manifest describes another engine"
        try:
            size = self.path(key).stat().st_size
            if size != manifest.bytes:
                return f"it has {size} bytes instead of {manifest.bytes}"
            if sha256_of(self.path(key)) != manifest.sha256:
                return "its checksum differs, the file is damaged"
        except OSError as error:
            return f"its file cannot be read ({error})"
        return None

    def path(self, key: EngineKey) -> Path:
        """Where the artefact of an entry lies."""
        return self.folder / key.file_name

    def entries(self) -> list[Manifest]:
        """All finished entries, newest first; unreadable manifests are left out."""
        found = []
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(ValueError, OSError):
                found.append(manifest_from_json(path.read_text()))
        return sorted(found, key=lambda manifest: manifest.created, reverse=True)

    def remove(self, stem: str) -> None:
        """Remove an entry, manifest first: half an entry is none."""
        self._manifest(stem).unlink(missing_ok=True)
        for path in self._files(stem):
            path.unlink(missing_ok=True)

    def clear(self) -> int:
        """Remove everything that is not being built this moment; return the bytes freed."""
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
        self.remove(key.stem)  # also what an earlier build left behind when it was killed
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

    def _forget_oldest(self, key: EngineKey) -> None:
        same = [
            path
            for path in self.folder.glob(f"{key.purpose}-*.json")
            if re.fullmatch(r"[0-9a-f]{16}", path.stem[len(key.purpose) + 1 :])
        ]
        same.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in same[KEEP:]:
            log.info("Removing the engine that was not used for longest: %s", path.stem)
            self.remove(path.stem)

    def _check_room(self, needs_bytes: int) -> None:
        free = self._free()
        if free < needs_bytes:
            raise CacheError(
                f"An engine needs about {needs_bytes >> 20} MB in {self.folder}, "
                f"{free >> 20} MB are free. {_CURE}"
            )

    def _free(self) -> int:
        return shutil.disk_usage(self.folder).free

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise CacheError(f"The disk of {self.folder} is full. {_CURE}") from error
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
                raise CacheError(f"{self.folder} cannot be written ({error}). {_CURE}") from error
            raise
        except Exception as error:
            # PyTorch's file writer reports a full disk as a bare RuntimeError.
            if not isinstance(error, EngineError) and self._free() < _NEARLY_FULL:
                raise CacheError(f"The disk of {self.folder} is full. {_CURE}") from error
            raise

    @contextlib.contextmanager
    def _locked(self, key: EngineKey) -> Iterator[None]:
        # The kernel drops this lock when its process dies, however it dies: no stale locks.
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


_CURE = (
    "Free some room (`thfm engine clear`), or set engine.cache_dir to a folder on a larger or "
    "writable disk."
)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _rename_to_disk(source: Path, target: Path) -> None:
    # Without the fsync a power cut, which robots see often, may keep the name and lose the bytes.
    with source.open("rb") as file:
        os.fsync(file.fileno())
    source.replace(target)
