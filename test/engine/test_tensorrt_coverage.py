# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""TensorRT can convert whole graphs: a dry run of torch_tensorrt, which needs no GPU."""

import re
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path

import genception_fixtures
import pytest
import torch

from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.weights import nano_card, save_network

PINNED = "2.13.0"
"""The dry run simulates a GPU by internals that differ in other releases."""


def skip_reason() -> str | None:
    if util.find_spec("torch_tensorrt") is None:
        return f"needs `pip install --no-deps torch-tensorrt=={PINNED}` and its dependency dllist"
    if metadata.version("torch_tensorrt") != PINNED:
        return f"needs torch_tensorrt {PINNED}, not {metadata.version('torch_tensorrt')}"
    return None


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(skip_reason() is not None, reason=str(skip_reason())),
]


def dry_run(checkpoint: Path) -> list[list[str]]:
    """The words of the dry run's line for each graph."""
    script = Path(__file__).with_name("tensorrt_dry_run.py")
    output = subprocess.run(
        [sys.executable, str(script), str(checkpoint)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    print(output)  # the figures of docs/engines.md and docs/full_size.md
    return [line.split() for line in output.splitlines() if re.match(r"\d+x\d+", line)]


def test_each_graph_of_nano_is_one_engine(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = NanoNetwork().eval()
    path = tmp_path / "nano.safetensors"
    save_network(network, nano_card("nano", network, "nothing"), path)
    graphs = dry_run(path)
    assert len(graphs) == 6, "crops with and without dense outputs, whole images; two precisions"
    for *_, operators, convertible, engines in graphs:
        assert (convertible, engines) == (operators, "1")


def test_each_subgraph_of_the_full_size_network_is_one_engine(tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")
    graphs = dry_run(genception_fixtures.write_checkpoint(tmp_path))
    assert len(graphs) == 5, "the transformer, and the steps of encoder and decoder"
    for *_, operators, convertible, engines in graphs:
        assert (convertible, engines) == (operators, "1")
