"""Bodies, clothes, things in hands, things that only look like people."""

from dataclasses import replace

import numpy as np
import pytest
from analytic_shapes import sphere

from thfm_ros.skeleton import PART_NAMES
from thfm_ros.synth.motion.gestures import gesture
from thfm_ros.synth.pack import AssetPack, Garment
from thfm_ros.synth.people.body import bone_positions, random_shape
from thfm_ros.synth.people.garments import fitted, trimmed
from thfm_ros.synth.people.person import random_person
from thfm_ros.synth.people.tailor import Cut, random_cut, tailored
from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.primitives.texture import SIZE, cloth, hair, surface
from thfm_ros.synth.scene.animals import quadruped
from thfm_ros.synth.scene.asset_choices import Choices
from thfm_ros.synth.scene.carried import carried_things
from thfm_ros.synth.scene.clutter import THINGS, chair, random_thing
from thfm_ros.synth.scene.decoys import random_decoy
from thfm_ros.synth.scene.lying import LYING, overhead
from thfm_ros.synth.scene.stage import Setting, random_cast, random_stage


def a_garment(pack: AssetPack, kind: str, *parts: str) -> Garment:
    """The capsules of these parts, 2 cm larger, as a modelled garment would be stored."""
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
        surface=body.surface[used], layer=np.ones(count, np.uint8),
        hidden=np.zeros(0, np.int32), covered=used.astype(np.int32),
        covered_by=np.arange(count, dtype=np.int32),
    )  # fmt: skip


def test_shapes_differ_and_keep_their_bones_inside(pack: AssetPack) -> None:
    shapes = [random_shape(np.random.default_rng(seed), pack.body) for seed in range(6)]
    heights = [float(np.ptp(shape.vertices[:, 2])) for shape in shapes]
    assert np.std(heights) > 0.01
    for shape in shapes:
        pelvis = shape.heads[0]
        assert shape.vertices[:, 2].min() < pelvis[2] < shape.vertices[:, 2].max()


@pytest.mark.parametrize("seed", range(4))
def test_a_person_wears_cloth_that_carries_the_labels_of_the_body_below(
    pack: AssetPack, seed: int
) -> None:
    palette = Palette()
    person = random_person(np.random.default_rng(seed), pack, palette)
    mesh, body = person.mesh, len(np.unique(pack.body.faces))
    textured = [row for row in palette.rows if row[0] >= 0]
    assert len(mesh.rest) > body and len(textured) >= 2
    assert mesh.faces.max() < len(mesh.rest) and mesh.materials.max() < len(palette.rows)
    assert (mesh.parts > 0).all()
    np.testing.assert_allclose(mesh.weights.sum(axis=1), 1, atol=1e-5)
    worn = {PART_NAMES[part] for part in np.unique(mesh.parts[body:])}
    assert "torso" in worn and worn & {"left_upper_leg", "right_upper_leg"}


def test_a_garment_follows_the_size_of_the_body(pack: AssetPack) -> None:
    shirt = a_garment(pack, "suit", "torso")
    small, large = fitted(shirt, pack.body.rest), fitted(shirt, 1.3 * pack.body.rest)
    np.testing.assert_allclose(np.ptp(large, axis=0), 1.3 * np.ptp(small, axis=0), rtol=0.02)


def test_a_pack_with_garments_dresses_people_in_them(pack: AssetPack) -> None:
    shirt = a_garment(pack, "suit", "torso")
    dressed = replace(pack, garments=(shirt,))
    person = random_person(np.random.default_rng(0), dressed, Palette())
    assert len(person.mesh.rest) >= len(np.unique(pack.body.faces)) + len(shirt.reference)


def test_somebody_without_a_top_wears_the_rest_of_the_outfit(pack: AssetPack) -> None:
    garments = (a_garment(pack, "tights", *PART_NAMES[1:]), a_garment(pack, "skirt", "torso"))
    pack = replace(pack, garments=garments)
    cuts = [random_cut(np.random.default_rng(seed), pack, female=False) for seed in range(200)]
    bare = next(cut for cut in cuts if cut.bare)
    assert 4 < sum(cut.bare for cut in cuts) < 30  # men; BARE

    def arms_and_legs(cut: Cut) -> tuple[bool, bool]:
        body = pack.body.rest.copy()
        worn = tailored(np.random.default_rng(0), pack, cut, body, Palette())
        names = {PART_NAMES[part] for mesh in worn for part in np.unique(mesh.parts)}
        return "left_upper_arm" in names, "left_upper_leg" in names

    assert arms_and_legs(bare) == (False, True)
    assert arms_and_legs(replace(bare, bare=False)) == (True, True)


def test_cloth_is_cut_along_a_straight_hem() -> None:
    vertices, faces = sphere(1.0, np.zeros(3), rings=12)
    room = vertices[:, 2].astype(float) - 0.13
    kept = faces[(room[faces] > 0).any(axis=1)]
    cut = trimmed(vertices, kept, room)
    assert cut[np.unique(kept), 2].min() > 0.13 - 0.05  # the next ring lies 0.27 below
    untouched = room > 0
    np.testing.assert_array_equal(cut[untouched], vertices[untouched])


@pytest.mark.parametrize("seed", range(10))
def test_what_a_hand_holds_stays_at_that_hand(choices: Choices, seed: int) -> None:
    rng = np.random.default_rng(seed)
    body, rig = choices.pack.body, choices.rig
    motion = gesture(rng, rig, 3, 10.0)
    heads = body.heads.astype(float)
    places = bone_positions(motion.turns, motion.root, heads, body.parents)
    things = carried_things(rng, Palette(), rig, motion.turns, places, "gesture/stand-carry")
    for item in things:
        reach = np.linalg.norm(item.vertices - places[:, :1], axis=2).max()
        assert item.vertices.shape[0] == 3 and reach < 2.2
        assert item.thing.faces.max() < item.vertices.shape[1]


@pytest.mark.parametrize(
    "maker", [*THINGS, *LYING, quadruped, random_decoy], ids=lambda m: m.__name__
)
def test_things_stand_on_the_floor_and_are_whole(choices: Choices, maker: object) -> None:
    for seed in range(5):
        palette = Palette()
        rng = np.random.default_rng(seed)
        if maker is random_decoy:
            thing = random_decoy(rng, choices.pack, choices.rig, palette)
        else:
            thing = maker(rng, palette)  # type: ignore[operator]
        assert thing.vertices[:, 2].min() > -0.02
        assert thing.faces.max() < len(thing.vertices)
        assert thing.materials.max() < len(palette.rows)
        assert len(thing.faces) == len(thing.face_uv) == len(thing.materials)


def test_what_lies_is_flat_and_what_hangs_is_above_everybody() -> None:
    for maker in LYING:
        for seed in range(10):
            thing = maker(np.random.default_rng(seed), Palette())
            low, high = thing.vertices[:, 2].min(), thing.vertices[:, 2].max()
            assert low > 1.5 if maker is overhead else high < 0.8


def test_animals_are_closed_and_as_tall_as_cats_to_horses() -> None:
    for seed in range(30):
        animal = quadruped(np.random.default_rng(seed), Palette())
        low, high = animal.vertices.min(0), animal.vertices.max(0)
        assert low[2] == 0 and 0.15 < high[2] < 3.5
        assert (high - low)[:2].max() < 5
        around = animal.vertices[animal.faces]
        area = np.cross(around[:, 1] - around[:, 0], around[:, 2] - around[:, 0])
        # Of a closed surface that is wound one way round, the areas add up to nothing.
        assert np.linalg.norm(area.sum(0)) < 1e-3 * np.linalg.norm(area, axis=1).sum()
        volume = (around[:, 0] * area).sum() / 6
        assert volume > 0, "its outside is outside"


def test_a_seat_is_as_high_as_the_person_sits() -> None:
    for seed in range(6):
        seat = chair(np.random.default_rng(seed), Palette(), 0.47)
        level = seat.vertices[np.abs(seat.vertices[:, 2] - 0.47) < 1e-5]
        assert len(level) >= 4


def test_things_and_decoys_belong_to_nobody(choices: Choices) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        cast = random_cast(rng, choices, seed % 3)
        stage = random_stage(rng, choices, cast, 2, 10.0, Setting())
        owners = set(np.unique(stage.owners)) - {0}
        assert owners == set(range(1, seed % 3 + 1))
        things = np.unique(stage.faces[stage.owners == 0])
        assert (stage.parts[things] == 0).all()
        for number, person in enumerate(stage.people, start=1):
            mine = np.unique(stage.faces[stage.owners == number])
            assert (stage.parts[mine] > 0).all()
            assert abs(float(person.vertices[..., 2].min())) < 1e-4, "feet on the floor"


def test_textures_tile_and_stay_within_what_a_surface_reflects() -> None:
    rng = np.random.default_rng(0)
    for image in (
        [surface(rng) for _ in range(12)] + [cloth(rng) for _ in range(12)] + [hair(rng)[0]]
    ):
        assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.float32
        assert image.min() > 0 and image.max() <= 1


def test_random_things_need_no_more_than_chance() -> None:
    one, two = (random_thing(np.random.default_rng(5), Palette()) for _ in range(2))
    np.testing.assert_array_equal(one.vertices, two.vertices)
