"""Counts against formulas on paper, and estimates against division."""

import argparse
import json

import genception_fixtures as reference
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.genception import flops
from thfm_ros.genception.config import GenceptionConfig, config_from_mapping
from thfm_ros.genception.flops import Cost, Gpu, count, empty_parts, estimate
from thfm_ros.genception.op_counter import Tally
from thfm_ros.genception.subgraphs import Profile

TINY_VAE = json.loads(str(reference.arrays(reference.VAE)["config"]))


@given(rows=st.integers(1, 50), inner=st.integers(1, 50), out=st.integers(1, 50))
@settings(deadline=None, max_examples=20)
def test_a_linear_layer_costs_what_it_does_on_paper(rows: int, inner: int, out: int) -> None:
    with torch.device("meta"):
        layer, x = nn.Linear(inner, out, bias=False), torch.empty(rows, inner)
    with torch.no_grad(), Tally() as tally:
        layer(x)
    assert tally.flop == 2 * rows * inner * out
    assert tally.traffic == 4 * (rows * inner + inner * out + rows * out)
    assert tally.peak == 4 * rows * out


def test_attention_costs_its_products_and_never_stores_its_scores() -> None:
    query = torch.empty(1, 2, 300, 8, device="meta")
    key = torch.empty(1, 2, 500, 8, device="meta")
    with Tally() as tally:
        scaled_dot_product_attention(query, key, key)
    assert tally.flop == 2 * (2 * 300 * 500 * 8) * 2
    assert tally.peak == 4 * 2 * 300 * 8


def test_peak_forgets_what_is_gone_and_views_cost_nothing() -> None:
    x = torch.empty(1000, device="meta")
    with Tally() as tally:
        y = x + 1
        y = y + 1  # two at once, then one
        z = y.reshape(10, 100).transpose(0, 1)
    assert z.shape == (100, 10)
    assert tally.peak == 2 * 4000
    assert tally.traffic == 4 * 4000


def transformer_on_paper(config: GenceptionConfig, profile: Profile) -> int:
    _, _, latent_frames, rows, columns = profile.latent_shape()
    video, images, d = latent_frames * rows * columns // 4, profile.frames, config.dim
    tokens, length = video + 2 * images, 226
    projections = 2 * tokens * d * d * (4 + 2) + 2 * tokens * d * config.ffn_dim * 2
    self_attention = video * video + 2 * images * (video + images)
    attention = 4 * d * (self_attention + tokens * length)
    patch = 4 * config.in_channels
    ends = 2 * video * d * patch + 2 * video * d * patch
    heads = 2 * images * d * (config.token1_proj_dim + config.token2_proj_dim)
    return config.num_layers * (projections + attention) + ends + heads


@pytest.mark.parametrize("profile", [Profile(5, 64, 32), Profile(13, 32, 48)])
def test_the_transformer_costs_what_it_does_on_paper(profile: Profile) -> None:
    config = config_from_mapping(reference.config())
    costs = {cost.part: cost for cost in count(empty_parts(config, TINY_VAE, profile))}
    wanted = transformer_on_paper(config, profile)
    assert costs["transformer"].tflop * 1e12 == pytest.approx(wanted, rel=1e-12)


def test_the_public_size_costs_what_others_have_counted() -> None:
    assert transformer_on_paper(GenceptionConfig(), Profile()) == pytest.approx(282.5e12, rel=1e-3)


@torch.no_grad()
def test_step_by_step_the_codec_costs_what_it_costs_at_once() -> None:
    config = config_from_mapping(reference.config())
    parts = empty_parts(config, TINY_VAE, Profile(13, 48, 32))
    costs = {cost.part: cost for cost in count(parts)}
    for name in ("encoder", "decoder"):
        with Tally() as tally:
            getattr(parts, name)(*parts.examples()[name])
        # The first step's outputs are padded with frames of zeros; the products are the same.
        assert costs[name].tflop * 1e12 == pytest.approx(tally.flop, rel=0.02)


def test_an_estimate_is_a_division() -> None:
    costs = [
        Cost("encoder", 30, 0.1, 10, 1),
        Cost("transformer", 50, 3, 7, 1),
        Cost("decoder", 60, 0.1, 10, 1),
    ]
    found = estimate(costs, Gpu("one", 100, 1000, 0.5, 0.25))
    assert found.dense_s == pytest.approx(30 / 25 + 50 / 50 + 60 / 25)
    assert found.tokens_s == pytest.approx(30 / 25 + 50 / 50)
    assert found.eager_s == found.dense_s  # 10 ms of moving hides behind seconds of computing
    slow = estimate(costs, Gpu("one", 100, 1, 0.5, 0.25))
    assert slow.eager_s == pytest.approx(10.1 + 10 + 10.1)


def test_the_command_prints_tables_that_say_what_was_not_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(flops, "SIZES", {"1.3b": config_from_mapping(reference.config())})
    monkeypatch.setattr(flops, "empty_vae", lambda _: _tiny_vae())
    parser = argparse.ArgumentParser()
    flops.add_arguments(parser)
    assert flops.run(parser.parse_args(["--profile", "48x32x5"])) == 0
    table = capsys.readouterr().out
    assert "48x32x5" in table
    assert "arithmetic, not measured" in table
    assert flops.run(parser.parse_args(["--profile", "48x32x5", "--json"])) == 0
    numbers = json.loads(capsys.readouterr().out)["48x32x5"]
    assert [each["part"] for each in numbers["counted"]] == ["encoder", "transformer", "decoder"]


def _tiny_vae() -> object:
    from thfm_ros.genception.wan_vae import empty_vae

    return empty_vae(TINY_VAE)
