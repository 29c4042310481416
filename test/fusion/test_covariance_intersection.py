# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Covariance intersection, beside a plain reference that follows the definition."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.fusion.covariance_intersection import intersect

seeds = st.integers(0, 2**31)


def random_covariance(rng: np.random.Generator) -> np.ndarray:
    """Positive definite, with standard deviations of 1 cm to 2 m in random directions."""
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return np.asarray(axes @ np.diag(10 ** rng.uniform(-4, 0.6, 3)) @ axes.T)


def estimates(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Estimates that agree with each other within their covariances."""
    covariances = np.stack([random_covariance(rng) for _ in range(count)])
    errors = np.stack([np.linalg.cholesky(c) @ rng.normal(size=3) * 0.3 for c in covariances])
    return rng.normal(size=3) + errors, covariances


def reference(means: np.ndarray, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two estimates, by the definition: golden section for the weight of the least determinant."""
    a, b = np.linalg.inv(covariances[0]), np.linalg.inv(covariances[1])
    low, high, ratio = 0.0, 1.0, (np.sqrt(5) - 1) / 2
    for _ in range(100):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        better_left = np.linalg.slogdet(left * a + (1 - left) * b)[1]
        if better_left > np.linalg.slogdet(right * a + (1 - right) * b)[1]:
            high = right
        else:
            low = left
    w = (low + high) / 2
    covariance = np.linalg.inv(w * a + (1 - w) * b)
    mean = covariance @ (w * a @ means[0] + (1 - w) * b @ means[1])
    away = means - mean
    contradiction = w * away[0] @ a @ away[0] + (1 - w) * away[1] @ b @ away[1]
    return mean, covariance * max(1.0, contradiction / 3)


@given(seeds)
def test_two_estimates_are_fused_as_by_the_definition(seed: int) -> None:
    means, covariances = estimates(np.random.default_rng(seed), 2)
    expected_mean, expected = reference(means, covariances)
    mean, covariance = intersect(means, covariances)
    np.testing.assert_allclose(
        np.linalg.slogdet(covariance)[1], np.linalg.slogdet(expected)[1], atol=1e-8
    )
    sigma = np.sqrt(np.diag(expected))
    np.testing.assert_allclose((mean - expected_mean) / sigma, 0, atol=1e-3)


@given(seeds, st.integers(2, 4))
def test_no_other_weights_give_a_clearly_smaller_determinant(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    means, covariances = estimates(rng, count)
    means[:] = means[0]  # no contradiction, which would enlarge the covariance
    fused = np.linalg.slogdet(intersect(means, covariances)[1])[1]
    information = np.linalg.inv(covariances)
    for _ in range(50):
        weights = rng.dirichlet(np.ones(count) * 0.5)
        total = np.tensordot(weights, information, 1)
        assert -np.linalg.slogdet(total)[1] > fused - (0.001 if count == 2 else 0.2)


@given(seeds, st.integers(2, 4), st.floats(-1, 1))
def test_the_covariance_covers_the_error_whatever_the_correlation(
    seed: int, count: int, share: float
) -> None:
    """Errors that share a part: the covariance of the fused error is not above the reported one."""
    rng = np.random.default_rng(seed)
    _, covariances = estimates(rng, count)
    fused = intersect(np.zeros((count, 3)), covariances)[1]
    # The gain of each estimate, from the response to unit errors.
    gains = [
        np.stack(
            [
                intersect(np.eye(count)[i][:, None] * axis * 1e-6, covariances)[0]
                for axis in np.eye(3)
            ],
            axis=1,
        )
        * 1e6
        for i in range(count)
    ]
    signs = np.where(np.arange(count) % 2, np.sign(share) or 1.0, 1.0)
    roots = [np.linalg.cholesky(c) for c in covariances]
    common = sum(sign * g @ r for sign, g, r in zip(signs, gains, roots, strict=True))
    own = sum(g @ c @ g.T for g, c in zip(gains, covariances, strict=True))
    actual = abs(share) * common @ common.T + (1 - abs(share)) * own
    scaled = np.linalg.solve(np.linalg.cholesky(fused), actual)
    scaled = np.linalg.solve(np.linalg.cholesky(fused), scaled.T)
    assert np.linalg.eigvalsh(scaled).max() < 1 + 1e-3


def test_two_cameras_at_right_angles_are_as_precise_as_each_is_across_its_ray() -> None:
    along_x, along_y = np.diag([0.16, 0.0009, 0.0009]), np.diag([0.0009, 0.16, 0.0009])
    mean, covariance = intersect(
        np.array([[0.3, 0.0, 1.0], [0.0, 0.2, 1.0]]), np.stack([along_x, along_y])
    )
    assert np.linalg.norm(mean - [0, 0, 1]) < 0.01
    assert np.sqrt(np.diag(covariance)).max() < 0.05


def test_unknown_estimates_do_not_count() -> None:
    covariance = np.eye(3) * 0.01
    means = np.array(
        [[[1.0, 2, 3], [np.nan] * 3, [1, 1, 1]], [[np.nan] * 3, [np.nan] * 3, [1, 1, 1]]]
    )
    covariances = np.tile(covariance, (2, 3, 1, 1))
    covariances[1, 2] = np.nan
    mean, fused = intersect(means, covariances)
    np.testing.assert_allclose(mean[0], [1, 2, 3])
    np.testing.assert_allclose(fused[0], covariance)
    assert np.isnan(mean[1]).all() and np.isnan(fused[1]).all()
    np.testing.assert_allclose(mean[2], 1)


def test_a_contradiction_enlarges_the_covariance() -> None:
    covariances = np.tile(np.eye(3) * 0.0004, (2, 1, 1))
    agreeing = intersect(np.zeros((2, 3)), covariances)[1]
    apart = intersect(np.array([[0.0, 0, 0], [1.0, 0, 0]]), covariances)[1]
    np.testing.assert_allclose(agreeing, covariances[0])
    assert np.sqrt(apart[0, 0]) > 0.25


def test_the_order_of_three_estimates_does_not_matter() -> None:
    means, covariances = estimates(np.random.default_rng(3), 3)
    one = intersect(means, covariances)
    other = intersect(means[[2, 0, 1]], covariances[[2, 0, 1]])
    np.testing.assert_allclose(one[0], other[0], atol=1e-9)
    np.testing.assert_allclose(one[1], other[1], atol=1e-9)
