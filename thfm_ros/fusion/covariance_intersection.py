# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Covariance intersection: one estimate from several whose errors may be correlated.

The errors of two cameras are not independent: one network measures the same person, so that both
are wrong about the person's size in the same way. Covariance intersection (Julier and Uhlmann,
1997) needs no knowledge of that. With weights w that sum to one,

    P^-1 = sum(w_i P_i^-1),    x = P sum(w_i P_i^-1 x_i),

is consistent whatever the correlation: P is never smaller than the covariance of x's error if each
P_i is not smaller than that of x_i's. The weights are those of the smallest determinant of P.
"""

import numpy as np
from jaxtyping import Bool, Float64

_NEWTON_STEPS = 20
_MAX_ITERATIONS = 20
_GAP = 0.05  # of the logarithm of the determinant, at which the iteration ends: any weights are
# consistent, and those of three or more cameras need not be the best ones to the last digit


def intersect(
    means: Float64[np.ndarray, "n *b d"], covariances: Float64[np.ndarray, "n *b d d"]
) -> tuple[Float64[np.ndarray, "*b d"], Float64[np.ndarray, "*b d d"]]:
    """Fuse ``n`` estimates of ``b`` quantities each.

    Where the estimates contradict each other, so that their distances from the result are larger
    than their covariances allow, the covariance is enlarged accordingly.

    Args:
        means: the estimates. An estimate with NaN, also in its covariance, is unknown.
        covariances: of their errors, symmetric and positive definite.

    Returns:
        Mean and covariance; those of the only estimate if there is one, NaN if there is none.
    """
    known = np.isfinite(means).all(axis=-1) & np.isfinite(covariances).all(axis=(-2, -1))
    size = means.shape[-1]
    safe = np.where(known[..., None, None], covariances, np.eye(size))
    information = np.linalg.inv(safe) * known[..., None, None]
    weights = intersection_weights(information, known)
    weighted = weights[..., None, None] * information
    count = known.sum(axis=0)
    total = np.where((count > 0)[..., None, None], weighted.sum(axis=0), np.eye(size))
    covariance = np.linalg.inv(total)
    values = np.where(known[..., None], means, 0.0)
    mean = np.einsum("...ij,n...jk,n...k->...i", covariance, weighted, values)
    away = values - mean
    distance = np.einsum("n...i,n...ij,n...j->...", away, weighted, away)
    covariance = covariance * np.maximum(1.0, distance / size)[..., None, None]
    unknown = count == 0
    mean[unknown], covariance[unknown] = np.nan, np.nan
    return mean, covariance


def intersection_weights(
    information: Float64[np.ndarray, "n *b d d"], known: Bool[np.ndarray, "n *b"]
) -> Float64[np.ndarray, "n *b"]:
    """The weights of covariance intersection; 0 for unknown estimates, else they sum to one.

    Args:
        information: inverse covariances.
        known: which of them count.
    """
    count = np.maximum(known.sum(axis=0), 1)
    weights = known / count
    if len(known) == 2:
        both = known.all(axis=0)
        first = _first_of_two(information[0, both], information[1, both])
        weights[0, both], weights[1, both] = first, 1 - first
        return np.asarray(weights)
    return _smallest_determinant(information, weights)


def _first_of_two(
    a: Float64[np.ndarray, "b d d"], b: Float64[np.ndarray, "b d d"]
) -> Float64[np.ndarray, " b"]:
    """The weight of ``a`` that maximises det(w a + (1 - w) b): the zero of a falling function."""
    root = np.linalg.cholesky(a)
    half = np.linalg.solve(root, b)
    # Eigenvalues of a^-1 b: log det(w a + (1 - w) b) = const + sum(log(w + (1 - w) ratio)).
    ratios = np.linalg.eigvalsh(np.linalg.solve(root, np.swapaxes(half, -1, -2)))
    low, high, w = np.zeros(len(a)), np.ones(len(a)), np.full(len(a), 0.5)
    for _ in range(_NEWTON_STEPS):
        terms = (1 - ratios) / (w[:, None] + (1 - w[:, None]) * ratios)
        slope = terms.sum(axis=1)
        low, high = np.where(slope > 0, w, low), np.where(slope > 0, high, w)
        step = w + slope / np.maximum((terms**2).sum(axis=1), 1e-12)
        # Newton's step, unless it leaves the bracket.
        w = np.where((step > low) & (step < high), step, (low + high) / 2)
    # One of the estimates may be so much better that it is the best result alone.
    w = np.where((1 - ratios).sum(axis=1) >= 0, 1.0, w)
    w = np.where(((1 - ratios) / ratios).sum(axis=1) <= 0, 0.0, w)
    # Two equal estimates: every weight is as good, and both count.
    return np.where(np.ptp(np.log(ratios), axis=1) + abs(np.log(ratios)).max(axis=1) < 1e-9, 0.5, w)


def _smallest_determinant(
    information: Float64[np.ndarray, "n *b d d"], weights: Float64[np.ndarray, "n *b"]
) -> Float64[np.ndarray, "n *b"]:
    """The multiplicative algorithm for determinant-optimal weights, from a first guess.

    Each step multiplies a weight by trace(P_i^-1 P) / d, which never increases det(P). The largest
    of these factors bounds how far the determinant is from the smallest one.
    """
    size = information.shape[-1]
    for _ in range(_MAX_ITERATIONS):
        total = np.einsum("n...,n...ij->...ij", weights, information)
        empty = ~(weights > 0).any(axis=0)
        total[empty] = np.eye(size)
        factors = np.einsum("n...ij,...ji->n...", information, np.linalg.inv(total)) / size
        if factors.size == 0 or size * np.log(max(float(factors.max()), 1.0)) < _GAP:
            break
        weights = weights * factors
    return weights


def with_least_sigma(
    covariances: Float64[np.ndarray, "*n 3 3"], sigma: float
) -> Float64[np.ndarray, "*n 3 3"]:
    """The nearest matrices without a standard deviation below ``sigma``; NaN stays NaN."""
    known = np.isfinite(covariances).all(axis=(-2, -1))
    result = np.full_like(covariances, np.nan)
    values, vectors = np.linalg.eigh(covariances[known])
    values = np.maximum(values, sigma**2)
    result[known] = np.einsum("kij,kj,klj->kil", vectors, values, vectors)
    return result
