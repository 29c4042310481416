# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Props: boxes, cans, balls, furniture, poles, flags, plants. They occlude people."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32, Int32

from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.primitives.rotation import axis_rotation, smooth_noise
from thfm_ros.synth.primitives.texture import fabric_texture, material_texture

SIDES = 12  # sides of round shapes
_CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (0, 1)], float)
_CUBE_FACES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (1, 5, 7, 3), (0, 2, 6, 4))


@dataclass(frozen=True)
class Prop:
    """A mesh without bones, metres; most props stand on z = 0."""

    vertices: Float32[np.ndarray, "v 3"]
    faces: Int32[np.ndarray, "f 3"]
    face_uv: Float32[np.ndarray, "f 3 2"]
    materials: Int32[np.ndarray, "f"]
    colours: Float32[np.ndarray, "v 3"]

    def moved(self, by: Float[np.ndarray, "3"], yaw: float = 0.0) -> "Prop":
        """A copy rotated about z by ``yaw`` radians, then shifted."""
        vertices = self.vertices @ axis_rotation("z", yaw).T + by
        return Prop(
            vertices.astype(np.float32), self.faces, self.face_uv, self.materials, self.colours
        )


def box(size: tuple[float, float, float], at: tuple[float, float, float], material: int) -> Prop:
    """A box with the centre of its bottom at ``at``."""
    vertices: list[np.ndarray] = []
    faces, uv = [], []
    scale = np.array([size[0] / 2, size[1] / 2, size[2]])
    for quad in _CUBE_FACES:
        start = len(vertices)
        vertices += [_CUBE[corner] * scale + at for corner in quad]
        faces += [[start, start + 1, start + 2], [start, start + 2, start + 3]]
        uv += [[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]]
    return _prop(np.array(vertices), faces, uv, material)


def lathe(profile: list[tuple[float, float]], material: int) -> Prop:
    """A surface of revolution about z; the profile holds (radius, height) from bottom to top."""
    angle = np.linspace(0, 2 * np.pi, SIDES + 1)
    rings = [[r * np.cos(angle), r * np.sin(angle), np.full(SIDES + 1, z)] for r, z in profile]
    skin = sheet(np.stack([np.stack(ring, axis=1) for ring in rings]), material)
    return replace(skin, face_uv=skin.face_uv * np.array([3, 1], np.float32))


def sheet(heights: Float[np.ndarray, "n m 3"], material: int) -> Prop:
    """A grid of points as a surface."""
    rows, columns = heights.shape[:2]
    faces, uv = [], []
    for j in range(rows - 1):
        for i in range(columns - 1):
            a = j * columns + i
            faces += [[a, a + 1, a + columns + 1], [a, a + columns + 1, a + columns]]
            corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
            points = [[x / (columns - 1), y / (rows - 1)] for x, y in corners]
            uv += [[points[0], points[1], points[2]], [points[0], points[2], points[3]]]
    return _prop(heights.reshape(-1, 3), faces, uv, material)


def merge_props(props: list[Prop]) -> Prop:
    """Join several props into one."""
    starts = np.cumsum([0, *(len(prop.vertices) for prop in props)])
    return Prop(
        np.concatenate([prop.vertices for prop in props]),
        np.concatenate([t.faces + s for t, s in zip(props, starts, strict=False)]).astype(np.int32),
        np.concatenate([prop.face_uv for prop in props]),
        np.concatenate([prop.materials for prop in props]),
        np.concatenate([prop.colours for prop in props]),
    )


def _prop(vertices: np.ndarray, faces: list, uv: list, material: int) -> Prop:  # type: ignore[type-arg]
    return Prop(
        vertices.astype(np.float32),
        np.array(faces, np.int32),
        np.array(uv, np.float32),
        np.full(len(faces), material, np.int32),
        np.ones((len(vertices), 3), np.float32),
    )


def prop_material(rng: np.random.Generator, palette: Palette) -> int:
    """Add a random material for a prop to the palette and return its index."""
    image = material_texture(rng) if rng.random() < 0.75 else fabric_texture(rng)
    return palette.material(
        palette.texture(image), shine=float(rng.choice([0.02, 0.1, 0.3])), gloss=20
    )


def table(rng: np.random.Generator, palette: Palette, height_m: float | None = None) -> Prop:
    """A table with four legs or two side boards."""
    wood = prop_material(rng, palette)
    height = rng.uniform(0.6, 0.95) if height_m is None else height_m
    width, depth = rng.uniform(0.7, 1.8), rng.uniform(0.5, 0.9)
    parts = [box((width, depth, 0.04), (0, 0, height - 0.04), wood)]
    x, y = width / 2 - 0.05, depth / 2 - 0.05
    if rng.random() < 0.6:
        parts += [
            box((0.05, 0.05, height), (i * x, j * y, 0), wood) for i in (-1, 1) for j in (-1, 1)
        ]
    else:
        parts += [box((0.04, depth, height), (i * x, 0, 0), wood) for i in (-1, 1)]
    return merge_props(parts)


def chair(rng: np.random.Generator, palette: Palette, seat_m: float) -> Prop:
    """A stool, a chair, an armchair or a block that faces -y, its seat at ``seat_m``."""
    upholstery, wood = prop_material(rng, palette), prop_material(rng, palette)
    width = rng.uniform(0.4, 0.6)
    parts = [box((width, 0.45, 0.06), (0, 0, seat_m - 0.06), upholstery)]
    style = rng.choice(["stool", "chair", "armchair", "block"], p=[0.15, 0.5, 0.2, 0.15])
    if style == "block":
        return merge_props([box((width + 0.1, 0.5, seat_m), (0, 0, 0), upholstery)])
    legs = [(i * (width / 2 - 0.03), j * 0.2, 0) for i in (-1, 1) for j in (-1, 1)]
    parts += [box((0.04, 0.04, seat_m - 0.06), leg, wood) for leg in legs]
    if style != "stool":
        back = rng.uniform(0.3, 0.6)
        parts.append(box((width, 0.05, back), (0, 0.25, seat_m + 0.08), upholstery))
    if style == "armchair":
        parts += [box((0.07, 0.45, 0.2), (i * width / 2, 0, seat_m), upholstery) for i in (-1, 1)]
    return merge_props(parts)


def shelf(rng: np.random.Generator, palette: Palette) -> Prop:
    """A shelf with boxes on its boards."""
    wood = prop_material(rng, palette)
    width, height, depth = rng.uniform(0.6, 1.4), rng.uniform(0.9, 2.0), rng.uniform(0.25, 0.4)
    boards = int(rng.integers(2, 6))
    parts = [box((0.03, depth, height), (i * width / 2, 0, 0), wood) for i in (-1, 1)]
    for z in np.linspace(0.02, height - 0.03, boards):
        parts.append(box((width, depth, 0.03), (0, 0, float(z)), wood))
        for _ in range(rng.integers(0, 5)):
            w, h = rng.uniform(0.05, 0.25), rng.uniform(0.08, 0.28)
            x = rng.uniform(-0.4, 0.4) * width
            parts.append(box((w, 0.2, h), (x, 0, float(z) + 0.03), prop_material(rng, palette)))
    return merge_props(parts)


def pole(rng: np.random.Generator, palette: Palette) -> Prop:
    """A post, a lamp or a column: as tall as a person, as thick as a limb or a trunk."""
    radius, height = np.exp(rng.uniform(np.log(0.02), np.log(0.2))), rng.uniform(1.0, 3.0)
    metal = prop_material(rng, palette)
    parts = [lathe([(radius, 0), (radius * rng.uniform(0.6, 1), height)], metal)]
    if rng.random() < 0.5:  # with a foot and a head-sized ball, like a lamp or a sign
        head = rng.uniform(0.08, 0.22)
        arc = np.linspace(0, np.pi, 7)
        ball = [(head * float(np.sin(a)) + 0.01, height + head * float(1 - np.cos(a))) for a in arc]
        parts += [lathe([(0.22, 0), (0.03, 0.05)], metal), lathe(ball, prop_material(rng, palette))]
    return merge_props(parts)


def flag(rng: np.random.Generator, palette: Palette) -> Prop:
    """Cloth that hangs in folds, with or without a pole."""
    material = palette.material(palette.texture(fabric_texture(rng, 0.3)), repeat=2, wrap=0.2)
    height, width, drop = rng.uniform(1.4, 2.4), rng.uniform(0.25, 0.9), rng.uniform(0.5, 1.5)
    rows, columns = 10, 12
    folds = smooth_noise(rng, columns, 1, 0.06, 2)[:, 0]
    j, i = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    narrow = 1 - rng.uniform(0, 0.6) * j
    y = folds[None] * (0.3 + j)
    points = np.stack([(i - 0.5) * width * narrow, y, height - j * drop], axis=-1)
    parts = [sheet(points, material)]
    if rng.random() < 0.7:
        parts.append(lathe([(0.02, 0), (0.02, height + 0.05)], prop_material(rng, palette)))
    return merge_props(parts)


def plant(rng: np.random.Generator, palette: Palette) -> Prop:
    """A plant in a pot: leaves around a stem."""
    leaf = material_texture(rng) * np.array([0.35, 0.8, 0.25], np.float32)
    green = palette.material(palette.texture(leaf), wrap=0.3)
    height = rng.uniform(0.4, 1.7)
    parts = [
        lathe([(0.1, 0), (0.16, 0.25)], prop_material(rng, palette)),
        lathe([(0.02, 0.2), (0.01, height)], green),
    ]
    for _ in range(rng.integers(8, 30)):
        angle, z = rng.uniform(0, 6.28), rng.uniform(0.3, 1.0) * height
        length, width = rng.uniform(0.15, 0.45), rng.uniform(0.02, 0.1)
        along = np.array([np.cos(angle), np.sin(angle), rng.normal(0.2, 0.5)]) * length
        across = np.array([-np.sin(angle), np.cos(angle), 0]) * width
        base = np.array([0, 0, z])
        blade = [[base, base + 0.01], [base + along / 2 - across, base + along / 2 + across]]
        blade.append([base + along, base + along + 0.01])
        parts.append(sheet(np.array(blade), green))
    return merge_props(parts)


def solid(rng: np.random.Generator, palette: Palette) -> Prop:
    """A box, a can or a ball, from the size of a hand to that of a cupboard."""
    width, depth, height = rng.uniform(0.16, 1.2), rng.uniform(0.16, 1.0), rng.uniform(0.15, 1.4)
    kind = rng.integers(3)
    if kind == 0:
        return box((width, depth, height), (0, 0, 0), prop_material(rng, palette))
    if kind == 1:
        return lathe(
            [(0.01, 0), (width / 2, 0), (width / 2, height), (0.01, height)],
            prop_material(rng, palette),
        )
    arc = np.linspace(0, np.pi, 9)
    profile = [
        (width / 2 * float(np.sin(a)) + 0.01, height / 2 * float(1 - np.cos(a))) for a in arc
    ]
    return lathe(profile, prop_material(rng, palette))


def vessel(rng: np.random.Generator, palette: Palette) -> Prop:
    """A bottle, a vase or a tower: upright, with a waist and shoulders like a person."""
    height = np.exp(rng.uniform(np.log(0.2), np.log(4.0)))
    wide = height * rng.uniform(0.06, 0.22)
    parts, bottom = [], 0.0
    if rng.random() < 0.4:  # on a pedestal
        bottom = float(rng.uniform(0.3, 1.1))
        parts.append(box((0.5, 0.5, bottom), (0, 0, 0), prop_material(rng, palette)))
    for _ in range(rng.integers(1, 4)):
        rings = int(rng.integers(2, 6))
        heights = bottom + np.linspace(0, height * rng.uniform(0.2, 0.6), rings)
        radii = wide * rng.uniform(0.25, 1.0, rings)
        profile = [(0.001, bottom), *zip(radii.tolist(), heights.tolist(), strict=True)]
        bottom = float(heights[-1])
        parts.append(lathe([*profile, (0.001, bottom)], prop_material(rng, palette)))
    return merge_props(parts)


PROP_MAKERS = {solid: 5, vessel: 1.5, table: 1.5, shelf: 1, pole: 1.5, flag: 1.2, plant: 0.8}
"""Functions that make a prop, and their relative frequencies."""


def random_prop(rng: np.random.Generator, palette: Palette) -> Prop:
    """Draw one of PROP_MAKERS; some of the solids are above the floor."""
    makers = list(PROP_MAKERS)
    share = np.array(list(PROP_MAKERS.values()))
    maker = makers[rng.choice(len(makers), p=share / share.sum())]
    prop = maker(rng, palette)
    if maker is solid and rng.random() < 0.3:
        return prop.moved(np.array([0, 0, rng.uniform(0.3, 1.8)]))
    return prop
