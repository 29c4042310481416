import numpy as np
from analytic_shapes import sphere

from thfm_ros.synth.baking.light import encode, mended
from thfm_ros.synth.pack import Light
from thfm_ros.synth.shading.light import (
    SKY_DIRECTIONS,
    decode,
    light_maps,
    random_lighting,
    spherical_harmonics,
)
from thfm_ros.synth.shading.shade import lit_share, sky_light, sky_openness


def test_an_even_sky_lights_every_side_alike() -> None:
    harmonics, _ = spherical_harmonics(np.full((64, 128, 3), 0.7))
    for normal in (np.eye(3), -np.eye(3)):
        for x, y, z in normal:
            arriving = np.array(sky_light(harmonics, x, y, z))
            np.testing.assert_allclose(arriving, 0.7, rtol=0.01)


def test_light_from_above_lights_what_looks_up() -> None:
    panorama = np.zeros((64, 128, 3))
    panorama[:20] = 1.0
    harmonics, _ = spherical_harmonics(panorama)
    up, down = sky_light(harmonics, 0, 0, 1), sky_light(harmonics, 0, 0, -1)
    assert up[0] > 0.3 and down[0] < 0.1 * up[0]


def test_a_panorama_survives_its_eight_bits() -> None:
    linear = np.exp(np.random.default_rng(0).uniform(np.log(0.01), np.log(50), (8, 16, 3)))
    back = decode(encode(linear.astype(np.float32)))
    np.testing.assert_allclose(back, linear, rtol=0.052)
    assert (decode(encode(np.zeros((2, 2, 3), np.float32))) == 0).all()


def test_a_ball_throws_a_shadow_straight_below_a_lamp_above_it() -> None:
    vertices, faces = sphere(0.3, np.array([0.0, 0.0, 1.0]))
    maps = light_maps(vertices, faces, np.array([0.0, 0.0, 1.0]), np.zeros(3), 4.0)

    def lit(x: float, z: float) -> float:
        return float(lit_share(maps.key, maps.key_matrix, 0, x, 0.0, z, 0.01, 1))

    assert lit(0.0, 0.0) == 0.0  # in the shadow
    assert lit(0.6, 0.0) == 1.0 and lit(0.0, 1.5) == 1.0  # beside it, above it
    assert lit(30.0, 0.0) == 1.0  # nothing is known there, so nothing is dark


def test_the_inside_of_a_bowl_sees_less_sky_than_its_rim() -> None:
    vertices, faces = sphere(0.5, np.array([0.0, 0.0, 0.5]))
    bowl = faces[(vertices[faces][..., 2] < 0.55).all(axis=1)][:, ::-1].copy()
    normals = ((np.array([0, 0, 0.5]) - vertices) / 0.5).astype(np.float32)
    maps = light_maps(vertices, bowl, np.array([0.0, 0.0, 1.0]), np.array([0, 0, 0.5]), 1.5)
    openness = np.empty(len(vertices), np.float32)
    sky_openness(vertices, normals, maps.sky, maps.sky_matrix, SKY_DIRECTIONS, openness)
    bottom, outside = vertices[:, 2] < 0.1, vertices[:, 2] > 0.9
    assert openness[bottom].mean() < openness[outside].mean()


def test_lighting_needs_no_panorama_and_uses_one_that_is_there() -> None:
    for seed in range(20):
        light = random_lighting(np.random.default_rng(seed), ())
        assert np.isfinite(light.harmonics).all() and light.key_direction[2] > 0
    codes = encode(np.full((32, 64, 3), 2.0, np.float32))
    used = random_lighting(np.random.default_rng(0), (Light("even", codes),))
    assert np.ptp(used.panorama) == 0


def test_a_blue_sun_is_whitened_and_a_warm_lamp_stays() -> None:
    panorama = np.full((8, 12, 3), 0.4, np.float32)
    panorama[2, 3] = [0, 0, 60]  # what lossy compression has left of a sun
    panorama[6, 9] = [40, 20, 6]
    seen = mended(panorama)
    np.testing.assert_array_equal(seen[2, 3], [60, 60, 60])
    np.testing.assert_array_equal(seen[6], panorama[6])
