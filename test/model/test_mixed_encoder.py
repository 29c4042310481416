# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The mixture of a pretrained encoder and one that was trained from scratch."""

import pytest
import torch

from thfm_ros.model.mixed_encoder import MixedEncoder

IMAGE = torch.randint(0, 256, (1, 3, 48, 64), generator=torch.Generator().manual_seed(0)).float()


@pytest.fixture
def encoder() -> MixedEncoder:
    torch.manual_seed(0)
    return MixedEncoder((8, 16, 24), 64).eval().requires_grad_(False)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_nothing_or_all_gives_one_encoder_s_features(
    encoder: MixedEncoder, share: float
) -> None:
    for shares in encoder.shares:
        shares.fill_(share)
    expected = encoder.pretrained(IMAGE) if share else encoder.scratch(IMAGE)
    for found, level in zip(encoder(IMAGE), expected, strict=True):
        torch.testing.assert_close(found, level)


def test_each_channel_has_a_share_of_its_own(encoder: MixedEncoder) -> None:
    encoder.shares[1].fill_(0.0)[3] = 1.0
    quarter = encoder(IMAGE).quarter
    torch.testing.assert_close(quarter[:, 3], encoder.pretrained(IMAGE).quarter[:, 3])
    torch.testing.assert_close(quarter[:, 4:], encoder.scratch(IMAGE).quarter[:, 4:])


def test_the_shares_are_trained(encoder: MixedEncoder) -> None:
    encoder.requires_grad_(True)
    torch.stack([level.square().mean() for level in encoder(IMAGE)]).sum().backward()
    for shares in encoder.shares:
        assert shares.grad is not None and shares.grad.abs().max() > 0
