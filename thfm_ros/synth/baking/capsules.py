"""A body of capsules: the smallest asset pack that the generator takes, made by code alone.

It needs no source and no licence, so tests and benchmarks of everything else can render with it.
"""

from dataclasses import dataclass

import numpy as np

from thfm_ros.skeleton import Joint
from thfm_ros.synth.pack import QUATERNION_UNIT, AssetPack, BodyAssets, MotionClip
from thfm_ros.synth.people.masks import skin_masks
from thfm_ros.synth.people.segments import SEGMENTS
from thfm_ros.synth.people.surface import cylinder_coordinates, vertex_parts
from thfm_ros.synth.primitives.rotation import frame_of, from_axis_angle, to_quaternion

# Bone, parent, where it begins (x is for the left side), radius of its capsule, all in metres.
_MIDDLE = (
    ("root", "", (0, 0, 0.95), 0.13),
    ("spine04", "root", (0, 0, 1.05), 0.12),
    ("spine03", "spine04", (0, 0, 1.15), 0.12),
    ("spine02", "spine03", (0, 0, 1.23), 0.13),
    ("spine01", "spine02", (0, 0, 1.3), 0.13),
    ("neck01", "spine01", (0, 0, 1.46), 0.055),
    ("head", "neck01", (0, 0, 1.56), 0.1),
)
_SIDE = (
    ("clavicle", "spine01", (0.04, 0, 1.4), 0.06),
    ("shoulder01", "clavicle", (0.1, 0, 1.41), 0.06),
    ("upperarm01", "shoulder01", (0.17, 0, 1.4), 0.05),
    ("lowerarm01", "upperarm01", (0.35, 0.01, 1.2), 0.042),
    ("wrist", "lowerarm01", (0.52, -0.03, 1.04), 0.035),
    ("finger3-1", "wrist", (0.59, -0.05, 0.97), 0.025),
    ("upperleg01", "root", (0.1, 0, 0.9), 0.08),
    ("lowerleg01", "upperleg01", (0.11, -0.01, 0.5), 0.06),
    ("foot", "lowerleg01", (0.11, 0.02, 0.09), 0.045),
    ("toe2-1", "foot", (0.12, -0.13, 0.04), 0.035),
)
# What the last bone of a chain reaches to.
_ENDS = {"head": (0, 0, 1.72), "finger3-1": (0.65, -0.06, 0.91), "toe2-1": (0.12, -0.19, 0.035)}
_ROUND, _ALONG = 10, 5


@dataclass(frozen=True)
class _Bones:
    names: list[str]
    parents: list[int]
    heads: np.ndarray
    ends: np.ndarray
    radii: np.ndarray


def capsule_pack() -> AssetPack:
    """The pack: one shape space of tall and wide capsule people, one swaying motion."""
    body = _body(_bones())
    about = {"body": "capsules", "seed": 0, "garments": 0, "motions": 1}
    nothing = np.zeros((0, len(body.bone_names), 4), np.int16)
    return AssetPack(about, body, (), (_sway(),), (), nothing, ())


def _bones() -> _Bones:
    rows: list[tuple[str, str, tuple[float, float, float], float]] = list(_MIDDLE)
    for side, sign in (("L", 1.0), ("R", -1.0)):
        for name, parent, (x, y, z), radius in _SIDE:
            above = parent if parent in ("spine01", "root") else f"{parent}.{side}"
            rows.append((f"{name}.{side}", above, (sign * x, y, z), radius))
    names = [row[0] for row in rows]
    heads = np.array([row[2] for row in rows], float)
    parents = [names.index(row[1]) if row[1] else -1 for row in rows]
    ends = heads.copy()
    for bone, name in enumerate(names):
        children = [child for child, parent in enumerate(parents) if parent == bone]
        stem, _, side = name.partition(".")
        if stem in _ENDS:
            ends[bone] = np.array(_ENDS[stem]) * [-1 if side == "R" else 1, 1, 1]
        elif children:
            ends[bone] = heads[children[0]]
    return _Bones(names, parents, heads, ends, np.array([row[3] for row in rows]))


def _body(bones: _Bones) -> BodyAssets:
    rest, faces, uv, owner = _mesh(bones)
    weights, numbers = np.zeros((len(rest), 8), np.float32), np.zeros((len(rest), 8), np.int32)
    weights[:, 0], numbers[:, 0] = 1, owner
    parts = vertex_parts(bones.names, numbers, weights)
    heads = bones.heads.astype(np.float32)
    places = _joint_places(bones)
    seen, regressor = _nearest_vertices(rest, places)
    names, masks = skin_masks(rest, parts, places, (), lambda _, n: np.zeros(n))
    mean = np.concatenate([rest, heads])
    rng = np.random.default_rng(0)
    race = np.eye(3)[np.arange(12) % 3]
    traits = np.concatenate([rng.random((12, 1)), np.full((12, 1), 0.7), race], axis=1)
    return BodyAssets(
        faces=faces,
        face_uv=uv,
        face_kind=np.zeros(len(faces), np.uint8),
        weights=weights,
        bones=numbers,
        parents=np.array(bones.parents, np.int32),
        bone_names=np.array(bones.names),
        rest=rest,
        heads=heads,
        parts=parts,
        surface=cylinder_coordinates(rest, parts, bones.names, heads),
        regressor_vertices=seen,
        regressor=regressor,
        shape_mean=mean,
        shape_axes=np.stack([mean, mean * [1, 1, 0]]).astype(np.float16),
        shape_samples=rng.normal(0, 0.05, (12, 2)).astype(np.float32),
        shape_traits=traits.astype(np.float32),
        mask_names=np.array(names),
        masks=masks,
        expression_names=np.array([], str),
        expression_vertices=np.zeros(0, np.int32),
        expressions=np.zeros((0, 0, 3), np.float16),
    )


def _mesh(bones: _Bones) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, triangles, texture coordinates, and the bone of each vertex."""
    shapes = zip(bones.heads, bones.ends, bones.radii, strict=True)
    pieces = [_capsule(start, end, radius) for start, end, radius in shapes]
    count = len(pieces[0][0])
    rest = np.concatenate([piece[0] for piece in pieces]).astype(np.float32)
    faces = np.concatenate([piece[1] + count * n for n, piece in enumerate(pieces)])
    uv = np.concatenate([piece[2] for piece in pieces]).astype(np.float32)
    return rest, faces.astype(np.int32), uv, np.repeat(np.arange(len(pieces)), count)


def _nearest_vertices(rest: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A regressor [23, m] that gives the vertex nearest to each joint, and those vertices."""
    distance = np.linalg.norm(rest[None] - places[:, None], axis=2)
    seen, column = np.unique(np.argmin(distance, axis=1), return_inverse=True)
    regressor = np.zeros((len(places), len(seen)), np.float32)
    regressor[np.arange(len(places)), column] = 1
    return seen.astype(np.int32), regressor


def _capsule(
    start: np.ndarray, end: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, triangles (outward) and texture coordinates of a capsule between two points."""
    length = float(np.linalg.norm(end - start))
    axis = (end - start) / length if length > 1e-6 else np.array([0.0, 0, 1])
    frame = frame_of(axis, np.array([0.0, -1.0, 0.1]))
    arc = np.linspace(0.12, np.pi - 0.12, 2 * _ALONG)
    along = -radius * np.cos(arc) + np.where(arc > np.pi / 2, length, 0.0)
    turn = np.linspace(0, 2 * np.pi, _ROUND, endpoint=False)
    rings = [
        np.stack([np.full(_ROUND, z), r * np.cos(turn), r * np.sin(turn)], axis=1)
        for z, r in zip(along, radius * np.sin(arc), strict=True)
    ]
    faces, uv = [], []
    for ring in range(len(rings) - 1):
        for side in range(_ROUND):
            a, b = ring * _ROUND + side, ring * _ROUND + (side + 1) % _ROUND
            c, d = a + _ROUND, b + _ROUND
            faces += [[a, b, d], [a, d, c]]
            low, high = ring / len(rings), (ring + 1) / len(rings)
            left, right = side / _ROUND, (side + 1) / _ROUND
            uv += [
                [[left, low], [right, low], [right, high]],
                [[left, low], [right, high], [left, high]],
            ]
    return np.concatenate(rings) @ frame.T + start, np.array(faces), np.array(uv)


def _joint_places(bones: _Bones) -> np.ndarray:
    """Where the first 23 joints of the skeleton lie on the rest pose."""
    at = dict(zip(bones.names, bones.heads, strict=True))
    face = {Joint.NOSE: (0, -0.1, 1.64), Joint.LEFT_EYE: (0.03, -0.09, 1.67),
            Joint.LEFT_EAR: (0.1, 0, 1.65)}  # fmt: skip
    limbs = {
        Joint.LEFT_SHOULDER: at["upperarm01.L"], Joint.LEFT_ELBOW: at["lowerarm01.L"],
        Joint.LEFT_WRIST: at["wrist.L"], Joint.LEFT_HIP: at["upperleg01.L"],
        Joint.LEFT_KNEE: at["lowerleg01.L"], Joint.LEFT_ANKLE: at["foot.L"],
        Joint.LEFT_BIG_TOE: np.array([0.1, -0.2, 0.03]),
        Joint.LEFT_SMALL_TOE: np.array([0.15, -0.17, 0.03]),
        Joint.LEFT_HEEL: np.array([0.11, 0.06, 0.06]),
    }  # fmt: skip
    places = {**face, **limbs}
    out = np.zeros((23, 3))
    for joint in range(23):
        name = Joint(joint).name
        twin = Joint[name.replace("RIGHT_", "LEFT_")]
        mirrored = -1.0 if name.startswith("RIGHT_") else 1.0
        out[joint] = np.array(places[twin], float) * [mirrored, 1, 1]
    return out


def _sway() -> MotionClip:
    """Two seconds of leaning to and fro, with an arm that swings."""
    times = np.linspace(0, 2, 60)
    turns = np.broadcast_to(np.eye(3), (60, len(SEGMENTS), 3, 3)).copy()
    lean = from_axis_angle(np.stack([0.2 * np.sin(3 * times), 0 * times, 0 * times], axis=1))
    swing = from_axis_angle(np.stack([0.8 * np.sin(3 * times), 0 * times, 0 * times], axis=1))
    for segment in ("spine1", "spine2", "neck", "head", "clavL", "clavR"):
        turns[:, SEGMENTS.index(segment)] = lean
    for segment in ("uarmL", "farmL", "handL"):
        turns[:, SEGMENTS.index(segment)] = lean @ swing
    packed = np.round(to_quaternion(turns) * QUATERNION_UNIT).astype(np.int16)
    root = np.tile(np.array([0, 0, 1.0], np.float32), (60, 1))
    return MotionClip("capsules/sway", 30.0, packed, root)
