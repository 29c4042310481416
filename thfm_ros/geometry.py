# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Camera geometry, crop views, the solve for a person's root position, and bounding boxes.

Pure functions on numpy arrays. Pixels and frames are those of contract.py: the centre of the
top-left pixel is (0.5, 0.5); x right, y down, z forward, metres. Boxes are x_min, y_min, x_max,
y_max in pixels.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from thfm_ros import lens
from thfm_ros.contract import Intrinsics, PixelMap

_UNPACKED = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
"""Where each element of a symmetric matrix lies in xx, xy, xz, yy, yz, zz."""


def project(points_m: Float[np.ndarray, "*n 3"], k: Intrinsics) -> Float[np.ndarray, "*n 2"]:
    """Pixels of points in the optical frame; NaN for points that are not in front of the camera."""
    if k.distortion is not None:
        return lens.distort(points_m, k)
    z = np.where(points_m[..., 2] > 0, points_m[..., 2], np.nan)
    x = k.fx * points_m[..., 0] / z + k.cx
    return np.stack([x, k.fy * points_m[..., 1] / z + k.cy], axis=-1)


def rays(pixels: Float[np.ndarray, "*n 2"], k: Intrinsics) -> Float[np.ndarray, "*n 3"]:
    """Directions through pixels, scaled so that z = 1; NaN where the lens model has none."""
    if k.distortion is not None:
        return lens.undistort(pixels, k)
    x = (pixels[..., 0] - k.cx) / k.fx
    y = (pixels[..., 1] - k.cy) / k.fy
    return np.stack([x, y, np.ones_like(x)], axis=-1)


def unproject(depth_m: Float32[np.ndarray, "h w"], k: Intrinsics) -> Float32[np.ndarray, "h w 3"]:
    """Points of a depth image of the size of ``k``, optical frame; NaN where depth is NaN."""
    if k.distortion is not None:
        x_map, y_map = lens.tangent_maps(k)
        return np.stack([depth_m * x_map, depth_m * y_map, depth_m], axis=-1)
    height, width = depth_m.shape
    x = ((np.arange(width, dtype=np.float32) + 0.5) - k.cx) / k.fx
    y = ((np.arange(height, dtype=np.float32) + 0.5) - k.cy) / k.fy
    return np.stack([depth_m * x, depth_m * y[:, None], depth_m], axis=-1).astype(np.float32)


def resize_intrinsics(k: Intrinsics, width: int, height: int) -> Intrinsics:
    """Intrinsics of the same camera after its image was resized to ``width`` x ``height``."""
    sx, sy = width / k.width, height / k.height
    return replace(
        k, fx=k.fx * sx, fy=k.fy * sy, cx=k.cx * sx, cy=k.cy * sy, width=width, height=height
    )


def ray_sigmas(
    ray: Float[np.ndarray, "n 3"], sigma_px: Float[np.ndarray, "n"], k: Intrinsics
) -> Float[np.ndarray, "n 2"]:
    """Standard deviations in x and y of rays (z = 1) whose pixels have ``sigma_px``."""
    if k.distortion is None:
        return np.stack([sigma_px / k.fx, sigma_px / k.fy], axis=1)
    derivatives = lens.pixel_derivatives(ray, k)
    # Norms of the rows of their inverse; where the lens model folds it is infinite.
    norms = np.stack([np.hypot(*derivatives[:, :, i].T) for i in (1, 0)], axis=1)
    with np.errstate(divide="ignore"):
        return np.asarray(sigma_px[:, None] * norms / _area(derivatives)[:, None])


def pixels_per_radian(ray: Float[np.ndarray, "*n 3"], k: Intrinsics) -> Float[np.ndarray, "*n"]:
    """Local scale of the image around the pixels of rays (z = 1): the mean over both directions.

    A perspective image stretches what lies off its axis, by 1 / cos across the direction to it
    and by 1 / cos^2 along it; 1 / cos^1.5 is their geometric mean. A fisheye image does not.
    """
    length = np.linalg.norm(ray, axis=-1)
    if k.distortion is None:
        return np.asarray(math.sqrt(k.fx * k.fy) * length**1.5)
    # Areas at z = 1 are seen under a solid angle that is smaller by cos^3.
    return np.asarray(np.sqrt(_area(lens.pixel_derivatives(ray, k)) * length**3))


def _area(matrices: Float[np.ndarray, "*n 2 2"]) -> Float[np.ndarray, "*n"]:
    """Absolute determinants."""
    (a, b), (c, d) = np.moveaxis(matrices, (-2, -1), (0, 1))
    return np.asarray(np.abs(a * d - b * c))


def intrinsics_from_fov(width: int, height: int, hfov_deg: float) -> Intrinsics:
    """A camera without distortion, with square pixels and its axis in the middle of the image.

    Raises:
        ValueError: a horizontal field of view outside 1 to 170 degrees.
    """
    if not 1.0 <= hfov_deg <= 170.0:
        raise ValueError(f"a horizontal field of view of {hfov_deg} degrees; use 1 to 170")
    focal = 0.5 * width / math.tan(math.radians(hfov_deg) / 2)
    return Intrinsics(focal, focal, width / 2, height / 2, width, height)


def to_source(points: Float[np.ndarray, "*n 2"], pixel_map: PixelMap) -> Float[np.ndarray, "*n 2"]:
    """From pixels of the network image to pixels of the source image."""
    offset = np.array([pixel_map.offset_x, pixel_map.offset_y])
    return np.asarray(points * pixel_map.scale + offset)


def to_network(points: Float[np.ndarray, "*n 2"], pixel_map: PixelMap) -> Float[np.ndarray, "*n 2"]:
    """From pixels of the source image to pixels of the network image."""
    offset = np.array([pixel_map.offset_x, pixel_map.offset_y])
    return np.asarray((points - offset) / pixel_map.scale)


def rotation_to_ray(ray: Float[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    """R_optical_view: the smallest rotation that takes the z axis onto ``ray``.

    Raises:
        ValueError: the ray points backwards, so that the smallest rotation is not unique.
    """
    x, y, z = ray / np.linalg.norm(ray)
    if z <= -1 + 1e-9:
        raise ValueError("the ray points backwards: no smallest rotation is unique")
    # Rodrigues' formula with axis (-y, x, 0) and cosine z.
    a = 1 / (1 + z)
    return np.array([[1 - a * x * x, -a * x * y, x], [-a * x * y, 1 - a * y * y, y], [-x, -y, z]])


class CropView(NamedTuple):
    """The virtual camera whose axis passes through the centre of a crop.

    The network cannot know where in the image a crop lies, so it predicts in the axes of this
    camera. Without the rotation a person 30 degrees off the axis would be 30 degrees wrong.
    """

    rotation: Float64[np.ndarray, "3 3"]  # R_optical_view
    ray: Float64[np.ndarray, "3"]  # axis of the view in the optical frame, scaled so that z = 1
    focal_px: float  # focal length in source pixels, times the stretch at the centre of the crop


def view_along(ray: Float[np.ndarray, "3"], focal_px: float) -> CropView:
    """The view along ``ray`` (optical frame, z = 1) of a pinhole with focal length ``focal_px``;
    see `pixels_per_radian` for the stretch."""
    stretch = float(np.linalg.norm(ray)) ** 1.5
    return CropView(rotation_to_ray(ray), ray, focal_px * stretch)


def crop_view(pixel_map: PixelMap, k: Intrinsics) -> CropView:
    """The view of the crop that ``pixel_map`` cuts out of the image of ``k``."""
    centre = np.array([pixel_map.width / 2, pixel_map.height / 2])
    ray = rays(to_source(centre, pixel_map), k)
    if k.distortion is None:
        return view_along(ray, math.sqrt(k.fx * k.fy))
    return CropView(rotation_to_ray(ray), ray, float(pixels_per_radian(ray, k)))


class Root(NamedTuple):
    """Position of the pelvis in the optical frame, with its covariance."""

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
    in t. Two re-weightings (Huber, 2 sigma) limit the influence of outlier joints.

    Args:
        keypoints: pixels of the joints in the image of ``k``; NaN: the joint is ignored.
        relative_m: positions of the joints relative to the pelvis, axes of the optical frame.
        sigma_px: standard deviations of ``keypoints`` per axis; infinite: the joint is ignored.
        k: the camera.
        prior_depth_m: depth of the pelvis according to the predicted width.
        prior_sigma_m: standard deviation of ``prior_depth_m``.

    Returns:
        The pelvis in the optical frame; all NaN with no usable joint or no positive prior.
    """
    all_rays = rays(keypoints.astype(np.float64), k)
    used = np.isfinite(all_rays).all(axis=1) & np.isfinite(sigma_px) & (sigma_px > 0)
    if not used.any() or not prior_depth_m > 0:
        return Root(np.full(3, np.nan), np.full((3, 3), np.nan))
    ray = all_rays[used, :2]
    relative = relative_m[used].astype(np.float64)
    n = len(ray)
    # Rows: the x equations of all joints, then the y equations.
    a = np.zeros((2 * n, 3))
    a[:n, 0] = a[n:, 1] = 1
    a[:, 2] = -ray.T.reshape(-1)
    b = (ray * relative[:, 2:] - relative[:, :2]).T.reshape(-1)
    sigma_rays = ray_sigmas(all_rays[used], sigma_px[used], k).T.reshape(-1)
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
    # Residuals above their sigmas inflate the covariance accordingly.
    chi2 = float(weight @ residual**2) / max(2 * n - 3, 1)
    return Root(position, np.linalg.inv(information) * max(1.0, chi2))


def pack_covariance(covariance: Float[np.ndarray, "*n 3 3"]) -> Float32[np.ndarray, "*n 6"]:
    """The upper triangles of symmetric matrices: xx, xy, xz, yy, yz, zz."""
    rows, columns = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)
    result: Float32[np.ndarray, "*n 6"] = covariance[..., rows, columns].astype(np.float32)
    return result


def unpack_covariance(packed: Float[np.ndarray, "*n 6"]) -> Float[np.ndarray, "*n 3 3"]:
    """The inverse of `pack_covariance`."""
    return np.asarray(packed[..., _UNPACKED])


def iou(a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"]) -> float:
    """Intersection over union of two boxes; 0 if one of them is empty."""
    common = _intersection(a, b)
    union = area(a) + area(b) - common
    return common / union if union > 0 else 0.0


def intersection_over_min_area(a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"]) -> float:
    """Intersection of two boxes over the area of the smaller one, 0 if that is empty."""
    smaller = min(area(a), area(b))
    return _intersection(a, b) / smaller if smaller > 0 else 0.0


def _intersection(a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return float(max(width, 0.0) * max(height, 0.0))


def area(box: Float[np.ndarray, "4"]) -> float:
    """Area of a box; 0 if its corners are in the wrong order."""
    return float(max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0))


def normalized_center_distance(a: Float[np.ndarray, "4"], b: Float[np.ndarray, "4"]) -> float:
    """Distance between the centres of two boxes, in units of the larger of their longer sides."""
    offset = (a[:2] + a[2:] - b[:2] - b[2:]) / 2
    return float(np.hypot(*offset)) / max(longer_side(a), longer_side(b), 1.0)


def longer_side(box: Float[np.ndarray, "4"]) -> float:
    """The larger of a box's width and height."""
    return float(max(box[2] - box[0], box[3] - box[1]))


def mask_bounds(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int] | None:
    """x_min, y_min, x_max, y_max (exclusive) of a mask in its pixels; None if it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def quaternion_from_matrix(r: Float64[np.ndarray, "3 3"]) -> tuple[float, float, float, float]:
    """The unit quaternion x, y, z, w of a rotation matrix."""
    # The largest of the four components, at least 1/2, divides the others: stable at every angle.
    squares = np.array([r[0, 0], r[1, 1], r[2, 2], np.trace(r)])
    i = int(squares.argmax())
    if i == 3:
        q = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], 1 + squares[3]])
    else:
        j, k = (i + 1) % 3, (i + 2) % 3
        q = np.empty(4)
        q[i] = 1 + r[i, i] - r[j, j] - r[k, k]
        q[j], q[k] = r[j, i] + r[i, j], r[k, i] + r[i, k]
        q[3] = r[k, j] - r[j, k]
    x, y, z, w = (q / np.linalg.norm(q)).tolist()
    return x, y, z, w
