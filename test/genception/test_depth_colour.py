# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The depth colour map against the official code, and its geometry."""

import genception_fixtures as reference
import numpy as np
import property_tests  # noqa: F401  settings of hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from thfm_ros.genception.config import GenceptionError
from thfm_ros.genception.depth_colour import (
    colour_to_depth,
    colour_to_value,
    depth_to_colour,
    value_to_colour,
)

COLOURS = reference.DATA / "depth_colour.npz"


def stored(key: str) -> Tensor:
    array = torch.from_numpy(np.asarray(reference.arrays(COLOURS)[key]))
    return array / 255 if array.dtype == torch.uint8 else array


@pytest.mark.parametrize("shape", ["depth", "depth2d", "depth0d"])
def test_encoding_is_bit_identical_to_the_official_code(shape: str) -> None:
    assert torch.equal(value_to_colour(stored(f"{shape}_in")), stored(f"{shape}_rgb"))


@pytest.mark.parametrize("kind", ["clean", "noisy", "wild", "u8", "ties"])
def test_decoding_equals_the_official_code_away_from_ties(kind: str) -> None:
    actual, expected = colour_to_value(stored(f"inv_{kind}_rgb")), stored(f"inv_{kind}_depth")
    unambiguous = ~stored(f"inv_{kind}_near_tie")
    assert unambiguous.sum() >= 5
    assert (actual - expected)[unambiguous].abs().max() < 1e-6


def test_exact_ties_are_resolved_as_in_the_official_code() -> None:
    # Exact ties do not depend on rounding, the near ties of the noisy reference data do.
    actual, expected = colour_to_value(stored("inv_ties_rgb")), stored("inv_ties_depth")
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("expected", "image", "scale"),
    [
        ("video_f_reldepth", "video_f", 0.4),
        ("video_u8_reldepth", "video_u8", 0.4),
        ("video_f_reldepth_c025", "video_f", 0.25),
    ],
)
def test_colour_video_decodes_to_the_official_depth(
    expected: str, image: str, scale: float
) -> None:
    actual = colour_to_depth(stored(f"{image}_rgb"), scale)
    unambiguous = ~stored(f"{image}_near_tie")
    torch.testing.assert_close(
        actual[unambiguous], stored(expected)[unambiguous], rtol=2e-5, atol=2e-6
    )


@given(depth=st.floats(0, 11, width=32), scale=st.sampled_from([0.25, 0.4]))
def test_depth_is_recovered_after_encoding(depth: float, scale: float) -> None:
    original = torch.tensor(depth)
    decoded = colour_to_depth(depth_to_colour(original, scale), scale)
    torch.testing.assert_close(decoded, original, rtol=1e-5, atol=1e-6)


@given(
    colour=st.lists(st.floats(-0.25, 1.25, width=32), min_size=3, max_size=3),
)
def test_decoded_position_is_the_nearest_on_the_path(colour: list[float]) -> None:
    rgb = torch.tensor(colour)
    decoded = value_to_colour(colour_to_value(rgb))
    path = value_to_colour(torch.linspace(0, 1, 701))
    least_distance = (path - rgb).norm(dim=-1).min()
    assert (decoded - rgb).norm() <= least_distance + 1e-5


def test_corners_are_the_published_ones() -> None:
    corners = value_to_colour(torch.arange(8) / 7).round().int().tolist()
    names = ["black", "red", "yellow", "green", "cyan", "blue", "magenta", "white"]
    expected = ["000", "100", "110", "010", "011", "001", "101", "111"]
    actual = ["".join(map(str, corner)) for corner in corners]
    assert dict(zip(names, actual, strict=True)) == dict(zip(names, expected, strict=True))


def test_nan_colour_gives_nan_depth() -> None:
    rgb = torch.tensor([[0.2, float("nan"), 0.1], [1.0, 0.5, 0.0]])
    assert torch.isnan(colour_to_depth(rgb)).tolist() == [True, False]
    assert torch.isnan(depth_to_colour(torch.tensor(float("nan")))).all()


@pytest.mark.parametrize("rgb", [torch.zeros(4, 4), torch.zeros(4, 3, dtype=torch.uint8)])
def test_wrong_shape_or_type_is_rejected(rgb: Tensor) -> None:
    with pytest.raises(GenceptionError, match="channels last"):
        colour_to_depth(rgb)
