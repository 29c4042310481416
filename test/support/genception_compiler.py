"""A fake compiler that knows the graphs of the full-size network, and may spoil some of them."""

from collections.abc import Sequence
from pathlib import Path

from fake_compiler import FakeCompiler
from torch import Tensor, nn

from thfm_ros.genception.subgraphs import Profile

GRAPHS = {"encoder_first", "encoder_later", "transformer", "decoder_first", "decoder_later"}
PROFILE = Profile(frames=9, width=48, height=32)


class Compiler(FakeCompiler):
    """Knows which graphs it was asked for; those named in ``spoilt`` come out wrong or not."""

    def __init__(self, spoilt: Sequence[str] = (), *, fails: bool = False, **options: str) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.spoilt, self.fails = spoilt, fails
        self.built: list[str] = []

    def build(self, graph: nn.Module, example: tuple[Tensor, ...], path: Path) -> None:
        kind = type(graph).__name__.removesuffix("Step").removeprefix("Static").lower()
        later = "" if kind == "transformer" else ("_later" if len(example) > 1 else "_first")
        self.built.append(kind + later)
        if self.built[-1] in self.spoilt:
            if self.fails:
                raise RuntimeError("no converter for aten.conv3d\nand a page of details")
            graph = Doubled(graph)
        super().build(graph, example, path)


class Doubled(nn.Module):
    """A graph that was compiled wrongly."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(2 * out for out in self.graph(*inputs))
