"""Labels at half the size lie where they lay, and show what covers most of each four pixels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from thfm_ros.training.label_downsampling import halved, mostly, representatives

SIDE = 12


def random_labels(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Blots of two people with three parts each, as numbers and as parts."""
    rng = np.random.default_rng(seed)
    whose = rng.integers(0, 3, (SIDE, SIDE)).astype(np.uint8)
    return whose, np.where(whose > 0, rng.integers(1, 4, (SIDE, SIDE)), 0).astype(np.uint8)


def plainly(whose: np.ndarray, parts: np.ndarray, row: int, column: int) -> set[tuple[int, int]]:
    """All that may stand for one block, by counting."""
    pixels = [(2 * row + i, 2 * column + j) for i in (0, 1) for j in (0, 1)]
    owners = [int(whose[p]) for p in pixels]
    most = max(owners.count(owner) for owner in owners)
    best = {owner for owner in owners if owners.count(owner) == most}
    best = best - {0} or best
    shown = [(int(whose[p]), int(parts[p])) for p in pixels if int(whose[p]) in best]
    often = max(shown.count(pair) for pair in shown)
    return {pair for pair in shown if shown.count(pair) == often}


@given(seed=st.integers(0, 100_000))
def test_a_block_shows_what_a_count_of_its_pixels_says(seed: int) -> None:
    whose, parts = random_labels(seed)
    chosen = representatives(whose, parts)
    small = halved(whose, chosen), halved(parts, chosen)
    for row in range(SIDE // 2):
        for column in range(SIDE // 2):
            pair = int(small[0][row, column]), int(small[1][row, column])
            assert pair in plainly(whose, parts, row, column)


@given(seed=st.integers(0, 100_000))
def test_all_labels_of_a_block_come_from_the_same_pixel(seed: int) -> None:
    whose, parts = random_labels(seed)
    chosen = representatives(whose, parts)
    place = np.moveaxis(np.mgrid[:SIDE, :SIDE], 0, -1)
    picked = halved(place, chosen)
    blocks = np.moveaxis(np.mgrid[: SIDE // 2, : SIDE // 2], 0, -1)
    np.testing.assert_array_equal(picked // 2, blocks)
    np.testing.assert_array_equal(whose[picked[..., 0], picked[..., 1]], halved(whose, chosen))


def test_an_outline_is_not_moved_towards_a_corner() -> None:
    """The middle of a disc stays where it is; every second pixel would move it by a quarter."""
    y, x = np.mgrid[:64, :64]
    disc = ((y - 31.5) ** 2 + (x - 31.5) ** 2 < 20**2).astype(np.uint8)
    small = halved(disc, representatives(disc, disc)) > 0
    np.testing.assert_allclose(np.argwhere(small).mean(0), 15.5, atol=0.01)
    assert abs(np.argwhere(disc[::2, ::2]).mean(0) - 15.5).min() > 0.2
    assert small.sum() * 4 == np.clip(small.sum() * 4, disc.sum(), 1.05 * disc.sum())


def test_what_hides_less_than_three_of_four_pixels_hides_nothing() -> None:
    hidden = np.array([[1, 1, 1, 0], [0, 0, 1, 7]], np.uint8)
    assert mostly(hidden).tolist() == [[False, True]]
