# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Operation counts against closed formulas, and time estimates."""

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
from thfm_ros.genception.flops import Cost, Gpu, count_costs, empty_subgraphs, estimate
from thfm_ros.genception.op_counter import OpCounter
from thfm_ros.genception.subgraphs import Profile

TINY_VAE = json.loads(str(reference.arrays(reference.VAE)["config"]))


@given(rows=st.integers(1, 50), inner=st.integers(1, 50), out=st.integers(1, 50))
@settings(deadline=None, max_examples=20)
def test_linear_layer_matches_the_formula(rows: int, inner: int, out: int) -> None:
    with torch.device("meta"):
        layer, x = nn.Linear(inner, out, bias=False), torch.empty(rows, inner)
    with torch.no_grad(), OpCounter() as counter:
        layer(x)
    assert counter.flop == 2 * rows * inner * out
    assert counter.traffic == 4 * (rows * inner + inner * out + rows * out)
    assert counter.peak == 4 * rows * out


def test_attention_counts_its_products_and_stores_no_scores() -> None:
    query = torch.empty(1, 2, 300, 8, device="meta")
    key = torch.empty(1, 2, 500, 8, device="meta")
    with OpCounter() as counter:
        scaled_dot_product_attention(query, key, key)
    assert counter.flop == 2 * (2 * 300 * 500 * 8) * 2
    assert counter.peak == 4 * 2 * 300 * 8


def test_peak_excludes_freed_results_and_views_cost_nothing() -> None:
    x = torch.empty(1000, device="meta")
    with OpCounter() as counter:
        y = x + 1
        y = y + 1  # two at once, then one
        z = y.reshape(10, 100).transpose(0, 1)
    assert z.shape == (100, 10)
    assert counter.peak == 2 * 4000
    assert counter.traffic == 4 * 4000


def expected_transformer_flop(config: GenceptionConfig, profile: Profile) -> int:
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
def test_transformer_matches_the_formula(profile: Profile) -> None:
    config = config_from_mapping(reference.config())
    costs = {
        cost.subgraph: cost for cost in count_costs(empty_subgraphs(config, TINY_VAE, profile))
    }
    expected = expected_transformer_flop(config, profile)
    assert costs["transformer"].tflop * 1e12 == pytest.approx(expected, rel=1e-12)


def test_public_size_matches_the_published_count() -> None:
    assert expected_transformer_flop(GenceptionConfig(), Profile()) == pytest.approx(
        282.5e12, rel=1e-3
    )


@torch.no_grad()
def test_vae_in_steps_costs_the_same_as_unrolled() -> None:
    config = config_from_mapping(reference.config())
    subgraphs = empty_subgraphs(config, TINY_VAE, Profile(13, 48, 32))
    costs = {cost.subgraph: cost for cost in count_costs(subgraphs)}
    for name in ("encoder", "decoder"):
        with OpCounter() as counter:
            getattr(subgraphs, name)(*subgraphs.examples()[name])
        # The first step pads its feature cache with zeros; the operations are the same otherwise.
        assert costs[name].tflop * 1e12 == pytest.approx(counter.flop, rel=0.02)


def test_estimate_divides_cost_by_assumed_throughput() -> None:
    costs = [
        Cost("encoder", 30, 0.1, 10, 1),
        Cost("transformer", 50, 3, 7, 1),
        Cost("decoder", 60, 0.1, 10, 1),
    ]
    fast_memory = estimate(costs, Gpu("one", 100, 1000, 0.5, 0.25))
    assert fast_memory.dense_s == pytest.approx(30 / 25 + 50 / 50 + 60 / 25)
    assert fast_memory.tokens_s == pytest.approx(30 / 25 + 50 / 50)
    assert fast_memory.eager_s == fast_memory.dense_s  # limited by operations
    slow_memory = estimate(costs, Gpu("one", 100, 1, 0.5, 0.25))
    assert slow_memory.eager_s == pytest.approx(10.1 + 10 + 10.1)


def test_command_prints_tables_marked_as_not_measured(
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
    assert [each["subgraph"] for each in numbers["counted"]] == [
        "encoder",
        "transformer",
        "decoder",
    ]


def _tiny_vae() -> object:
    from thfm_ros.genception.wan_vae import empty_vae

    return empty_vae(TINY_VAE)
