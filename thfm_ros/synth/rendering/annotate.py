"""Exact labels: what lies under the centre of every pixel, and where the joints are."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int8, UInt8

from thfm_ros.skeleton import JOINT_NAMES, Joint
from thfm_ros.synth.primitives.jit import inlined, kernel
from thfm_ros.synth.shading.backdrop import Backdrop, Camera, hit, ray
from thfm_ros.synth.shading.camera import Shot
from thfm_ros.synth.shading.raster import barycentric, mixed
from thfm_ros.synth.shading.shade import facing_normal, towards

FARTHEST_M = 100.0  # beyond this the floor is as good as sky: depth 0
OUTSIDE, HIDDEN, VISIBLE = 0, 1, 2

# How deep a joint may lie under the surface that is seen and still count as visible, metres.
_DEEP = {
    Joint.PELVIS: 0.22, Joint.LEFT_HIP: 0.2, Joint.RIGHT_HIP: 0.2, Joint.SPINE_LOWER: 0.22,
    Joint.SPINE_MIDDLE: 0.22, Joint.SPINE_UPPER: 0.2, Joint.HEAD: 0.18, Joint.NECK: 0.14,
    Joint.LEFT_SHOULDER: 0.14, Joint.RIGHT_SHOULDER: 0.14, Joint.LEFT_COLLAR: 0.16,
    Joint.RIGHT_COLLAR: 0.16, Joint.LEFT_KNEE: 0.11, Joint.RIGHT_KNEE: 0.11,
    Joint.NOSE: 0.06, Joint.LEFT_EYE: 0.06, Joint.RIGHT_EYE: 0.06,
}  # fmt: skip
JOINT_DEPTHS_M = np.array([_DEEP.get(Joint(index), 0.09) for index in range(len(JOINT_NAMES))])


@dataclass(frozen=True)
class Labels:
    """One frame's maps."""

    depth_m: Float32[np.ndarray, "h w"]  # 0 unknown
    normals: Int8[np.ndarray, "h w 3"]  # x 127, optical frame, towards the camera
    parts: UInt8[np.ndarray, "h w"]
    instances: UInt8[np.ndarray, "h w"]
    surface: Int8[np.ndarray, "h w 3"]  # x 127
    flow: Float32[np.ndarray, "h w 3"]  # pixels right, down, and metres away, to the next frame


@kernel
def label(
    triangles: np.ndarray,
    screen: np.ndarray,
    next_screen: np.ndarray,
    vertices: np.ndarray,
    normals: np.ndarray,
    faces: np.ndarray,
    surface: np.ndarray,
    parts: np.ndarray,
    owners: np.ndarray,
    camera: Camera,
    next_camera: Camera,
    place: Backdrop,
    depth_out: np.ndarray,
    normal_out: np.ndarray,
    part_out: np.ndarray,
    owner_out: np.ndarray,
    surface_out: np.ndarray,
    flow_out: np.ndarray,
) -> None:
    """Fill the maps (float32 and uint8) from the triangle under each pixel's centre."""
    height, width = triangles.shape
    r = camera.rotation
    for y in range(height):
        for x in range(width):
            f = triangles[y, x]
            px, py = x + 0.5, y + 0.5
            if f < 0:
                dx, dy, dz = ray(camera, px, py)
                kind, depth, nx, ny, nz = hit(place, camera.position, dx, dy, dz)
                if kind == 0 or depth > FARTHEST_M:
                    continue
                e = camera.position
                wx, wy, wz = e[0] + dx * depth, e[1] + dy * depth, e[2] + dz * depth
                _place_flow(next_camera, wx, wy, wz, px, py, depth, x, y, flow_out)
            else:
                i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
                a, b, c, depth = barycentric(screen, i, j, k, px, py)
                wx, wy, wz = mixed(vertices, i, j, k, a, b, c)
                vx, vy, vz = towards(wx, wy, wz, camera.position)
                nx, ny, nz = mixed(normals, i, j, k, a, b, c)
                nx, ny, nz = facing_normal(nx, ny, nz, vx, vy, vz)
                if owners[f] > 0:
                    owner_out[y, x] = owners[f]
                    _person(i, j, k, a, b, c, x, y, surface, parts, part_out, surface_out)
                if next_screen[i, 2] > 0 and next_screen[j, 2] > 0 and next_screen[k, 2] > 0:
                    _flow(next_screen, i, j, k, a, b, c, px, py, depth, x, y, flow_out)
            depth_out[y, x] = depth
            for axis in range(3):
                normal_out[y, x, axis] = r[axis, 0] * nx + r[axis, 1] * ny + r[axis, 2] * nz


@inlined
def _person(
    i: int, j: int, k: int, a: float, b: float, c: float, x: int, y: int,
    surface: np.ndarray, parts: np.ndarray, part_out: np.ndarray, surface_out: np.ndarray,
) -> None:  # fmt: skip
    """Part, and place on the part. Where the three corners disagree, the nearest one says."""
    nearest = i
    if b > a and b >= c:
        nearest = j
    elif c > a and c > b:
        nearest = k
    part_out[y, x] = parts[nearest]
    u, w, v = surface[nearest, 0], surface[nearest, 1], surface[nearest, 2]
    if parts[i] == parts[j] and parts[j] == parts[k]:
        u, w, v = mixed(surface, i, j, k, a, b, c)
    length = np.sqrt(u * u + w * w) + 1e-6
    surface_out[y, x, 0], surface_out[y, x, 1], surface_out[y, x, 2] = u / length, w / length, v


@inlined
def _flow(
    screen: np.ndarray, i: int, j: int, k: int, a: float, b: float, c: float,
    px: float, py: float, depth: float, x: int, y: int, out: np.ndarray,
) -> None:  # fmt: skip
    """Where this very point of the surface is in the next frame, relative to here."""
    z0, z1, z2 = a / screen[i, 2], b / screen[j, 2], c / screen[k, 2]
    z = z0 + z1 + z2
    out[y, x, 0] = (screen[i, 0] * z0 + screen[j, 0] * z1 + screen[k, 0] * z2) / z - px
    out[y, x, 1] = (screen[i, 1] * z0 + screen[j, 1] * z1 + screen[k, 1] * z2) / z - py
    out[y, x, 2] = z - depth


@inlined
def _place_flow(
    camera: Camera, wx: float, wy: float, wz: float,
    px: float, py: float, depth: float, x: int, y: int, out: np.ndarray,
) -> None:  # fmt: skip
    """The same for a point of floor or wall: only the camera moves."""
    r, p, lens = camera.rotation, camera.position, camera.lens
    dx, dy, dz = wx - p[0], wy - p[1], wz - p[2]
    z = r[2, 0] * dx + r[2, 1] * dy + r[2, 2] * dz
    if z > 0.05:
        right = (r[0, 0] * dx + r[0, 1] * dy + r[0, 2] * dz) / z
        down = (r[1, 0] * dx + r[1, 1] * dy + r[1, 2] * dz) / z
        out[y, x, 0] = lens[0] * right + lens[2] - px
        out[y, x, 1] = lens[1] * down + lens[3] - py
        out[y, x, 2] = z - depth


def joints_in_camera(
    joints: Float[np.ndarray, "k 3"], shot: Shot, frame: int
) -> tuple[Float[np.ndarray, "k 2"], Float[np.ndarray, "k 3"]]:
    """Pixels and optical-frame metres of world joints. A joint behind the camera has no pixel."""
    seen = (joints - shot.positions[frame]) @ shot.rotations[frame].T
    depth = np.where(seen[:, 2:] > 0.05, seen[:, 2:], np.nan)
    pixels = seen[:, :2] / depth * shot.lens[:2] + shot.lens[2:]
    return pixels, seen


def visibility(
    pixels: Float[np.ndarray, "k 2"],
    positions: Float[np.ndarray, "k 3"],
    labels: Labels,
    person: int,
) -> UInt8[np.ndarray, "k"]:
    """OUTSIDE the image, HIDDEN by something, or VISIBLE, for each joint of one person.

    A joint lies inside the body, so the surface before it hides it only when it is farther
    before it than a body is thick there, or belongs to somebody else.
    """
    height, width = labels.depth_m.shape
    column = np.floor(np.nan_to_num(pixels[:, 0], nan=-1)).astype(int)
    row = np.floor(np.nan_to_num(pixels[:, 1], nan=-1)).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    x, y = np.clip(column, 0, width - 1), np.clip(row, 0, height - 1)
    depth, owner = labels.depth_m[y, x], labels.instances[y, x]
    free = (depth == 0) | (positions[:, 2] < depth + JOINT_DEPTHS_M)
    own = (owner == person) | ((owner == 0) & ((depth == 0) | (positions[:, 2] < depth + 0.03)))
    return np.where(inside, np.where(free & own, VISIBLE, HIDDEN), OUTSIDE).astype(np.uint8)
