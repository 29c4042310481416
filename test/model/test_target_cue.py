# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The target cue: nothing at first, nothing without a box, and the box where it is."""

import pytest
import torch

from thfm_ros.model.target_cue import TargetCue

WIDTH, ROWS, COLUMNS = 6, 8, 16


def cue_of(box: list[float], given: float = 1.0) -> torch.Tensor:
    return torch.tensor([[*box, given]])


@pytest.fixture
def module() -> TargetCue:
    torch.manual_seed(0)
    module = TargetCue(WIDTH).requires_grad_(False)
    for value in module.parameters():
        torch.nn.init.normal_(value)
    return module


def test_at_first_a_cue_adds_nothing() -> None:
    patches, learnable = TargetCue(WIDTH)(cue_of([0.1, 0.2, 0.5, 0.9]), ROWS, COLUMNS)
    assert patches.shape == (1, ROWS * COLUMNS, WIDTH) and learnable.shape == (1, 1, WIDTH)
    assert not patches.any() and not learnable.any()


def test_an_empty_cue_adds_nothing(module: TargetCue) -> None:
    both = torch.cat([cue_of([0, 0, 0, 0], given=0), cue_of([0.1, 0.2, 0.5, 0.9])])
    patches, learnable = module(both, ROWS, COLUMNS)
    assert not patches[0].any() and not learnable[0].any()
    assert patches[1].any() and learnable[1].any()


def test_patches_inside_and_outside_of_the_box_differ(module: TargetCue) -> None:
    patches, _ = module(cue_of([0.25, 0.5, 0.75, 1.0]), ROWS, COLUMNS)
    grid = patches[0].unflatten(0, (ROWS, COLUMNS))
    inside = torch.zeros(ROWS, COLUMNS, dtype=torch.bool)
    inside[4:, 4:12] = True
    for row, column, expected in ((6, 8, module.inside), (1, 8, module.outside),
                                  (6, 1, module.outside), (6, 14, module.outside)):  # fmt: skip
        assert bool(inside[row, column]) == (expected is module.inside)
        torch.testing.assert_close(grid[row, column], expected, rtol=0, atol=2e-2)


def test_learnable_tokens_get_the_edges_of_the_box(module: TargetCue) -> None:
    _, learnable = module(cue_of([0.0, 0.5, 1.0, 0.75]), ROWS, COLUMNS)
    edges = torch.tensor([-1.0, 0.0, 1.0, 0.25])  # in the square whose middle rows these are
    expected = module.told.weight @ edges + module.told.bias
    torch.testing.assert_close(learnable[0, 0], expected)
