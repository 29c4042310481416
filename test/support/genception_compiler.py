# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""A fake compiler for the full-size network that records its calls and can simulate failures."""

from collections.abc import Sequence
from pathlib import Path

from fake_compiler import FakeCompiler
from torch import Tensor, nn

from thfm_ros.genception.subgraphs import Profile

ENGINE_NAMES = {"encoder_first", "encoder_later", "transformer", "decoder_first", "decoder_later"}
PROFILE = Profile(frames=9, width=48, height=32)


class Compiler(FakeCompiler):
    """Records the engines that are built; those in ``wrong`` compute wrong values, or fail."""

    def __init__(self, wrong: Sequence[str] = (), *, fails: bool = False, **options: str) -> None:
        """``fails``: building an engine of ``wrong`` raises an error."""
        super().__init__(**options)  # type: ignore[arg-type]
        self.wrong, self.fails = wrong, fails
        self.built: list[str] = []

    def build(self, graph: nn.Module, example: tuple[Tensor, ...], path: Path) -> None:
        subgraph = type(graph).__name__.removesuffix("Step").removeprefix("Static").lower()
        step = "" if subgraph == "transformer" else ("_later" if len(example) > 1 else "_first")
        self.built.append(subgraph + step)
        if self.built[-1] in self.wrong:
            if self.fails:
                raise RuntimeError("no converter for aten.conv3d\nand many lines of details")
            graph = WrongGraph(graph)
        super().build(graph, example, path)


class WrongGraph(nn.Module):
    """A graph with wrong outputs: twice the right ones."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(2 * out for out in self.graph(*inputs))
