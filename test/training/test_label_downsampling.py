# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Labels at half the size stay in place, and show what covers most of each block."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.training.label_downsampling import covers_most, downsampled, representatives

SIDE = 12


def random_labels(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Instances and parts: pixels of two people with three parts each."""
    rng = np.random.default_rng(seed)
    instances = rng.integers(0, 3, (SIDE, SIDE)).astype(np.uint8)
    parts = np.where(instances > 0, rng.integers(1, 4, (SIDE, SIDE)), 0)
    return instances, parts.astype(np.uint8)


def allowed(
    instances: np.ndarray, parts: np.ndarray, row: int, column: int
) -> set[tuple[int, int]]:
    """Instance and part that may represent one block, by counting."""
    pixels = [(2 * row + i, 2 * column + j) for i in (0, 1) for j in (0, 1)]
    owners = [int(instances[p]) for p in pixels]
    most = max(owners.count(owner) for owner in owners)
    best = {owner for owner in owners if owners.count(owner) == most}
    best = best - {0} or best
    pairs = [(int(instances[p]), int(parts[p])) for p in pixels if int(instances[p]) in best]
    often = max(pairs.count(pair) for pair in pairs)
    return {pair for pair in pairs if pairs.count(pair) == often}


@given(seed=st.integers(0, 100_000))
def test_a_block_shows_the_most_frequent_of_its_pixels(seed: int) -> None:
    instances, parts = random_labels(seed)
    chosen = representatives(instances, parts)
    small = downsampled(instances, chosen), downsampled(parts, chosen)
    for row in range(SIDE // 2):
        for column in range(SIDE // 2):
            pair = int(small[0][row, column]), int(small[1][row, column])
            assert pair in allowed(instances, parts, row, column)


@given(seed=st.integers(0, 100_000))
def test_all_labels_of_a_block_come_from_the_same_pixel(seed: int) -> None:
    instances, parts = random_labels(seed)
    chosen = representatives(instances, parts)
    position = np.moveaxis(np.mgrid[:SIDE, :SIDE], 0, -1)
    picked = downsampled(position, chosen)
    blocks = np.moveaxis(np.mgrid[: SIDE // 2, : SIDE // 2], 0, -1)
    np.testing.assert_array_equal(picked // 2, blocks)
    np.testing.assert_array_equal(
        instances[picked[..., 0], picked[..., 1]], downsampled(instances, chosen)
    )


def test_an_outline_does_not_move_towards_a_corner() -> None:
    """The middle of a disc stays where it is; every second pixel would move it by a quarter."""
    y, x = np.mgrid[:64, :64]
    disc = ((y - 31.5) ** 2 + (x - 31.5) ** 2 < 20**2).astype(np.uint8)
    small = downsampled(disc, representatives(disc, disc)) > 0
    np.testing.assert_allclose(np.argwhere(small).mean(0), 15.5, atol=0.01)
    assert abs(np.argwhere(disc[::2, ::2]).mean(0) - 15.5).min() > 0.2
    assert disc.sum() <= 4 * small.sum() <= 1.05 * disc.sum()


def test_a_block_is_covered_by_three_of_its_pixels() -> None:
    hidden = np.array([[1, 1, 1, 0], [0, 0, 1, 7]], np.uint8)
    assert covers_most(hidden).tolist() == [[False, True]]
