# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The rasteriser and skinning against plain loops, and against analytic shapes."""

import numpy as np
from analytic_shapes import sphere
from hypothesis import given, settings
from hypothesis import strategies as st

from thfm_ros.synth.primitives.skin import blend, project, vertex_normals
from thfm_ros.synth.shading.raster import rasterize, rasterize_depth, visible_triangles

INTRINSICS = np.array([100.0, 110.0, 32.0, 24.0])
WIDTH, HEIGHT = 64, 48


def reference_image(screen: np.ndarray, faces: np.ndarray, width: int, height: int) -> np.ndarray:
    """1 / depth of the nearest triangle at each pixel's centre, computed per pixel."""
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            for corners in screen[faces].astype(float):
                if (corners[:, 2] <= 0).any():
                    continue
                matrix = np.vstack([corners[:, :2].T, np.ones(3)])
                if abs(np.linalg.det(matrix)) < 1e-6:
                    continue
                share = np.linalg.solve(matrix, [x + 0.5, y + 0.5, 1.0])
                if (share >= 0).all():
                    out[y, x] = max(out[y, x], float(share @ corners[:, 2]))
    return out


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_triangles_are_rasterised_as_in_the_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    screen = rng.uniform(-4, 14, (12, 3)).astype(np.float32)
    screen[:, 2] = rng.uniform(-0.2, 2, 12)
    faces = rng.integers(0, 12, (9, 3)).astype(np.int32)
    z_buffer = np.zeros((9, 11), np.float32)
    triangles = np.full((9, 11), -1, np.int32)
    rasterize(screen, faces, z_buffer, triangles)
    expected = reference_image(screen, faces, 11, 9)
    # On an edge, rounding decides which triangle owns the pixel; nothing else may differ.
    differs = np.abs(z_buffer - expected) > 1e-4
    assert differs.sum() <= 1
    np.testing.assert_array_equal(triangles >= 0, z_buffer > 0)


def test_both_rasterisers_give_the_same_z_buffer() -> None:
    rng = np.random.default_rng(3)
    screen = rng.uniform(0, 32, (30, 3)).astype(np.float32)
    faces = rng.integers(0, 30, (20, 3)).astype(np.int32)
    camera, light = np.zeros((32, 32), np.float32), np.zeros((32, 32), np.float32)
    rasterize(screen, faces, camera, np.full((32, 32), -1, np.int32))
    rasterize_depth(screen, faces, light)
    np.testing.assert_array_equal(camera, light)


def test_a_sphere_has_its_analytic_depth() -> None:
    centre, radius = np.array([0.1, -0.05, 3.0]), 0.5
    vertices, faces = sphere(radius, centre)
    screen = np.empty_like(vertices)
    project(vertices, np.eye(3), np.zeros(3), INTRINSICS, screen)
    z_buffer = np.zeros((HEIGHT, WIDTH), np.float32)
    rasterize(screen, faces, z_buffer, np.full((HEIGHT, WIDTH), -1, np.int32))
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    rays = np.stack(
        [(x - INTRINSICS[2]) / INTRINSICS[0], (y - INTRINSICS[3]) / INTRINSICS[1], np.ones_like(x)],
        axis=-1,
    )
    # |t ray - centre|^2 = radius^2
    a, b = (rays**2).sum(-1), rays @ centre
    root = b**2 - a * (centre @ centre - radius**2)
    hits = root > 0
    depth = np.where(hits, (b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    inside = root > 0.05  # the outline of the polygons lies slightly inside the circle
    np.testing.assert_allclose(1 / z_buffer[inside], depth[inside], atol=0.003)
    assert np.abs((z_buffer > 0).sum() - hits.sum()) < 0.03 * hits.sum()


def test_triangles_behind_the_camera_are_not_rasterised() -> None:
    vertices = np.array([[-1, -1, -2], [1, -1, -2], [0, 1, 3]], np.float32)
    screen = np.empty_like(vertices)
    project(vertices, np.eye(3), np.zeros(3), INTRINSICS, screen)
    assert (visible_triangles(screen, np.array([[0, 1, 2]], np.int32), WIDTH, HEIGHT) == -1).all()


def test_skinning_equals_the_plain_sum_over_bones() -> None:
    rng = np.random.default_rng(0)
    rest = rng.normal(size=(20, 3)).astype(np.float32)
    bones = rng.integers(0, 5, (20, 8)).astype(np.int32)
    weights = -np.sort(-rng.dirichlet(np.ones(8), 20), axis=1).astype(np.float32)
    rotations = rng.normal(size=(5, 3, 3)).astype(np.float32)
    shifts = rng.normal(size=(5, 3)).astype(np.float32)
    out = np.empty_like(rest)
    blend(rest, bones, weights, rotations, shifts, out)
    moved = np.einsum("bij,vj->vbi", rotations, rest) + shifts
    plain = np.einsum("vs,vsi->vi", weights, moved[np.arange(20)[:, None], bones])
    np.testing.assert_allclose(out, plain, rtol=1e-4, atol=1e-5)


def test_the_normals_of_a_sphere_are_radial() -> None:
    vertices, faces = sphere(2.0, np.zeros(3))
    normals = np.empty_like(vertices)
    vertex_normals(vertices, faces, normals)
    assert np.min(np.sum(normals * vertices, axis=1) / 2) > 0.995
