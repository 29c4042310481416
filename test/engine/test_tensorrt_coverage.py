"""Can TensorRT take the whole step graph? Asked of torch_tensorrt itself, which needs no GPU."""

import subprocess
import sys
from importlib import metadata, util
from pathlib import Path

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


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_the_whole_step_is_one_engine(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = NanoNetwork().eval()
    path = tmp_path / "nano.safetensors"
    save_network(network, nano_card("nano", network, "nothing"), path)
    script = Path(__file__).with_name("tensorrt_dry_run.py")
    said = subprocess.run(
        [sys.executable, str(script), str(path)], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    graphs = [line.split() for line in said.splitlines() if line.startswith(("128x128", "192x144"))]
    print(said)  # the figures of docs/engines.md
    assert len(graphs) == 8, "two sizes, with and without maps, in two precisions"
    for *_, operators, convertible, engines in graphs:
        assert (convertible, engines) == (operators, "1")
