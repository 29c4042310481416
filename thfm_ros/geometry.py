"""Projection, resizing, rotations, and the solve for where a person stands.

Pure functions on numpy arrays. Pixels and frames are those of contract.py: the centre of the
top-left pixel is (0.5, 0.5); x right, y down, z forward, metres.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64

from thfm_ros.contract import Intrinsics, PixelMap


def project(points_m: Float[np.ndarray, "*n 3"], k: Intrinsics) -> Float[np.ndarray, "*n 2"]:
    """Pixels of points in front of the camera; NaN for points behind it."""
    z = np.where(points_m[..., 2] > 0, points_m[..., 2], np.nan)
    x = k.fx * points_m[..., 0] / z + k.cx
    return np.stack([x, k.fy * points_m[..., 1] / z + k.cy], axis=-1)


def rays(pixels: Float[np.ndarray, "*n 2"], k: Intrinsics) -> Float[np.ndarray, "*n 3"]:
    """Directions through pixels, scaled so that z = 1."""
    x = (pixels[..., 0] - k.cx) / k.fx
    y = (pixels[..., 1] - k.cy) / k.fy
    return np.stack([x, y, np.ones_like(x)], axis=-1)


def unproject(depth_m: Float32[np.ndarray, "h w"], k: Intrinsics) -> Float32[np.ndarray, "h w 3"]:
    """Lift a depth image of the size of ``k`` to points; NaN where depth is NaN."""
    height, width = depth_m.shape
    x = ((np.arange(width, dtype=np.float32) + 0.5) - k.cx) / k.fx
    y = ((np.arange(height, dtype=np.float32) + 0.5) - k.cy) / k.fy
    return np.stack([depth_m * x, depth_m * y[:, None], depth_m], axis=-1).astype(np.float32)


def resized(k: Intrinsics, width: int, height: int) -> Intrinsics:
    """The same camera after its image was resized to ``width`` x ``height``."""
    sx, sy = width / k.width, height / k.height
    return Intrinsics(k.fx * sx, k.fy * sy, k.cx * sx, k.cy * sy, width, height)


def seen_through(k: Intrinsics, pixel_map: PixelMap) -> Intrinsics:
    """The camera of a network image that was cut out of the image of ``k``."""
    return Intrinsics(
        fx=k.fx / pixel_map.scale,
        fy=k.fy / pixel_map.scale,
        cx=(k.cx - pixel_map.offset_x) / pixel_map.scale,
        cy=(k.cy - pixel_map.offset_y) / pixel_map.scale,
        width=pixel_map.width,
        height=pixel_map.height,
    )


def with_field_of_view(width: int, height: int, hfov_deg: float) -> Intrinsics:
    """A camera without distortion, square pixels and its axis in the middle of the image."""
    if not 1.0 <= hfov_deg <= 170.0:
        raise ValueError(f"a horizontal field of view of {hfov_deg} degrees; use 1 to 170")
    focal = 0.5 * width / math.tan(math.radians(hfov_deg) / 2)
    return Intrinsics(focal, focal, width / 2, height / 2, width, height)


def flipped(k: Intrinsics) -> Intrinsics:
    """The camera of the mirrored image."""
    return replace(k, cx=k.width - k.cx)


def to_source(points: Float[np.ndarray, "*n 2"], pixel_map: PixelMap) -> Float[np.ndarray, "*n 2"]:
    """From pixels of the network image to pixels of the source image."""
    offset = np.array([pixel_map.offset_x, pixel_map.offset_y])
    return np.asarray(points * pixel_map.scale + offset)


def to_network(points: Float[np.ndarray, "*n 2"], pixel_map: PixelMap) -> Float[np.ndarray, "*n 2"]:
    """From pixels of the source image to pixels of the network image."""
    offset = np.array([pixel_map.offset_x, pixel_map.offset_y])
    return np.asarray((points - offset) / pixel_map.scale)


def turn_to_ray(ray: Float[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    """R_optical_view: the smallest rotation that turns the z axis onto ``ray``.

    A network that sees a crop cannot know where in the image the crop lies: it speaks in the
    axes of a camera that looks straight at the person. This turns its words into the axes of
    the real camera; 30 degrees off-axis, leaving it out turns people by those 30 degrees.
    """
    x, y, z = ray / np.linalg.norm(ray)
    if z <= -1 + 1e-9:
        raise ValueError("the ray points backwards: no smallest rotation is unique")
    # Rodrigues with axis (-y, x, 0) and cosine z, written out
    a = 1 / (1 + z)
    return np.array([[1 - a * x * x, -a * x * y, x], [-a * x * y, 1 - a * y * y, y], [-x, -y, z]])


class Root(NamedTuple):
    """Where the pelvis is, and how well that is known."""

    position_m: Float64[np.ndarray, "3"]
    covariance_m2: Float64[np.ndarray, "3 3"]


def solve_root(
    keypoints: Float[np.ndarray, "k 2"],
    relative_m: Float[np.ndarray, "k 3"],
    sigma_px: Float[np.ndarray, "k"],
    k: Intrinsics,
    prior_depth_m: float,
    prior_sigma_m: float,
) -> Root:
    """Weighted least squares for the translation that makes a skeleton project to its pixels.

    Minimises sum(((relative + t) x ray)^2 / sigma^2) + ((t_z - prior) / prior_sigma)^2, linear
    in t; two re-weightings (Huber, 2 sigma) keep one wrong joint from dragging the body.

    Args:
        keypoints: pixels of the joints in the image of ``k``; NaN: this joint says nothing.
        relative_m: the joints relative to the pelvis, axes of the optical frame.
        sigma_px: standard deviations of ``keypoints`` per axis; infinite: says nothing.
        k: the camera.
        prior_depth_m: depth of the pelvis as the predicted width tells it.
        prior_sigma_m: standard deviation of that.

    Returns:
        The pelvis in the optical frame. With no usable joint: all NaN.
    """
    used = np.isfinite(keypoints).all(axis=1) & np.isfinite(sigma_px) & (sigma_px > 0)
    if not used.any() or not prior_depth_m > 0:
        return Root(np.full(3, np.nan), np.full((3, 3), np.nan))
    ray = rays(keypoints[used].astype(np.float64), k)[:, :2]
    relative = relative_m[used].astype(np.float64)
    n = len(ray)
    # Rows: x of all joints, then y of all joints.
    a = np.zeros((2 * n, 3))
    a[:n, 0] = a[n:, 1] = 1
    a[:, 2] = -ray.T.reshape(-1)
    b = (ray * relative[:, 2:] - relative[:, :2]).T.reshape(-1)
    sigma_rays = np.concatenate([sigma_px[used] / k.fx, sigma_px[used] / k.fy])
    joint_depth = np.tile(relative[:, 2], 2)
    prior = np.array([0, 0, 1 / prior_sigma_m**2])
    position = np.array([0.0, 0.0, prior_depth_m])
    weight = np.ones(2 * n)
    for _ in range(3):
        sigma_m = sigma_rays * np.maximum(joint_depth + position[2], 0.1 * prior_depth_m)
        weighted = a * (weight / sigma_m**2)[:, None]
        information = weighted.T @ a + np.diag(prior)
        position = np.linalg.solve(information, weighted.T @ b + prior * prior_depth_m)
        residual = np.abs(a @ position - b) / sigma_m
        weight = np.minimum(1, 2 / np.maximum(residual, 1e-9))
    # Joints that disagree more than their sigmas say make the answer as uncertain as they are.
    chi2 = float(weight @ residual**2) / max(2 * n - 3, 1)
    return Root(position, np.linalg.inv(information) * max(1.0, chi2))


def packed(covariance: Float[np.ndarray, "*n 3 3"]) -> Float32[np.ndarray, "*n 6"]:
    """Symmetric matrices as xx, xy, xz, yy, yz, zz."""
    rows, columns = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)
    result: Float32[np.ndarray, "*n 6"] = covariance[..., rows, columns].astype(np.float32)
    return result


def iou(a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"]) -> float:
    """Intersection of two boxes over their union; 0 where one of them is empty."""
    common = _intersection(a, b)
    union = area(a) + area(b) - common
    return common / union if union > 0 else 0.0


def covered(a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"]) -> float:
    """Intersection of two boxes over the smaller one."""
    smaller = min(area(a), area(b))
    return _intersection(a, b) / smaller if smaller > 0 else 0.0


def _intersection(a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return float(max(width, 0.0) * max(height, 0.0))


def area(box: Float[np.ndarray, "4"]) -> float:
    """Of a box; 0 where it is inside out."""
    return float(max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0))


def apart(a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"]) -> float:
    """Distance of the centres of two boxes, in longer sides of the larger one."""
    between = (a[:2] + a[2:] - b[:2] - b[2:]) / 2
    return float(np.hypot(*between)) / max(longer_side(a), longer_side(b), 1.0)


def longer_side(box: Float[np.ndarray, "4"]) -> float:
    """Of a box, whether that is its height or its width."""
    return float(max(box[2] - box[0], box[3] - box[1]))
