"""Can TensorRT take whole graphs? Asked of torch_tensorrt itself, which needs no GPU."""

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
"""The dry run pretends a GPU by way of internals, which other releases have elsewhere."""


def why_not() -> str | None:
    if util.find_spec("torch_tensorrt") is None:
        return f"needs `pip install --no-deps torch-tensorrt=={PINNED}` and its dependency dllist"
    if metadata.version("torch_tensorrt") != PINNED:
        return f"is made for torch_tensorrt {PINNED}, not {metadata.version('torch_tensorrt')}"
    return None


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


def asked_about(checkpoint: Path) -> list[list[str]]:
    """What the dry run says of each graph, word by word."""
    script = Path(__file__).with_name("tensorrt_dry_run.py")
    said = subprocess.run(
        [sys.executable, str(script), str(checkpoint)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    print(said)  # the figures of docs/engines.md and docs/full_size.md
    return [line.split() for line in said.splitlines() if re.match(r"\d+x\d+", line)]


def test_the_whole_step_is_one_engine(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = NanoNetwork().eval()
    path = tmp_path / "nano.safetensors"
    save_network(network, nano_card("nano", network, "nothing"), path)
    graphs = asked_about(path)
    assert len(graphs) == 8, "two sizes, with and without maps, in two precisions"
    for *_, operators, convertible, engines in graphs:
        assert (convertible, engines) == (operators, "1")


def test_each_part_of_the_full_size_network_is_one_engine(tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="the full-size family needs thfm_ros[full]")
    graphs = asked_about(genception_fixtures.write_checkpoint(tmp_path))
    assert len(graphs) == 5, "the transformer, and the steps of both halves of the codec"
    for *_, operators, convertible, engines in graphs:
        assert (convertible, engines) == (operators, "1")
