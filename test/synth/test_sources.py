# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The readers of public sources, on small files in the same formats."""

import json
import logging
import tarfile
from pathlib import Path

import numpy as np
import pytest

from thfm_ros.synth.baking.bake import _unpack_archives, bake
from thfm_ros.synth.baking.body import AssetSourceError, BakedBody
from thfm_ros.synth.baking.garments import bake_brows, bake_garments, read_binding, read_obj
from thfm_ros.synth.baking.motion import bake_motions, bake_poses, read_cmu, read_deepmimic
from thfm_ros.synth.pack import QUATERNION_UNIT, AssetPack
from thfm_ros.synth.people.segments import SEGMENTS, rest_directions
from thfm_ros.synth.primitives.rotation import from_quaternion

OBJ = """# a square
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
f 1/1 2/2 3/3 4/4
"""
MHCLO = """# bound to three vertices each
obj_file shirt.obj
x_scale 0 1 0.5
y_scale 0 1 0.5
z_scale 0 1 0.5
verts 0
7
0 1 2 0.5 0.25 0.25 0.0 0.1 0.0
3 4 5 1.0 0.0 0.0 0.0 0.0 0.0
6
delete_verts
2 - 4 9
"""


def rotations_of(clip_segments: np.ndarray, segment: str) -> np.ndarray:
    return from_quaternion(clip_segments[:, SEGMENTS.index(segment)] / QUATERNION_UNIT)


def test_an_obj_polygon_becomes_triangles_with_texture_coordinates(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text(OBJ)
    vertices, points, faces, face_points = read_obj(tmp_path / "a.obj")
    assert vertices.shape == (4, 3) and points.shape == (4, 2)
    np.testing.assert_array_equal(faces, [[0, 1, 2], [0, 2, 3]])
    np.testing.assert_array_equal(face_points, faces)


def test_a_binding_has_exact_and_interpolated_vertices_and_deleted_ranges(tmp_path: Path) -> None:
    (tmp_path / "shirt.mhclo").write_text(MHCLO)
    binding = read_binding(tmp_path / "shirt.mhclo")
    np.testing.assert_array_equal(binding.reference, [[7, 7, 7], [0, 1, 2], [3, 4, 5], [6, 6, 6]])
    np.testing.assert_array_equal(binding.barycentric[1], [0.5, 0.25, 0.25])
    np.testing.assert_array_equal(binding.deleted, [2, 3, 4, 9])
    assert binding.scales["y"] == (0, 1, 0.5) and binding.mesh == "shirt.obj"


def test_a_garment_is_bound_and_a_damaged_one_is_reported(
    pack: AssetPack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("male_suit", "broken_suit"):
        folder = tmp_path / "clothes" / name
        folder.mkdir(parents=True)
        (folder / f"{name}.mhclo").write_text(MHCLO)
        (folder / "shirt.obj").write_text(OBJ if name == "male_suit" else "v 0 0 0\n")
    body = BakedBody(pack.body, np.arange(len(pack.body.rest)))
    with caplog.at_level(logging.WARNING):
        garments = bake_garments(tmp_path, body)
    assert [garment.name for garment in garments] == ["male_suit"]
    assert "broken_suit" in caplog.text
    np.testing.assert_allclose(garments[0].weights.sum(axis=1), 1, atol=1e-5)
    assert (garments[0].parts > 0).all()


@pytest.mark.parametrize("content", ["", "x_scale rubbish\n", "verts 0\n99999999\n", "\0\xff"])
def test_a_damaged_eyebrow_is_reported_and_skipped(
    content: str, pack: AssetPack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "eyebrow001.mhclo").write_text(content)
    body = BakedBody(pack.body, np.arange(len(pack.body.rest)))
    with caplog.at_level(logging.WARNING):
        assert bake_brows(tmp_path, body) == {}
    assert "eyebrow001.mhclo" in caplog.text


def test_the_t_pose_of_a_cmu_clip_has_level_arms(pack: AssetPack, tmp_path: Path) -> None:
    """All exponential maps are zero: the source's rest pose, in which the arms are level."""
    (tmp_path / "a.txt").write_text("\n".join(",".join(["0"] * 117) for _ in range(9)))
    clip = read_cmu(tmp_path / "a.txt", pack.body)
    ours = rest_directions([str(name) for name in pack.body.bone_names], pack.body.heads)
    for segment, direction in (("uarmL", [1, 0, 0]), ("farmR", [-1, 0, 0])):
        arm = rotations_of(clip.segments, segment)[0] @ ours[segment]
        np.testing.assert_allclose(arm, direction, atol=2e-3)
    np.testing.assert_allclose(rotations_of(clip.segments, "hips")[0], np.eye(3), atol=1e-3)


def test_a_rotation_of_the_hips_rotates_the_whole_body(pack: AssetPack, tmp_path: Path) -> None:
    row = ["0"] * 117
    row[4] = "0.7"  # the hips about the vertical axis, y in the source
    (tmp_path / "a.txt").write_text("\n".join(",".join(row) for _ in range(9)))
    clip = read_cmu(tmp_path / "a.txt", pack.body)
    hips, head = rotations_of(clip.segments, "hips")[0], rotations_of(clip.segments, "head")[0]
    np.testing.assert_allclose(hips @ [0, 0, 1], [0, 0, 1], atol=1e-3)  # still upright
    assert abs(np.degrees(np.arccos(hips[0, 0])) - np.degrees(0.7)) < 0.1
    np.testing.assert_allclose(head, hips, atol=1e-3)


def test_arms_and_legs_hang_in_a_standing_deepmimic_frame(pack: AssetPack, tmp_path: Path) -> None:
    frame = [0.033, 0, 0.9, 0] + [1, 0, 0, 0] * 4 + [0] + [1, 0, 0, 0] * 2 + [0]
    frame += [1, 0, 0, 0] + [0] + [1, 0, 0, 0] * 2 + [0]
    (tmp_path / "a.txt").write_text(json.dumps({"Frames": [frame] * 20}))
    clip = read_deepmimic(tmp_path / "a.txt", pack.body)
    ours = rest_directions([str(name) for name in pack.body.bone_names], pack.body.heads)
    for segment in ("uarmL", "thighR", "shinL"):
        limb = rotations_of(clip.segments, segment)[0] @ ours[segment]
        np.testing.assert_allclose(limb, [0, 0, -1], atol=2e-3)


def test_an_unreadable_motion_file_is_reported_and_skipped(
    pack: AssetPack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "bad.txt").write_text('{"Frames": [[0.03, 1')
    (tmp_path / "bad.bvh").write_text("HIERARCHY\n")
    with caplog.at_level(logging.WARNING):
        assert bake_motions([tmp_path / "bad.txt"], pack.body, read_deepmimic) == []
        assert bake_poses([tmp_path / "bad.bvh"], pack.body) == {}
    assert "bad.txt" in caplog.text and "bad.bvh" in caplog.text


def test_a_pose_rotates_only_the_bones_that_it_names(pack: AssetPack, tmp_path: Path) -> None:
    (tmp_path / "bow.bvh").write_text(
        "HIERARCHY\nROOT root\n{\nOFFSET 0 0 0\nCHANNELS 3 Zrotation Xrotation Yrotation\n"
        "JOINT head\n{\nOFFSET 0 1 0\nCHANNELS 3 Zrotation Xrotation Yrotation\n"
        "End Site\n{\nOFFSET 0 1 0\n}\n}\n}\nMOTION\nFrames: 1\nFrame Time: 1\n"
        "0 0 0 0 30 0\n"
    )
    names = [str(name) for name in pack.body.bone_names]
    local = from_quaternion(bake_poses([tmp_path / "bow.bvh"], pack.body)["bow"] / QUATERNION_UNIT)
    angles_deg = np.degrees(np.arccos(np.clip((np.trace(local, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert abs(angles_deg[names.index("head")] - 30) < 0.1
    assert (angles_deg[[index for index, name in enumerate(names) if name != "head"]] < 0.1).all()


def test_a_missing_folder_is_reported_before_anything_is_computed(tmp_path: Path) -> None:
    with pytest.raises(AssetSourceError, match="no folder"):
        bake(tmp_path / "none", tmp_path / "pack.npz")


def test_a_truncated_archive_is_reported_and_the_others_are_unpacked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "deep").mkdir()
    content = np.random.default_rng(0).bytes(20_000)  # incompressible
    (tmp_path / "a.txt").write_bytes(content)
    for name in ("good", "deep/short", "rubbish"):
        with tarfile.open(tmp_path / f"{name}.tar.xz", "w:xz") as archive:
            archive.add(tmp_path / "a.txt", "a.txt")
    short = tmp_path / "deep" / "short.tar.xz"
    short.write_bytes(short.read_bytes()[:10_000])
    (tmp_path / "rubbish.tar.xz").write_bytes(b"\xfd7zXZ\0" + bytes(range(200)))
    into = tmp_path / "into"
    (folder,) = _unpack_archives(tmp_path, into)
    assert (folder / "a.txt").read_bytes() == content
    assert "short.tar.xz" in caplog.text and "rubbish.tar.xz" in caplog.text
