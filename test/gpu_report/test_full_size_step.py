# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The step that measures the 1.3B shapes, in a tiny configuration on the CPU."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")

from thfm_ros.genception.subgraphs import Profile
from thfm_ros.genception.wan_vae import WanVae
from thfm_ros.gpu_report import full_size
from thfm_ros.gpu_report.device import open_device
from thfm_ros.gpu_report.full_size import Cost
from thfm_ros.gpu_report.step_context import NotAvailableError, StepContext

Record = dict[str, Any]
SMALL, OTHER = Profile(5, 48, 32), Profile(5, 32, 32)


@pytest.fixture
def context(tmp_path: Path) -> StepContext:
    return StepContext(stand_in=True, work=tmp_path, limit_s=60, records=tmp_path / "records")


def records(folder: Path) -> list[Record]:
    return [json.loads(line) for line in (folder / "records").read_text().splitlines()]


def test_weights_prompt_and_each_part_of_a_profile_are_recorded(
    context: StepContext, tmp_path: Path
) -> None:
    full_size.run(context)
    weights, prompt, *parts = records(tmp_path)
    assert weights["part"] == "weights" and weights["seconds"] > 0
    assert prompt["part"] == "prompt" and prompt["megabytes"] > 0
    assert [part["part"] for part in parts] == ["encoder", "transformer", "decoder"]
    assert all(part["ms"] > 0 and part["finite"] for part in parts)


def test_a_part_without_enough_memory_does_not_cost_the_next(
    context: StepContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = WanVae.encode

    def too_large(self: WanVae, video: torch.Tensor) -> torch.Tensor:
        if video.shape[-1] == SMALL.width:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return encode(self, video)

    monkeypatch.setattr(WanVae, "encode", too_large)
    cost = Cost(0, 0, 0, 0)
    monkeypatch.setattr(full_size, "STAND_IN", {SMALL: cost, OTHER: cost})
    full_size.run(context)
    encoder, transformer, *_ = records(tmp_path)[2:]
    assert encoder["does_not_fit"].startswith("out of memory")
    assert transformer["ms"] > 0
    assert [each.get("ms") is None for each in records(tmp_path)[2:]] == [True, *[False] * 5]


def test_a_gpu_that_is_too_small_is_named_with_what_is_needed(
    context: StepContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(stand_in: bool) -> object:
        return dataclasses.replace(open_device(stand_in=True), memory_bytes=4_000_000_000)

    monkeypatch.setattr(full_size, "open_device", small)
    monkeypatch.setattr(full_size, "random_network", lambda _: pytest.fail("made weights"))
    with pytest.raises(NotAvailableError, match=r"needs about 4\.1 GB; this GPU has 4\.0"):
        full_size.run(context)
    monkeypatch.setattr(full_size, "STAND_IN", full_size.PROFILES)
    with pytest.raises(NotAvailableError, match=r"448x256x9, needs about 5\.7 GB"):
        full_size.run(context)


def test_only_profiles_that_are_too_large_are_left_out(
    context: StepContext, tmp_path: Path
) -> None:
    fitting = full_size._fitting(context, full_size.PROFILES, 8_000_000_000)
    assert [profile.name for profile in fitting] == ["448x256x9"]
    assert [record["profile"] for record in records(tmp_path)] == ["832x480x17", "832x480x81"]


def test_counted_costs_are_those_of_the_page(root: Path) -> None:
    page = (root / "docs" / "full_size_cost.md").read_text("utf-8")
    for profile, cost in full_size.PROFILES.items():
        row = re.search(rf"^\| 1\.3b, {profile.name} \| (.+) \|$", page, re.MULTILINE)
        assert row, profile
        encoder, transformer, decoder, _, weights, peak = row[1].split(" | ")
        assert (float(encoder), float(transformer), float(decoder)) == cost[:3]
        assert (weights, peak) == (f"{full_size.WEIGHTS_GB} GB", f"{cost.peak_gb} GB")


def test_random_weights_keep_the_size_of_signals() -> None:
    module = nn.Sequential(nn.Linear(256, 64), nn.LayerNorm(64))
    full_size.fill(module, torch.Generator().manual_seed(0))
    linear, norm = module[0], module[1]
    assert isinstance(linear, nn.Linear) and isinstance(norm, nn.LayerNorm)
    assert linear.weight.std().item() == pytest.approx(1 / 16, rel=0.05)
    assert not linear.bias.any() and bool((norm.weight == 1).all())
