"""Four-legged animals, from a cat to a horse: trunks and limbs that move and are nobody's.

Made of tubes round a drawn skeleton. Proportions are those of animals by eye, not measured.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from thfm_ros.synth.primitives.mesh import Palette
from thfm_ros.synth.primitives.rotation import unit
from thfm_ros.synth.primitives.texture import cloth, hair
from thfm_ros.synth.scene.clutter import SIDES, Thing, merged, sheet

POSES = ("stand", "walk", "sit", "lie")
POSE_SHARE = (0.4, 0.25, 0.2, 0.15)
Limb = tuple[list[np.ndarray], list[float]]
"""Points (x to the left, y backwards, z up) and radii of a tube, in heights of the shoulder."""


def tube(
    points: Float[np.ndarray, "n 3"], radii: Float[np.ndarray, "n"], material: int, steps: int = 4
) -> Thing:
    """A round limb along a smooth curve through ``points``, closed at both ends."""
    way, thick = _rounded(points, steps), _rounded(radii[:, None], steps)[:, 0]
    along = unit(np.gradient(way, axis=0))
    # The ends are drawn out and shut, as a sausage's are.
    tips = way[0] - 0.6 * thick[0] * along[0], way[-1] + 0.6 * thick[-1] * along[-1]
    way = np.concatenate([[tips[0]], way, [tips[1]]])
    thick = np.concatenate([[1e-4], thick, [1e-4]])
    along = np.concatenate([along[:1], along, along[-1:]])
    across, up = _frames(along)
    turn = np.linspace(0, 2 * np.pi, SIDES + 1)[None, :, None]
    ring = np.cos(turn) * across[:, None] + np.sin(turn) * up[:, None]
    vertices = way[:, None] + thick[:, None, None] * ring
    return sheet(vertices, material)


def quadruped(rng: np.random.Generator, palette: Palette) -> Thing:
    """One animal: standing, walking, sitting or lying; its nose towards -y."""
    tall = float(np.exp(rng.uniform(np.log(0.22), np.log(1.6))))
    pose = str(rng.choice(POSES, p=POSE_SHARE)) if tall < 0.9 else str(rng.choice(POSES[:2]))
    fur = palette.material(
        palette.texture(hair(rng)[0] if rng.random() < 0.6 else cloth(rng, plain=0.4)),
        repeat=float(rng.uniform(0.5, 2)),
        wrap=0.3,
    )
    stout = rng.uniform(0.17, 0.26)  # radius of the trunk
    half = rng.uniform(0.5, 0.72)  # of the trunk's length
    rump, chest = _trunk_ends(pose, stout, half)
    middle = _from((rump + chest) / 2, z=-0.1 * stout)
    limbs = [([rump, middle, chest], [0.9 * stout, stout, 0.95 * stout])]
    limbs += _head(rng, chest, stout)
    for side in (-1, 1):
        limbs += _legs(rng, pose, rump, chest, side * 0.55 * stout)
    limbs.append(_tail(rng, rump))
    parts = [tube(np.array(points), np.array(radii), fur) for points, radii in limbs]
    animal = merged(parts)
    vertices = animal.vertices * tall
    vertices[:, 2] -= vertices[:, 2].min()
    return replace(animal, vertices=vertices)


def _trunk_ends(pose: str, stout: float, half: float) -> tuple[np.ndarray, np.ndarray]:
    if pose == "sit":
        return np.array([0, 0.5 * half, 1.05 * stout]), np.array([0, -0.4 * half, 0.85])
    high = stout if pose == "lie" else 1 - stout
    return np.array([0, half, high]), np.array([0, -half, high])


def _head(rng: np.random.Generator, chest: np.ndarray, stout: float) -> list[Limb]:
    lifted, reach = rng.uniform(0.2, 1.3), rng.uniform(0.25, 0.55)
    aside = rng.normal(0, 0.12)
    nape = chest + reach * np.array([aside, -np.cos(lifted), np.sin(lifted)])
    nod, muzzle = rng.uniform(-0.9, 0.2), rng.uniform(0.25, 0.42)
    ahead = np.array([2 * aside, -np.cos(nod), np.sin(nod)])
    skull = nape + 0.3 * muzzle * ahead
    wide = stout * rng.uniform(0.42, 0.62)
    limbs: list[Limb] = [
        ([chest, (chest + nape) / 2, nape], [0.75 * stout, 0.6 * stout, 0.85 * wide]),
        (
            [nape, skull, nape + 0.65 * muzzle * ahead, nape + muzzle * ahead],
            [0.8 * wide, wide, 0.62 * wide, 0.45 * wide],
        ),
    ]
    long = rng.uniform(0.06, 0.2)
    for side in (-1, 1):
        root = _from(skull, side * 0.7 * wide, 0.3 * wide, 0.6 * wide)
        tip = root + long * np.array([side * rng.uniform(0, 1), 0.2, rng.uniform(-0.4, 1)])
        limbs.append(([root, tip], [0.35 * wide, 0.08 * wide]))
    return limbs


def _legs(
    rng: np.random.Generator, pose: str, rump: np.ndarray, chest: np.ndarray, x: float
) -> list[Limb]:
    """A front and a hind leg of one side."""
    thin = rng.uniform(0.045, 0.075)
    radii = [1.7 * thin, 1.1 * thin, 0.8 * thin, 0.9 * thin]
    front, back = _from(chest, x), _from(rump, x)
    swing = rng.normal(0, 0.16, 2) if pose == "walk" else rng.normal(0, 0.03, 2)
    if pose == "lie":
        paw = _from(front, 0, -0.42, 0.03 - front[2])
        fore = [front, _from(front, 0, 0.02, 0.05 - front[2]), (front + paw) / 2 * [1, 1, 0.5], paw]
    else:
        y = front[1] + swing[0]
        fore = [
            front,
            np.array([front[0], front[1] + 0.4 * swing[0], 0.52 * front[2]]),
            np.array([front[0], y, 0.06]),
            np.array([front[0], y - 0.06, 0.03]),
        ]
    if pose in ("sit", "lie"):
        knee = _from(back, 0.5 * x, -0.3, 0.12)
        hind = [
            back,
            knee,
            _from(back, 0.4 * x, 0.02, 0.06 - back[2]),
            knee * [1, 1, 0] + [0, 0, 0.04],
        ]
        return [(fore, radii), (hind, [2.2 * thin, 1.5 * thin, thin, thin])]
    y = back[1] + swing[1]
    hind = [
        back,
        np.array([back[0], back[1] - 0.1 + 0.4 * swing[1], 0.58 * back[2]]),
        np.array([back[0], y + 0.08, 0.3 * back[2]]),
        np.array([back[0], y, 0.05]),
        np.array([back[0], y - 0.06, 0.03]),
    ]
    return [(fore, radii), (hind, [2.2 * thin, 1.5 * thin, 0.9 * thin, 0.8 * thin, 0.9 * thin])]


def _tail(rng: np.random.Generator, rump: np.ndarray) -> Limb:
    long, rise = rng.uniform(0.15, 0.8), rng.uniform(-1.2, 1.2)
    bend = rng.normal(0, 0.25, 3)
    middle = rump + long / 2 * np.array([bend[0], np.cos(rise), np.sin(rise)])
    end = middle + long / 2 * np.array([bend[1], np.cos(rise), np.sin(rise) + bend[2]])
    thick = rng.uniform(0.02, 0.06)
    middle[2], end[2] = max(middle[2], 0.05), max(end[2], 0.05)
    return [rump, middle, end], [1.3 * thick, thick, 0.6 * thick]


def _from(point: np.ndarray, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """A point so far from another."""
    found: np.ndarray = point + np.array([x, y, z])
    return found


def _rounded(points: np.ndarray, steps: int) -> np.ndarray:
    """A finer way through points [n c] with its corners cut."""
    fine = np.linspace(0, len(points) - 1, steps * (len(points) - 1) + 1)
    columns = [np.interp(fine, np.arange(len(points)), column) for column in points.T]
    way = np.stack(columns, 1)
    for _ in range(steps - 1):
        way[1:-1] = (way[:-2] + 2 * way[1:-1] + way[2:]) / 4
    return way


def _frames(along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two directions across each step of the way, that do not twist."""
    side = np.array([1.0, 0.0, 0.0])
    found = []
    for step in along:
        side = side - step * (side @ step)
        side = unit(side if np.linalg.norm(side) > 1e-3 else np.cross(step, [0.0, 0.6, 0.8]))
        found.append(side)
    across = np.array(found)
    return across, np.cross(along, across)
