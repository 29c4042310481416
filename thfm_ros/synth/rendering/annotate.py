# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Exact labels: dense maps at pixel centres, keypoints and their visibility."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int8, UInt8

from thfm_ros.skeleton import JOINT_NAMES, Joint
from thfm_ros.synth.primitives.jit import inlined, kernel
from thfm_ros.synth.shading.backdrop import Backdrop, PinholeCamera, intersect, pixel_ray
from thfm_ros.synth.shading.camera import CameraTrajectory
from thfm_ros.synth.shading.raster import barycentric, interpolate
from thfm_ros.synth.shading.shade import direction_to, facing_normal

MAX_DEPTH_M = 100.0  # the floor beyond this is labelled as sky: depth 0
OUTSIDE, HIDDEN, VISIBLE = 0, 1, 2

# Depth of joints below the visible surface up to which they count as visible, metres.
_JOINT_DEPTHS_M = {
    Joint.PELVIS: 0.22, Joint.LEFT_HIP: 0.2, Joint.RIGHT_HIP: 0.2, Joint.SPINE_LOWER: 0.22,
    Joint.SPINE_MIDDLE: 0.22, Joint.SPINE_UPPER: 0.2, Joint.HEAD: 0.18, Joint.NECK: 0.14,
    Joint.LEFT_SHOULDER: 0.14, Joint.RIGHT_SHOULDER: 0.14, Joint.LEFT_COLLAR: 0.16,
    Joint.RIGHT_COLLAR: 0.16, Joint.LEFT_KNEE: 0.11, Joint.RIGHT_KNEE: 0.11,
    Joint.NOSE: 0.06, Joint.LEFT_EYE: 0.06, Joint.RIGHT_EYE: 0.06,
}  # fmt: skip
JOINT_DEPTHS_M = np.array(
    [_JOINT_DEPTHS_M.get(Joint(index), 0.09) for index in range(len(JOINT_NAMES))]
)


@dataclass(frozen=True)
class Labels:
    """The label maps of one frame."""

    depth_m: Float32[np.ndarray, "h w"]  # 0 unknown
    normals: Int8[np.ndarray, "h w 3"]  # x 127, optical frame, towards the camera
    parts: UInt8[np.ndarray, "h w"]
    instances: UInt8[np.ndarray, "h w"]
    dense_pose_uv: Int8[np.ndarray, "h w 3"]  # cos 2 pi u, sin 2 pi u, v; x 127
    # To the next frame: pixels right, pixels down, change of depth in metres.
    flow: Float32[np.ndarray, "h w 3"]


@kernel
def rasterize_labels(
    triangles: np.ndarray,
    screen: np.ndarray,
    next_screen: np.ndarray,
    vertices: np.ndarray,
    normals: np.ndarray,
    faces: np.ndarray,
    dense_pose_uv: np.ndarray,
    parts: np.ndarray,
    instance_ids: np.ndarray,
    camera: PinholeCamera,
    next_camera: PinholeCamera,
    backdrop: Backdrop,
    depth_out: np.ndarray,
    normal_out: np.ndarray,
    part_out: np.ndarray,
    instance_out: np.ndarray,
    dense_pose_uv_out: np.ndarray,
    flow_out: np.ndarray,
) -> None:
    """Fill the maps (float32 and uint8) from the triangle at each pixel's centre."""
    height, width = triangles.shape
    r = camera.rotation
    for y in range(height):
        for x in range(width):
            f = triangles[y, x]
            px, py = x + 0.5, y + 0.5
            if f < 0:
                dx, dy, dz = pixel_ray(camera, px, py)
                kind, depth, nx, ny, nz = intersect(backdrop, camera.position, dx, dy, dz)
                if kind == 0 or depth > MAX_DEPTH_M:
                    continue
                e = camera.position
                wx, wy, wz = e[0] + dx * depth, e[1] + dy * depth, e[2] + dz * depth
                _backdrop_flow(next_camera, wx, wy, wz, px, py, depth, x, y, flow_out)
            else:
                i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
                a, b, c, depth = barycentric(screen, i, j, k, px, py)
                wx, wy, wz = interpolate(vertices, i, j, k, a, b, c)
                vx, vy, vz = direction_to(wx, wy, wz, camera.position)
                nx, ny, nz = interpolate(normals, i, j, k, a, b, c)
                nx, ny, nz = facing_normal(nx, ny, nz, vx, vy, vz)
                if instance_ids[f] > 0:
                    instance_out[y, x] = instance_ids[f]
                    _person_labels(
                        i, j, k, a, b, c, x, y, dense_pose_uv, parts, part_out, dense_pose_uv_out
                    )
                if next_screen[i, 2] > 0 and next_screen[j, 2] > 0 and next_screen[k, 2] > 0:
                    _mesh_flow(next_screen, i, j, k, a, b, c, px, py, depth, x, y, flow_out)
            depth_out[y, x] = depth
            for axis in range(3):
                normal_out[y, x, axis] = r[axis, 0] * nx + r[axis, 1] * ny + r[axis, 2] * nz


@inlined
def _person_labels(
    i: int, j: int, k: int, a: float, b: float, c: float, x: int, y: int,
    dense_pose_uv: np.ndarray, parts: np.ndarray,
    part_out: np.ndarray, dense_pose_uv_out: np.ndarray,
) -> None:  # fmt: skip
    """Body part and dense-pose UV; if the corners' parts differ, the nearest corner's."""
    nearest = i
    if b > a and b >= c:
        nearest = j
    elif c > a and c > b:
        nearest = k
    part_out[y, x] = parts[nearest]
    u, w, v = dense_pose_uv[nearest, 0], dense_pose_uv[nearest, 1], dense_pose_uv[nearest, 2]
    if parts[i] == parts[j] and parts[j] == parts[k]:
        u, w, v = interpolate(dense_pose_uv, i, j, k, a, b, c)
    length = np.sqrt(u * u + w * w) + 1e-6
    dense_pose_uv_out[y, x, 0], dense_pose_uv_out[y, x, 1], dense_pose_uv_out[y, x, 2] = (
        u / length,
        w / length,
        v,
    )


@inlined
def _mesh_flow(
    screen: np.ndarray, i: int, j: int, k: int, a: float, b: float, c: float,
    px: float, py: float, depth: float, x: int, y: int, out: np.ndarray,
) -> None:  # fmt: skip
    """Flow of a point on a mesh to its position in the next frame."""
    z0, z1, z2 = a / screen[i, 2], b / screen[j, 2], c / screen[k, 2]
    z = z0 + z1 + z2
    out[y, x, 0] = (screen[i, 0] * z0 + screen[j, 0] * z1 + screen[k, 0] * z2) / z - px
    out[y, x, 1] = (screen[i, 1] * z0 + screen[j, 1] * z1 + screen[k, 1] * z2) / z - py
    out[y, x, 2] = z - depth


@inlined
def _backdrop_flow(
    camera: PinholeCamera, wx: float, wy: float, wz: float,
    px: float, py: float, depth: float, x: int, y: int, out: np.ndarray,
) -> None:  # fmt: skip
    """Flow of a point on the backdrop, which is static: only the camera moves."""
    r, p, intrinsics = camera.rotation, camera.position, camera.intrinsics
    dx, dy, dz = wx - p[0], wy - p[1], wz - p[2]
    z = r[2, 0] * dx + r[2, 1] * dy + r[2, 2] * dz
    if z > 0.05:
        right = (r[0, 0] * dx + r[0, 1] * dy + r[0, 2] * dz) / z
        down = (r[1, 0] * dx + r[1, 1] * dy + r[1, 2] * dz) / z
        out[y, x, 0] = intrinsics[0] * right + intrinsics[2] - px
        out[y, x, 1] = intrinsics[1] * down + intrinsics[3] - py
        out[y, x, 2] = z - depth


def joints_in_camera(
    joints: Float[np.ndarray, "k 3"], trajectory: CameraTrajectory, frame: int
) -> tuple[Float[np.ndarray, "k 2"], Float[np.ndarray, "k 3"]]:
    """Project world joints: pixels, and metres in the optical frame.

    The pixels of a joint behind the camera are NaN.
    """
    in_camera = (joints - trajectory.positions[frame]) @ trajectory.rotations[frame].T
    depth = np.where(in_camera[:, 2:] > 0.05, in_camera[:, 2:], np.nan)
    pixels = in_camera[:, :2] / depth * trajectory.intrinsics[:2] + trajectory.intrinsics[2:]
    return pixels, in_camera


def visibility(
    pixels: Float[np.ndarray, "k 2"],
    positions: Float[np.ndarray, "k 3"],
    labels: Labels,
    person: int,
) -> UInt8[np.ndarray, "k"]:
    """OUTSIDE the image, HIDDEN or VISIBLE, for each joint of one person.

    A joint lies inside the body, so the surface in front of it occludes it only if it is more than
    JOINT_DEPTHS_M nearer to the camera or belongs to another instance.

    Args:
        pixels: joints in the image.
        positions: joints in the optical frame, metres.
        labels: the maps of the frame.
        person: number of the person in ``labels.instances``.
    """
    height, width = labels.depth_m.shape
    column = np.floor(np.nan_to_num(pixels[:, 0], nan=-1)).astype(int)
    row = np.floor(np.nan_to_num(pixels[:, 1], nan=-1)).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    x, y = np.clip(column, 0, width - 1), np.clip(row, 0, height - 1)
    depth, instance = labels.depth_m[y, x], labels.instances[y, x]
    unoccluded = (depth == 0) | (positions[:, 2] < depth + JOINT_DEPTHS_M)
    own = (instance == person) | (
        (instance == 0) & ((depth == 0) | (positions[:, 2] < depth + 0.03))
    )
    return np.where(inside, np.where(unoccluded & own, VISIBLE, HIDDEN), OUTSIDE).astype(np.uint8)
