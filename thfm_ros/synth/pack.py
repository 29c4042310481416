# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The asset pack: all assets of the generator in one file of about 15 MB.

``bake`` writes it from public sources; nothing else reads those. World axes, metres: for a person
in rest pose, x is to the person's left, -y ahead, z up.
"""

import json
import zipfile
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float16, Float32, Int16, Int32, UInt8

from thfm_ros.contract import PerceptionError

FORMAT = 4
"""Raised when fields change their names or meaning; 4 renamed ``surface`` and ``lights``."""
QUATERNION_UNIT = 32767.0  # quaternions are stored as int16

Section = TypeVar("Section")


class PackError(PerceptionError):
    """The asset pack is missing, damaged or has another format, or cannot be written."""


@dataclass(frozen=True)
class BodyAssets:
    """A skinned body with a linear shape space. ``v`` vertices, ``b`` bones, ``f`` triangles."""

    faces: Int32[np.ndarray, "f 3"]
    face_uv: Float32[np.ndarray, "f 3 2"]
    face_kind: UInt8[np.ndarray, "f"]  # 0 skin, 1 eye, 2 not drawn (inside of the mouth)
    weights: Float32[np.ndarray, "v 8"]  # skinning weights, sum 1
    bones: Int32[np.ndarray, "v 8"]  # bone indices of these weights
    parents: Int32[np.ndarray, "b"]  # -1 for the root; a parent comes before its children
    bone_names: np.ndarray
    rest: Float32[np.ndarray, "v 3"]  # the average adult in rest pose
    heads: Float32[np.ndarray, "b 3"]  # bone heads of that adult
    parts: UInt8[np.ndarray, "v"]  # skeleton.PART_NAMES
    dense_pose_uv: Float32[np.ndarray, "v 3"]  # cos 2 pi u, sin 2 pi u, v on the part
    regressor_vertices: Int32[np.ndarray, "m"]
    regressor: Float32[np.ndarray, "23 m"]  # joints 0..22 of the skeleton from those vertices
    shape_mean: Float32[np.ndarray, "n 3"]  # vertices, then bone heads
    shape_axes: Float16[np.ndarray, "c n 3"]
    shape_samples: Float32[np.ndarray, "s c"]  # coefficients of the sampled bodies
    # Gender (0 male, 1 female), age, african, asian, caucasian.
    shape_traits: Float32[np.ndarray, "s 5"]
    mask_names: np.ndarray
    masks: UInt8[np.ndarray, "k v"]  # 0..255: lips, brows, irises, ...
    expression_names: np.ndarray
    expression_vertices: Int32[np.ndarray, "x"]
    expressions: Float16[np.ndarray, "e x 3"]  # displacements, metres


@dataclass(frozen=True)
class Garment:
    """Clothing or hair; each of its ``n`` vertices is bound to three body vertices."""

    kind: str  # suit, shoes, hair, hat; tights, skirt, cap: helper cloth
    name: str
    reference: Int32[np.ndarray, "n 3"]
    barycentric: Float32[np.ndarray, "n 3"]
    offset: Float32[np.ndarray, "n 3"]  # in units of the three scales
    scale_vertices: Int32[np.ndarray, "3 2"]  # per axis: two body vertices, and ...
    scale_rest: Float32[np.ndarray, "3"]  # ... their distance on the garment's own body, metres
    faces: Int32[np.ndarray, "f 3"]
    face_uv: Float32[np.ndarray, "f 3 2"]
    weights: Float32[np.ndarray, "n 8"]
    bones: Int32[np.ndarray, "n 8"]
    parts: UInt8[np.ndarray, "n"]
    dense_pose_uv: Float32[np.ndarray, "n 3"]
    layer: UInt8[np.ndarray, "n"]  # 0 below the waist, 1 above it, 2 small pieces
    hidden: Int32[np.ndarray, "h"]  # body vertices that are not drawn below it
    covered: Int32[np.ndarray, "p"]  # body vertices just below it ...
    covered_by: Int32[np.ndarray, "p"]  # ... and the garment vertex over each


@dataclass(frozen=True)
class MotionClip:
    """Captured motion: rotations of body segments against the rest pose, world axes."""

    name: str
    fps: float
    segments: Int16[np.ndarray, "t s 4"]  # quaternions x y z w, people.segments.SEGMENTS
    root: Float32[np.ndarray, "t 3"]  # position of the pelvis, leg lengths


@dataclass(frozen=True)
class Panorama:
    """A panorama of linear light, 8 bits per channel: value = exp2(code / 14 - 12), 0 is black."""

    name: str
    codes: UInt8[np.ndarray, "h w 3"]  # the first row is the zenith


@dataclass(frozen=True)
class AssetPack:
    """All assets. ``poses`` are static poses: rotation of each bone relative to its parent."""

    about: dict[str, Any]
    body: BodyAssets
    garments: tuple[Garment, ...]
    motions: tuple[MotionClip, ...]
    pose_names: tuple[str, ...]
    poses: Int16[np.ndarray, "p b 4"]
    panoramas: tuple[Panorama, ...]

    def save(self, path: Path) -> None:
        """Write one compressed file atomically.

        Raises:
            PackError: the disk is full or the folder cannot be written.
        """
        arrays = {"about": np.array(json.dumps(self.about | {"format": FORMAT}))}
        arrays |= _flattened("body", self.body)
        for group in ("garments", "motions", "panoramas"):
            for index, item in enumerate(getattr(self, group)):
                arrays |= _flattened(f"{group}/{index:03d}", item)
        arrays["pose_names"], arrays["poses"] = np.array(self.pose_names), self.poses
        part = path.with_name(path.name + ".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # names, not options
            part.replace(path)
        except OSError as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise PackError(
                f"{path} cannot be written ({error.strerror or error}). "
                "Free some space or choose another --out, and bake again."
            ) from error


def load_pack(path: Path) -> AssetPack:
    """Read a pack.

    Raises:
        PackError: the file is missing or damaged, or has another format.
    """
    advice = "make one with: thfm synth bake --sources DIR --out PACK"
    if not path.is_file():
        raise PackError(f"There is no asset pack at {path}; {advice}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        about = json.loads(str(arrays["about"]))
    except (ValueError, KeyError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise PackError(f"{path} is not a readable asset pack ({error}); {advice}") from error
    if about.get("format") != FORMAT:
        raise PackError(
            f"{path} has format {about.get('format')}; this version reads {FORMAT}; {advice}"
        )
    return AssetPack(
        about=about,
        body=_section(BodyAssets, "body", arrays),
        garments=_sections(Garment, "garments", arrays),
        motions=_sections(MotionClip, "motions", arrays),
        pose_names=tuple(str(name) for name in arrays["pose_names"]),
        poses=arrays["poses"],
        panoramas=_sections(Panorama, "panoramas", arrays),
    )


def _flattened(prefix: str, section: Any) -> dict[str, np.ndarray]:
    values = {f.name: getattr(section, f.name) for f in fields(section)}
    return {f"{prefix}/{name}": np.asarray(value) for name, value in values.items()}


def _section(kind: type[Section], prefix: str, arrays: dict[str, np.ndarray]) -> Section:
    values: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        name = f"{prefix}/{field.name}"
        if name not in arrays:
            raise PackError(f"The asset pack lacks {name}: bake it again.")
        value = arrays[name]
        values[field.name] = value.item() if value.ndim == 0 else value
    return kind(**values)


def _sections(
    kind: type[Section], group: str, arrays: dict[str, np.ndarray]
) -> tuple[Section, ...]:
    prefixes = sorted({"/".join(n.split("/")[:2]) for n in arrays if n.startswith(group + "/")})
    return tuple(_section(kind, prefix, arrays) for prefix in prefixes)
