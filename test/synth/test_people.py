# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Bodies, clothes, carried props, decoys and other props."""

from dataclasses import replace

import numpy as np
import pytest
from analytic_shapes import sphere

from thfm_ros.skeleton import PART_NAMES
from thfm_ros.synth.motion.gestures import gesture_motion
from thfm_ros.synth.pack import AssetPack, Garment
from thfm_ros.synth.people.body import bone_positions, random_body_shape
from thfm_ros.synth.people.garments import fit_garment, trim_to_edge
from thfm_ros.synth.people.person import random_person_model
from thfm_ros.synth.people.tailor import Outfit, random_outfit, sew_outfit
from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.primitives.texture import SIZE, fabric_texture, hair_texture, material_texture
from thfm_ros.synth.scene.animals import quadruped
from thfm_ros.synth.scene.asset_choices import AssetChoices
from thfm_ros.synth.scene.carried import carried_props
from thfm_ros.synth.scene.clutter import PROP_MAKERS, chair, random_prop
from thfm_ros.synth.scene.decoys import random_decoy
from thfm_ros.synth.scene.lying import LYING_PROPS, overhead
from thfm_ros.synth.scene.stage import SceneLayout, random_person_group, random_scene


def capsule_garment(pack: AssetPack, kind: str, *parts: str) -> Garment:
    """The capsules of these parts, enlarged, in the form of a modelled garment."""
    body = pack.body
    members = np.isin(body.parts, [PART_NAMES.index(part) for part in parts])
    faces = body.faces[members[body.faces].all(axis=1)]
    used, local = np.unique(faces, return_inverse=True)
    count = len(used)
    return Garment(
        kind=kind, name="male_shirt",
        reference=np.repeat(used[:, None], 3, axis=1).astype(np.int32),
        barycentric=np.tile(np.array([1, 0, 0], np.float32), (count, 1)),
        offset=np.tile(np.array([0, 0, 1], np.float32), (count, 1)),
        scale_vertices=np.array([[0, 1], [0, 1], [0, 1]], np.int32),
        scale_rest=np.ones(3, np.float32),
        faces=local.reshape(-1, 3).astype(np.int32),
        face_uv=np.zeros((len(faces), 3, 2), np.float32),
        weights=body.weights[used], bones=body.bones[used], parts=body.parts[used],
        dense_pose_uv=body.dense_pose_uv[used], layer=np.ones(count, np.uint8),
        hidden=np.zeros(0, np.int32), covered=used.astype(np.int32),
        covered_by=np.arange(count, dtype=np.int32),
    )  # fmt: skip


def test_body_shapes_differ_and_contain_their_bones(pack: AssetPack) -> None:
    shapes = [random_body_shape(np.random.default_rng(seed), pack.body) for seed in range(6)]
    heights = [float(np.ptp(shape.vertices[:, 2])) for shape in shapes]
    assert np.std(heights) > 0.01
    for shape in shapes:
        pelvis = shape.heads[0]
        assert shape.vertices[:, 2].min() < pelvis[2] < shape.vertices[:, 2].max()


@pytest.mark.parametrize("seed", range(4))
def test_clothes_have_the_labels_of_the_body_below(pack: AssetPack, seed: int) -> None:
    palette = Palette()
    person = random_person_model(np.random.default_rng(seed), pack, palette)
    mesh, body = person.mesh, len(np.unique(pack.body.faces))
    textured = [row for row in palette.rows if row[0] >= 0]
    assert len(mesh.rest) > body and len(textured) >= 2
    assert mesh.faces.max() < len(mesh.rest) and mesh.materials.max() < len(palette.rows)
    assert (mesh.parts > 0).all()
    np.testing.assert_allclose(mesh.weights.sum(axis=1), 1, atol=1e-5)
    worn = {PART_NAMES[part] for part in np.unique(mesh.parts[body:])}
    assert "torso" in worn and worn & {"left_upper_leg", "right_upper_leg"}


def test_a_garment_scales_with_the_body(pack: AssetPack) -> None:
    shirt = capsule_garment(pack, "suit", "torso")
    small, large = fit_garment(shirt, pack.body.rest), fit_garment(shirt, 1.3 * pack.body.rest)
    np.testing.assert_allclose(np.ptp(large, axis=0), 1.3 * np.ptp(small, axis=0), rtol=0.02)


def test_people_wear_the_garments_of_the_pack(pack: AssetPack) -> None:
    shirt = capsule_garment(pack, "suit", "torso")
    pack_with_shirt = replace(pack, garments=(shirt,))
    person = random_person_model(np.random.default_rng(0), pack_with_shirt, Palette())
    assert len(person.mesh.rest) >= len(np.unique(pack.body.faces)) + len(shirt.reference)


def test_a_person_without_a_top_wears_the_rest_of_the_outfit(pack: AssetPack) -> None:
    garments = (
        capsule_garment(pack, "tights", *PART_NAMES[1:]),
        capsule_garment(pack, "skirt", "torso"),
    )
    pack = replace(pack, garments=garments)
    outfits = [
        random_outfit(np.random.default_rng(seed), pack, female=False) for seed in range(200)
    ]
    topless = next(outfit for outfit in outfits if outfit.topless)
    assert 4 < sum(outfit.topless for outfit in outfits) < 30  # TOPLESS_SHARE of men

    def arms_and_legs(outfit: Outfit) -> tuple[bool, bool]:
        body = pack.body.rest.copy()
        worn = sew_outfit(np.random.default_rng(0), pack, outfit, body, Palette())
        names = {PART_NAMES[part] for mesh in worn for part in np.unique(mesh.parts)}
        return "left_upper_arm" in names, "left_upper_leg" in names

    assert arms_and_legs(topless) == (False, True)
    assert arms_and_legs(replace(topless, topless=False)) == (True, True)


def test_cloth_is_trimmed_along_a_straight_hem() -> None:
    vertices, faces = sphere(1.0, np.zeros(3), rings=12)
    edge_distance = vertices[:, 2].astype(float) - 0.13
    kept = faces[(edge_distance[faces] > 0).any(axis=1)]
    outfit = trim_to_edge(vertices, kept, edge_distance)
    assert outfit[np.unique(kept), 2].min() > 0.13 - 0.05  # the next ring lies 0.27 below
    untouched = edge_distance > 0
    np.testing.assert_array_equal(outfit[untouched], vertices[untouched])


@pytest.mark.parametrize("seed", range(10))
def test_carried_props_stay_within_reach(choices: AssetChoices, seed: int) -> None:
    rng = np.random.default_rng(seed)
    body, rig = choices.pack.body, choices.rig
    motion = gesture_motion(rng, rig, 3, 10.0)
    heads = body.heads.astype(float)
    positions = bone_positions(motion.rotations, motion.root, heads, body.parents)
    props = carried_props(rng, Palette(), rig, motion.rotations, positions, "gesture/stand-carry")
    for item in props:
        reach = np.linalg.norm(item.vertices - positions[:, :1], axis=2).max()
        assert item.vertices.shape[0] == 3 and reach < 2.2
        assert item.prop.faces.max() < item.vertices.shape[1]


@pytest.mark.parametrize(
    "maker", [*PROP_MAKERS, *LYING_PROPS, quadruped, random_decoy], ids=lambda m: m.__name__
)
def test_props_stand_on_the_floor_and_have_valid_indices(
    choices: AssetChoices, maker: object
) -> None:
    for seed in range(5):
        palette = Palette()
        rng = np.random.default_rng(seed)
        if maker is random_decoy:
            prop = random_decoy(rng, choices.pack, choices.rig, palette)
        else:
            prop = maker(rng, palette)  # type: ignore[operator]
        assert prop.vertices[:, 2].min() > -0.02
        assert prop.faces.max() < len(prop.vertices)
        assert prop.materials.max() < len(palette.rows)
        assert len(prop.faces) == len(prop.face_uv) == len(prop.materials)


def test_lying_props_are_flat_and_overhead_props_are_above_people() -> None:
    for maker in LYING_PROPS:
        for seed in range(10):
            prop = maker(np.random.default_rng(seed), Palette())
            low, high = prop.vertices[:, 2].min(), prop.vertices[:, 2].max()
            assert low > 1.5 if maker is overhead else high < 0.8


def test_animals_are_closed_meshes_with_the_height_of_cats_to_horses() -> None:
    for seed in range(30):
        animal = quadruped(np.random.default_rng(seed), Palette())
        low, high = animal.vertices.min(0), animal.vertices.max(0)
        assert low[2] == 0 and 0.15 < high[2] < 3.5
        assert (high - low)[:2].max() < 5
        around = animal.vertices[animal.faces]
        area = np.cross(around[:, 1] - around[:, 0], around[:, 2] - around[:, 0])
        # The vector areas of a closed, consistently oriented surface sum to zero.
        assert np.linalg.norm(area.sum(0)) < 1e-3 * np.linalg.norm(area, axis=1).sum()
        volume = (around[:, 0] * area).sum() / 6
        assert volume > 0, "its faces are oriented outwards"


def test_a_chair_has_a_seat_at_the_requested_height() -> None:
    for seed in range(6):
        seat = chair(np.random.default_rng(seed), Palette(), 0.47)
        level = seat.vertices[np.abs(seat.vertices[:, 2] - 0.47) < 1e-5]
        assert len(level) >= 4


def test_props_and_decoys_are_background(choices: AssetChoices) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        group = random_person_group(rng, choices, seed % 3)
        scene = random_scene(rng, choices, group, 2, 10.0, SceneLayout())
        people = set(np.unique(scene.instance_ids)) - {0}
        assert people == set(range(1, seed % 3 + 1))
        background = np.unique(scene.faces[scene.instance_ids == 0])
        assert (scene.parts[background] == 0).all()
        for number, person in enumerate(scene.people, start=1):
            own = np.unique(scene.faces[scene.instance_ids == number])
            assert (scene.parts[own] > 0).all()
            assert abs(float(person.vertices[..., 2].min())) < 1e-4, "feet on the floor"


def test_textures_have_the_size_and_range_of_albedo() -> None:
    rng = np.random.default_rng(0)
    for image in (
        [material_texture(rng) for _ in range(12)]
        + [fabric_texture(rng) for _ in range(12)]
        + [hair_texture(rng)[0]]
    ):
        assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.float32
        assert image.min() > 0 and image.max() <= 1


def test_random_props_depend_only_on_the_generator() -> None:
    one, two = (random_prop(np.random.default_rng(5), Palette()) for _ in range(2))
    np.testing.assert_array_equal(one.vertices, two.vertices)
