# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
import numpy as np
from analytic_shapes import sphere

from thfm_ros.synth.baking.light import encode_panorama, whiten_clipped_suns
from thfm_ros.synth.pack import Panorama
from thfm_ros.synth.shading.light import (
    SKY_DIRECTIONS,
    decode_panorama,
    random_lighting,
    render_shadow_maps,
    spherical_harmonics,
)
from thfm_ros.synth.shading.shade import compute_sky_visibility, lit_fraction, sky_light


def test_a_uniform_sky_gives_the_same_irradiance_for_every_normal() -> None:
    harmonics, _ = spherical_harmonics(np.full((64, 128, 3), 0.7))
    for normal in (np.eye(3), -np.eye(3)):
        for x, y, z in normal:
            arriving = np.array(sky_light(harmonics, x, y, z))
            np.testing.assert_allclose(arriving, 0.7, rtol=0.01)


def test_light_from_above_gives_more_irradiance_to_upward_normals() -> None:
    panorama = np.zeros((64, 128, 3))
    panorama[:20] = 1.0
    harmonics, _ = spherical_harmonics(panorama)
    up, down = sky_light(harmonics, 0, 0, 1), sky_light(harmonics, 0, 0, -1)
    assert up[0] > 0.3 and down[0] < 0.1 * up[0]


def test_eight_bit_coding_of_a_panorama_keeps_its_light() -> None:
    linear = np.exp(np.random.default_rng(0).uniform(np.log(0.01), np.log(50), (8, 16, 3)))
    back = decode_panorama(encode_panorama(linear.astype(np.float32)))
    np.testing.assert_allclose(back, linear, rtol=0.052)
    assert (decode_panorama(encode_panorama(np.zeros((2, 2, 3), np.float32))) == 0).all()


def test_a_sphere_casts_a_shadow_straight_below_when_lit_from_above() -> None:
    vertices, faces = sphere(0.3, np.array([0.0, 0.0, 1.0]))
    maps = render_shadow_maps(vertices, faces, np.array([0.0, 0.0, 1.0]), np.zeros(3), 4.0)

    def lit(x: float, z: float) -> float:
        return float(lit_fraction(maps.key, maps.key_matrix, 0, x, 0.0, z, 0.01, 1))

    assert lit(0.0, 0.0) == 0.0  # in the shadow
    assert lit(0.6, 0.0) == 1.0 and lit(0.0, 1.5) == 1.0  # next to the shadow, above the sphere
    assert lit(30.0, 0.0) == 1.0  # outside the map counts as lit


def test_the_inside_of_a_bowl_has_less_sky_visibility_than_its_rim() -> None:
    vertices, faces = sphere(0.5, np.array([0.0, 0.0, 0.5]))
    bowl = faces[(vertices[faces][..., 2] < 0.55).all(axis=1)][:, ::-1].copy()
    normals = ((np.array([0, 0, 0.5]) - vertices) / 0.5).astype(np.float32)
    maps = render_shadow_maps(vertices, bowl, np.array([0.0, 0.0, 1.0]), np.array([0, 0, 0.5]), 1.5)
    visibility = np.empty(len(vertices), np.float32)
    compute_sky_visibility(vertices, normals, maps.sky, maps.sky_matrix, SKY_DIRECTIONS, visibility)
    bottom, outside = vertices[:, 2] < 0.1, vertices[:, 2] > 0.9
    assert visibility[bottom].mean() < visibility[outside].mean()


def test_lighting_works_without_panoramas_and_uses_those_that_are_given() -> None:
    for seed in range(20):
        lighting = random_lighting(np.random.default_rng(seed), ())
        assert np.isfinite(lighting.harmonics).all() and lighting.key_direction[2] > 0
    codes = encode_panorama(np.full((32, 64, 3), 2.0, np.float32))
    used = random_lighting(np.random.default_rng(0), (Panorama("even", codes),))
    assert np.ptp(used.panorama) == 0


def test_a_blue_sun_is_whitened_and_a_warm_lamp_is_unchanged() -> None:
    panorama = np.full((8, 12, 3), 0.4, np.float32)
    panorama[2, 3] = [0, 0, 60]  # a sun after lossy compression
    panorama[6, 9] = [40, 20, 6]
    repaired = whiten_clipped_suns(panorama)
    np.testing.assert_array_equal(repaired[2, 3], [60, 60, 60])
    np.testing.assert_array_equal(repaired[6], panorama[6])
