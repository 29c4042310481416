# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Hard negatives: four-legged animals from cats to horses, with limbs but without labels.

They are built of tubes around a random skeleton. Proportions were chosen by eye, not measured.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.primitives.rotation import normalized
from thfm_ros.synth.primitives.texture import fabric_texture, hair_texture
from thfm_ros.synth.scene.clutter import SIDES, Prop, merge_props, sheet

POSES = ("stand", "walk", "sit", "lie")
POSE_SHARE = (0.4, 0.25, 0.2, 0.15)
Limb = tuple[list[np.ndarray], list[float]]
"""Points (x to the left, y backwards, z up) and radii of a tube, in shoulder heights."""


def tube(
    points: Float[np.ndarray, "n 3"], radii: Float[np.ndarray, "n"], material: int, steps: int = 4
) -> Prop:
    """A tube along a smooth curve through ``points``, closed at both ends.

    ``steps`` is the number of subdivisions between two points.
    """
    path, radius = _smoothed(points, steps), _smoothed(radii[:, None], steps)[:, 0]
    along = normalized(np.gradient(path, axis=0))
    # Both ends are extended and closed to a tip.
    tips = path[0] - 0.6 * radius[0] * along[0], path[-1] + 0.6 * radius[-1] * along[-1]
    path = np.concatenate([[tips[0]], path, [tips[1]]])
    radius = np.concatenate([[1e-4], radius, [1e-4]])
    along = np.concatenate([along[:1], along, along[-1:]])
    across, up = _cross_axes(along)
    angle = np.linspace(0, 2 * np.pi, SIDES + 1)[None, :, None]
    ring = np.cos(angle) * across[:, None] + np.sin(angle) * up[:, None]
    vertices = path[:, None] + radius[:, None, None] * ring
    return sheet(vertices, material)


def quadruped(rng: np.random.Generator, palette: Palette) -> Prop:
    """A random animal: standing, walking, sitting or lying, facing -y."""
    height = float(np.exp(rng.uniform(np.log(0.22), np.log(1.6))))
    pose = str(rng.choice(POSES, p=POSE_SHARE)) if height < 0.9 else str(rng.choice(POSES[:2]))
    fur = palette.material(
        palette.texture(
            hair_texture(rng)[0] if rng.random() < 0.6 else fabric_texture(rng, plain=0.4)
        ),
        repeat=float(rng.uniform(0.5, 2)),
        wrap=0.3,
    )
    trunk_radius = rng.uniform(0.17, 0.26)  # radius of the trunk
    half = rng.uniform(0.5, 0.72)  # of the trunk's length
    rump, chest = _trunk_ends(pose, trunk_radius, half)
    middle = _shifted((rump + chest) / 2, z=-0.1 * trunk_radius)
    limbs = [([rump, middle, chest], [0.9 * trunk_radius, trunk_radius, 0.95 * trunk_radius])]
    limbs += _head(rng, chest, trunk_radius)
    for side in (-1, 1):
        limbs += _legs(rng, pose, rump, chest, side * 0.55 * trunk_radius)
    limbs.append(_tail(rng, rump))
    parts = [tube(np.array(points), np.array(radii), fur) for points, radii in limbs]
    animal = merge_props(parts)
    vertices = animal.vertices * height
    vertices[:, 2] -= vertices[:, 2].min()
    return replace(animal, vertices=vertices)


def _trunk_ends(pose: str, trunk_radius: float, half: float) -> tuple[np.ndarray, np.ndarray]:
    if pose == "sit":
        return np.array([0, 0.5 * half, 1.05 * trunk_radius]), np.array([0, -0.4 * half, 0.85])
    high = trunk_radius if pose == "lie" else 1 - trunk_radius
    return np.array([0, half, high]), np.array([0, -half, high])


def _head(rng: np.random.Generator, chest: np.ndarray, trunk_radius: float) -> list[Limb]:
    neck_angle, reach = rng.uniform(0.2, 1.3), rng.uniform(0.25, 0.55)
    aside = rng.normal(0, 0.12)
    nape = chest + reach * np.array([aside, -np.cos(neck_angle), np.sin(neck_angle)])
    nod, muzzle = rng.uniform(-0.9, 0.2), rng.uniform(0.25, 0.42)
    ahead = np.array([2 * aside, -np.cos(nod), np.sin(nod)])
    skull = nape + 0.3 * muzzle * ahead
    head_radius = trunk_radius * rng.uniform(0.42, 0.62)
    limbs: list[Limb] = [
        (
            [chest, (chest + nape) / 2, nape],
            [0.75 * trunk_radius, 0.6 * trunk_radius, 0.85 * head_radius],
        ),
        (
            [nape, skull, nape + 0.65 * muzzle * ahead, nape + muzzle * ahead],
            [0.8 * head_radius, head_radius, 0.62 * head_radius, 0.45 * head_radius],
        ),
    ]
    length = rng.uniform(0.06, 0.2)
    for side in (-1, 1):
        root = _shifted(skull, side * 0.7 * head_radius, 0.3 * head_radius, 0.6 * head_radius)
        tip = root + length * np.array([side * rng.uniform(0, 1), 0.2, rng.uniform(-0.4, 1)])
        limbs.append(([root, tip], [0.35 * head_radius, 0.08 * head_radius]))
    return limbs


def _legs(
    rng: np.random.Generator, pose: str, rump: np.ndarray, chest: np.ndarray, x: float
) -> list[Limb]:
    """The front and the hind leg of one side."""
    r = rng.uniform(0.045, 0.075)  # scale of the radii
    radii = [1.7 * r, 1.1 * r, 0.8 * r, 0.9 * r]
    front, back = _shifted(chest, x), _shifted(rump, x)
    swing = rng.normal(0, 0.16, 2) if pose == "walk" else rng.normal(0, 0.03, 2)
    if pose == "lie":
        paw = _shifted(front, 0, -0.42, 0.03 - front[2])
        elbow = _shifted(front, 0, 0.02, 0.05 - front[2])
        fore = [front, elbow, (front + paw) / 2 * [1, 1, 0.5], paw]
    else:
        y = front[1] + swing[0]
        fore = [
            front,
            np.array([front[0], front[1] + 0.4 * swing[0], 0.52 * front[2]]),
            np.array([front[0], y, 0.06]),
            np.array([front[0], y - 0.06, 0.03]),
        ]
    if pose in ("sit", "lie"):
        knee = _shifted(back, 0.5 * x, -0.3, 0.12)
        heel = _shifted(back, 0.4 * x, 0.02, 0.06 - back[2])
        hind = [back, knee, heel, knee * [1, 1, 0] + [0, 0, 0.04]]
        return [(fore, radii), (hind, [2.2 * r, 1.5 * r, r, r])]
    y = back[1] + swing[1]
    hind = [
        back,
        np.array([back[0], back[1] - 0.1 + 0.4 * swing[1], 0.58 * back[2]]),
        np.array([back[0], y + 0.08, 0.3 * back[2]]),
        np.array([back[0], y, 0.05]),
        np.array([back[0], y - 0.06, 0.03]),
    ]
    return [(fore, radii), (hind, [2.2 * r, 1.5 * r, 0.9 * r, 0.8 * r, 0.9 * r])]


def _tail(rng: np.random.Generator, rump: np.ndarray) -> Limb:
    length, rise = rng.uniform(0.15, 0.8), rng.uniform(-1.2, 1.2)
    bend = rng.normal(0, 0.25, 3)
    middle = rump + length / 2 * np.array([bend[0], np.cos(rise), np.sin(rise)])
    end = middle + length / 2 * np.array([bend[1], np.cos(rise), np.sin(rise) + bend[2]])
    radius = rng.uniform(0.02, 0.06)
    middle[2], end[2] = max(middle[2], 0.05), max(end[2], 0.05)
    return [rump, middle, end], [1.3 * radius, radius, 0.6 * radius]


def _shifted(point: np.ndarray, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """A point shifted by x, y and z."""
    axes: np.ndarray = point + np.array([x, y, z])
    return axes


def _smoothed(points: np.ndarray, steps: int) -> np.ndarray:
    """A finer path through points [n c] with smoothed corners."""
    fine = np.linspace(0, len(points) - 1, steps * (len(points) - 1) + 1)
    columns = [np.interp(fine, np.arange(len(points)), column) for column in points.T]
    path = np.stack(columns, 1)
    for _ in range(steps - 1):
        path[1:-1] = (path[:-2] + 2 * path[1:-1] + path[2:]) / 4
    return path


def _cross_axes(along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors across each step of the path, without twist."""
    side = np.array([1.0, 0.0, 0.0])
    axes = []
    for step in along:
        side = side - step * (side @ step)
        side = normalized(side if np.linalg.norm(side) > 1e-3 else np.cross(step, [0.0, 0.6, 0.8]))
        axes.append(side)
    across = np.array(axes)
    return across, np.cross(along, across)
