# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Bags in remote storage (s3:// and whatever else fsspec knows), and local copies of them."""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from thfm_ros.bags.opening import BagError, is_bag
from thfm_ros.contract import PerceptionError

_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class RemoteBag:
    """The address of a bag: of a file, or of a folder with a metadata.yaml."""

    uri: str


def is_remote(text: str) -> bool:
    """Whether an input is an address and no path."""
    return "://" in text


def remote_bags(text: str) -> list[RemoteBag]:
    """The bags at an address: one, all below a folder, or those of a glob.

    Raises:
        PerceptionError: the storage is not known, or cannot be read.
    """
    fs, path = file_system(text)
    fs.invalidate_cache()  # of listings
    try:
        roots = fs.glob(path) if any(each in path for each in "*?[") else [path]
        files = {str(each) for root in roots for each in _files(fs, root)}
    except Exception as error:  # any: each storage has errors of its own
        raise PerceptionError(f"{text} cannot be read: {error}") from error
    folders = {str(PurePosixPath(each).parent) for each in files if _is_metadata(each)}
    single = {
        each
        for each in files
        if str(PurePosixPath(each).parent) not in folders and is_bag(Path(PurePosixPath(each).name))
    }
    return [RemoteBag(fs.unstrip_protocol(each)) for each in sorted(folders | single)]


def identity_of(bag: Path | RemoteBag) -> str:
    """Hash of a bag by names, sizes, first and last bytes of its files, wherever it lies.

    Reading terabytes twice would cost more than it is worth.

    Raises:
        BagError: it cannot be read.
    """
    uri = bag.uri if isinstance(bag, RemoteBag) else f"file://{bag.absolute()}"
    fs, root = file_system(uri)
    digest = hashlib.sha256()
    try:
        for file in sorted(_files(fs, root)):
            size = int(fs.size(file))
            name = PurePosixPath(file).name if file == root else file[len(root) :].lstrip("/")
            digest.update(f"{name} {size}\n".encode(errors="surrogateescape"))
            if size:  # S3 has no range of nothing
                digest.update(fs.cat_file(file, start=0, end=min(size, _CHUNK_BYTES)))
                digest.update(fs.cat_file(file, start=max(0, size - _CHUNK_BYTES), end=size))
    except Exception as error:  # any: each storage has errors of its own
        raise BagError(f"{uri} cannot be read: {error or type(error).__name__}") from error
    return digest.hexdigest()


@contextlib.contextmanager
def local_copy(bag: Path | RemoteBag, limit_bytes: int) -> Iterator[Path]:
    """The bag's path; of a remote one a temporary copy, which is removed at the end.

    Raises:
        BagError: it is larger than the limit, or cannot be read.
    """
    if isinstance(bag, Path):
        yield bag
        return
    fs, root = file_system(bag.uri)
    with tempfile.TemporaryDirectory(prefix="thfm-archive-") as folder:
        target = Path(folder) / PurePosixPath(root).name
        try:
            files = _files(fs, root)
            size = sum(int(fs.size(file)) for file in files)
            if size <= limit_bytes:
                for file in files:
                    local = target if file == root else target / file[len(root) :].lstrip("/")
                    local.parent.mkdir(parents=True, exist_ok=True)
                    fs.get_file(file, str(local))
        except Exception as error:  # any: each storage has errors of its own
            raise BagError(
                f"{bag.uri} cannot be copied: {error or type(error).__name__}"
            ) from error
        if size > limit_bytes:
            raise BagError(
                f"{bag.uri} has {size / 2**30:.1f} GiB, and copies have at most "
                f"{limit_bytes / 2**30:.1f}: raise --scratch-gib, or split it."
            )
        try:
            yield target
        except BagError as error:  # say the address that was given, not where the copy was
            raise BagError(str(error).replace(str(target), bag.uri)) from error


def _files(fs: Any, root: str) -> list[str]:
    """All files below a path, without the empty objects by which consoles mark folders."""
    return [str(each) for each in fs.find(root) if not str(each).endswith("/")]


def _is_metadata(path: str) -> bool:
    return PurePosixPath(path).name == "metadata.yaml"


def address_of(text: str) -> tuple[str, str]:
    """An address in the one form in which addresses are compared, and its path if it is local.

    Raises:
        PerceptionError: the storage is not known.
    """
    fs, path = file_system(text)
    local = path if "file" in _protocols(fs) else ""
    return str(fs.unstrip_protocol(path)).rstrip("/"), local


def is_in_memory(text: str) -> bool:
    """Whether an address is in this process's memory, itself or behind a cache (a::memory://).

    Raises:
        PerceptionError: the storage is not known.
    """
    fs: Any = file_system(text)[0]
    while fs is not None:
        if "memory" in _protocols(fs):
            return True
        fs = getattr(fs, "fs", None)
    return False


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def file_system(uri: str) -> tuple[Any, str]:
    """fsspec's file system for an address, and the path in it.

    Raises:
        PerceptionError: the storage is not known, cannot be opened, or its package is missing.
    """
    try:
        import fsspec

        fs, path = fsspec.core.url_to_fs(uri)
        return fs, str(path)
    except ImportError as error:
        raise PerceptionError(
            f"{uri} needs a package that is missing ({error}): pip install 'thfm_ros[s3]', "
            "which has that for s3://."
        ) from error
    except Exception as error:  # an unknown protocol, or any of a storage's own
        raise PerceptionError(f"{uri}: {error or type(error).__name__}") from error
