# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Opening of bags, and what to say and do about those that cannot be read."""

from pathlib import Path
from typing import Any

from thfm_ros.contract import PerceptionError
from thfm_ros.media.errors import shown
from thfm_ros.media.images import is_image_name

_FILES = (".mcap", ".db3", ".bag")
_RECORDED = (".mcap", ".db3")  # in a folder of their own, by rosbag2
_NAMED = 3
_ZSTD = (".zstd", ".zst")


class BagError(PerceptionError):
    """A bag that cannot be read; the text says which and why, and what to do."""


def is_bag(path: Path) -> bool:
    """Whether a path looks like a bag: by its suffix, or by what lies in the folder."""
    if path.is_dir():
        if (path / "metadata.yaml").exists():
            return True
        found = _bags_in(path)
        is_of_images = any(is_image_name(each) for each in path.iterdir())
        return any(each.is_file() for each in found) or (bool(found) and not is_of_images)
    plain = path.with_suffix("") if path.suffix in _ZSTD else path
    return plain.suffix in _FILES


def _bags_in(folder: Path) -> list[Path]:
    """The files of bags in a folder, and the folders of bags."""
    return sorted(
        each
        for each in folder.iterdir()
        if each.suffix in _FILES or (each / "metadata.yaml").exists()
    )


def open_reader(path: Path, is_ros1: bool) -> Any:
    """An open reader of the library."""
    if not path.exists():
        raise BagError(f"There is no {shown(path)}.")
    if path.suffix in _ZSTD:
        raise BagError(
            f"{shown(path)} is a compressed file of a bag: give the bag's folder, which has a "
            f"metadata.yaml, or decompress it first: zstd -d {path.name}"
        )
    if path.is_dir() and not (path / "metadata.yaml").exists():
        path = _only_bag_in(path)
    if path.is_file() and path.stat().st_size == 0:
        raise BagError(f"{shown(path)} is empty (0 bytes): nothing was recorded.")
    kind = _reader_class(is_ros1)
    try:
        reader = kind(path)
        reader.open()
    except Exception as error:  # any: the library meets damaged data with many kinds
        raise damaged(path, error) from error
    return reader


def _only_bag_in(folder: Path) -> Path:
    found = _bags_in(folder)
    if len(found) != 1 or found[0].suffix not in _RECORDED:
        named = ", ".join(shown(Path(each.name)) for each in found[:_NAMED])
        more = ", ..." if found[_NAMED:] else ""
        raise BagError(
            f"{shown(folder)} has no metadata.yaml, but {len(found)} bags or files of bags "
            f"({named}{more}): give one of them, or all: thfm archive {folder.name} --out people. "
            "If they are the parts of one recording that was not finished: "
            f"ros2 bag reindex {folder.name}"
        )
    return found[0]


def _reader_class(is_ros1: bool) -> Any:
    try:
        if is_ros1:
            from rosbags.rosbag1 import Reader as Reader1

            return Reader1
        from rosbags.rosbag2 import Reader as Reader2

        return Reader2
    except ImportError as error:
        raise BagError(
            f"Bags are read by rosbags, which cannot be imported ({error}): "
            "pip install 'thfm_ros[archive]'"
        ) from error


def damaged(path: Path, error: Exception) -> BagError:
    """The error to raise for one of the library, with what to do about it."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, FileNotFoundError):
        return BagError(f"{shown(path)} cannot be read: {error.strerror}.")
    reason = str(error) or type(error).__name__
    cure = "record it anew, or copy it again if it was copied"
    mcap_files = sorted(path.glob("*.mcap")) if path.is_dir() else [path]
    if mcap_files and mcap_files[-1].suffix == ".mcap":
        # The last file of a recording is the one that was not closed.
        cure = f"save what is in it: mcap recover {mcap_files[-1].name} -o recovered.mcap"
    elif path.suffix == ".bag":
        cure = f"save what is in it: rosbag reindex {path.name}"
    elif path.is_dir():
        cure = f"make its index anew: ros2 bag reindex {path.name}"
    return BagError(
        f"{shown(path)} is damaged or was not closed by the recorder ({reason.rstrip('.')}): {cure}"
    )
