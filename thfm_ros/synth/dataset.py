# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Shards on disk: clips with all their labels in one checksummed file.

A shard is an .npz. Small arrays are stored as they are; maps are stored image by image as PNG
(lossless) or, for ``rgb``, as JPEG, so that thousands of clips fit on a laptop. ``about`` is a JSON
text with the format, the options of the data set and a SHA-256 of everything else.
"""

import hashlib
import json
import logging
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from thfm_ros.contract import PerceptionError

logger = logging.getLogger(__name__)
FORMAT = 2
"""Raised when arrays change their names or meaning; 2 renamed ``surface`` to ``dense_pose_uv``."""
JPEG_QUALITY = 95
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 3, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_FILTERED]

# Maps that the image codec stores as 16-bit words; all others are bytes.
_WORDS = ("depth_m", "flow", "depth_flow_m")
MAPS = ("rgb", "depth_m", "normals", "parts", "instances", "dense_pose_uv", "flow", "depth_flow_m")
_TYPES = {
    "rgb": np.uint8, "depth_m": np.float16, "normals": np.int8, "parts": np.uint8,
    "instances": np.uint8, "dense_pose_uv": np.int8, "flow": np.float16, "depth_flow_m": np.float16,
}  # fmt: skip


class ShardError(PerceptionError):
    """A shard is damaged, has another format, or cannot be written."""


class FormatError(ShardError):
    """A shard was written by a version with another format."""


def write_shard(
    path: Path, arrays: dict[str, np.ndarray], about: dict[str, Any], *, store: str = "small"
) -> None:
    """Write a shard atomically.

    Args:
        path: ends in .npz; its folder must exist.
        arrays: the arrays of the shard format, [n, ...] each.
        about: entries of the header besides format, array names and checksum.
        store: "small": rgb as JPEG, other maps as PNG (34 kB per 128-pixel frame); "lossless": all
            as PNG; "plain": bare arrays, which ``np.load`` reads too (213 kB).

    Raises:
        ShardError: the disk is full or the folder cannot be written.
    """
    stored: dict[str, np.ndarray] = {}
    for name, values in arrays.items():
        if name in MAPS and store != "plain":
            codes = [_encoded(name, image, store == "lossless") for image in values]
            stored[f"{name}.codes"] = np.concatenate(codes)
            stored[f"{name}.ends"] = np.cumsum([len(code) for code in codes]).astype(np.int64)
        else:
            stored[name] = values
    header = {**about, "format": FORMAT, "shards_of": list(arrays), "sha256": _checksum(stored)}
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            np.savez(file, about=np.array(json.dumps(header)), **stored)  # type: ignore[arg-type]
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise ShardError(
            f"{path} cannot be written ({error.strerror or error}). Free some space or choose "
            "another --out; finished shards are kept, and the same command continues after them."
        ) from error


def read_about(path: Path) -> dict[str, Any]:
    """Read the header of a shard.

    Raises:
        FormatError: it has another format.
        ShardError: it is damaged or no shard.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            about: dict[str, Any] = json.loads(str(archive["about"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ShardError(
            f"{path} is damaged or no shard ({error}). Delete it and render again."
        ) from error
    if about.get("format") != FORMAT:
        raise FormatError(
            f"{path} has format {about.get('format')}; this version reads format {FORMAT}. "
            "Render it again."
        )
    return about


def read_shard(path: Path, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """All arrays of a shard (or those in ``names``), verified and decoded.

    Raises:
        FormatError: it has another format.
        ShardError: it is damaged.
    """
    about = read_about(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            stored = {name: archive[name] for name in archive.files if name != "about"}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ShardError(f"{path} is damaged ({error}). Delete it and render again.") from error
    if _checksum(stored) != about["sha256"]:
        raise ShardError(f"{path} is damaged (checksum). Delete it and render again.")
    wanted = about["shards_of"] if names is None else names
    out = {}
    for name in wanted:
        if name in stored:
            out[name] = stored[name]
            continue
        codes, ends = stored[f"{name}.codes"], stored[f"{name}.ends"]
        starts = np.concatenate([[0], ends[:-1]])
        images = [_decoded(name, codes[a:b]) for a, b in zip(starts, ends, strict=True)]
        out[name] = np.stack(images)
    return out


def shard_paths(folder: Path) -> list[Path]:
    """Paths of the shards in a folder, sorted by name."""
    return sorted(folder.glob("*.npz"))


def read_shards(
    folder: Path, names: tuple[str, ...] | None = None
) -> Iterator[tuple[Path, dict[str, np.ndarray]]]:
    """Every readable shard of a folder; the others are skipped with a warning."""
    for path in shard_paths(folder):
        try:
            yield path, read_shard(path, names)
        except ShardError as error:
            logger.warning("Skipped a shard: %s", error)


def _checksum(stored: dict[str, np.ndarray]) -> str:
    total = hashlib.sha256()
    for name in sorted(stored):
        values = np.ascontiguousarray(stored[name])
        total.update(f"{name} {values.dtype.str} {values.shape}".encode())
        total.update(values.tobytes() if values.ndim == 0 else values.view(np.uint8).data)
    return total.hexdigest()


def _encoded(name: str, image: np.ndarray, lossless: bool) -> np.ndarray:
    if name == "rgb" and not lossless:
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        sampling = getattr(cv2, "IMWRITE_JPEG_SAMPLING_FACTOR", None)
        if sampling is not None:
            options += [sampling, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        ok, code = cv2.imencode(".jpg", image, options)
    else:
        ok, code = cv2.imencode(".png", _as_image(name, image), _PNG)
    if not ok:
        raise ShardError(f"an image of {name} could not be encoded")
    return np.asarray(code, np.uint8).ravel()


def _as_image(name: str, values: np.ndarray) -> np.ndarray:
    """A view that PNG can store. Signed bytes are offset by 128, so that they stay monotonic."""
    if name in _WORDS:
        words = np.ascontiguousarray(values.astype(np.float16)).view(np.uint16)
        if words.ndim == 2:
            return words
        return np.concatenate([words, np.zeros((*words.shape[:2], 1), np.uint16)], axis=2)
    if values.dtype == np.int8:
        return values.view(np.uint8) ^ 128
    return np.ascontiguousarray(values)


def _decoded(name: str, code: np.ndarray) -> np.ndarray:
    image = cv2.imdecode(code, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ShardError(f"an image of {name} could not be decoded")
    out: np.ndarray = image
    if name == "flow":
        out = np.ascontiguousarray(image[..., :2]).view(np.float16)
    elif name in _WORDS:
        out = image.view(np.float16)
    elif _TYPES[name] is np.int8:
        out = (image ^ 128).view(np.int8)
    return out
