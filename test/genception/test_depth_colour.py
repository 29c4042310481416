"""Depth colours against the official ones, and the path itself."""

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
    found = torch.from_numpy(np.asarray(reference.arrays(COLOURS)[key]))
    return found / 255 if found.dtype == torch.uint8 else found


@pytest.mark.parametrize("shape", ["depth", "depth2d", "depth0d"])
def test_painting_is_the_official_one_to_the_last_bit(shape: str) -> None:
    assert torch.equal(value_to_colour(stored(f"{shape}_in")), stored(f"{shape}_rgb"))


@pytest.mark.parametrize("kind", ["clean", "noisy", "wild", "u8", "ties"])
def test_reading_is_the_official_one_where_no_two_edges_are_equally_near(kind: str) -> None:
    got, wanted = colour_to_value(stored(f"inv_{kind}_rgb")), stored(f"inv_{kind}_depth")
    sure = ~stored(f"inv_{kind}_near_tie")
    assert sure.sum() >= 5
    assert (got - wanted)[sure].abs().max() < 1e-6


def test_of_equally_near_edges_the_official_one_is_taken() -> None:
    # Exact ties do not depend on rounding; the fixture's noisy near-ties do.
    got, wanted = colour_to_value(stored("inv_ties_rgb")), stored("inv_ties_depth")
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("wanted", "image", "scale"),
    [
        ("video_f_reldepth", "video_f", 0.4),
        ("video_u8_reldepth", "video_u8", 0.4),
        ("video_f_reldepth_c025", "video_f", 0.25),
    ],
)
def test_a_video_of_colours_becomes_the_official_depth(
    wanted: str, image: str, scale: float
) -> None:
    got = colour_to_depth(stored(f"{image}_rgb"), scale)
    sure = ~stored(f"{image}_near_tie")
    torch.testing.assert_close(got[sure], stored(wanted)[sure], rtol=2e-5, atol=2e-6)


@given(depth=st.floats(0, 11, width=32), scale=st.sampled_from([0.25, 0.4]))
def test_depth_survives_being_painted(depth: float, scale: float) -> None:
    there = torch.tensor(depth)
    back = colour_to_depth(depth_to_colour(there, scale), scale)
    torch.testing.assert_close(back, there, rtol=1e-5, atol=1e-6)


@given(
    colour=st.lists(st.floats(-0.25, 1.25, width=32), min_size=3, max_size=3),
)
def test_no_place_on_the_path_is_nearer_than_the_one_that_is_read(colour: list[float]) -> None:
    rgb = torch.tensor(colour)
    found = value_to_colour(colour_to_value(rgb))
    everywhere = value_to_colour(torch.linspace(0, 1, 701))
    nearest = (everywhere - rgb).norm(dim=-1).min()
    assert (found - rgb).norm() <= nearest + 1e-5


def test_the_corners_are_the_published_ones() -> None:
    corners = value_to_colour(torch.arange(8) / 7).round().int().tolist()
    names = ["black", "red", "yellow", "green", "cyan", "blue", "magenta", "white"]
    wanted = ["000", "100", "110", "010", "011", "001", "101", "111"]
    got = ["".join(map(str, corner)) for corner in corners]
    assert dict(zip(names, got, strict=True)) == dict(zip(names, wanted, strict=True))


def test_an_unknown_colour_gives_an_unknown_depth() -> None:
    rgb = torch.tensor([[0.2, float("nan"), 0.1], [1.0, 0.5, 0.0]])
    assert torch.isnan(colour_to_depth(rgb)).tolist() == [True, False]
    assert torch.isnan(depth_to_colour(torch.tensor(float("nan")))).all()


@pytest.mark.parametrize("rgb", [torch.zeros(4, 4), torch.zeros(4, 3, dtype=torch.uint8)])
def test_something_else_than_a_image_is_refused(rgb: Tensor) -> None:
    with pytest.raises(GenceptionError, match="channels last"):
        colour_to_depth(rgb)
