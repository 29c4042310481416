"""The engines say what the network says, image by image, and refuse what they cannot take."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from thfm_ros.engine import stream
from thfm_ros.engine.base import Engine, EngineError
from thfm_ros.engine.export import export_onnx
from thfm_ros.engine.graph_engine import GraphEngine
from thfm_ros.engine.onnx_engine import OnnxGraph
from thfm_ros.engine.stream import Stream, Tables
from thfm_ros.engine.torch_engine import TorchEngine
from thfm_ros.engine.verify import TOLERANCES, arrays_of, difference, fixed_clip
from thfm_ros.model import backbone
from thfm_ros.model.card import ModelCard
from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.outputs import RawOutputs

RgbImages = NDArray[np.uint8]
SIZES = [(64, 64), (96, 64)]  # of the small network: width, height

# Always the same examples: in one of some hundred thousand heatmaps two cells are so equal that
# rounding chooses between them, and a test that fails once a week teaches nothing.
steady = settings(max_examples=15, deadline=None, derandomize=True)


@st.composite
def clips(draw: st.DrawFn) -> RgbImages:
    """A few random images of one size, from nearly black to nearly white noise."""
    width, height = draw(st.sampled_from(SIZES))
    frames = draw(st.integers(1, 7))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low, high = sorted(draw(st.tuples(st.integers(0, 255), st.integers(0, 255))))
    return random.integers(low, high + 1, (frames, height, width, 3), dtype=np.uint8)


def assert_same(mine: RawOutputs, theirs: RawOutputs) -> None:
    for (name, a), (_, b) in zip(arrays_of(mine), arrays_of(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4, err_msg=name)


def stream_of(engine: Engine, clip: RgbImages, *, dense: bool = True) -> Iterator[RawOutputs]:
    state: object | None = None
    for image in clip:
        raw, state = engine.step(image, state, dense=dense)
        yield raw


@steady
@given(clip=clips())
def test_a_stream_equals_one_pass_over_all_frames(
    small: tuple[NanoNetwork, ModelCard], judge: TorchEngine, clip: RgbImages
) -> None:
    with torch.inference_mode():
        whole = small[0](torch.from_numpy(clip).permute(0, 3, 1, 2)[None].float())
    for i, raw in enumerate(stream_of(judge, clip)):
        said = [whole.heatmaps, whole.positions, whole.visibility, whole.log_width[:, None]]
        said += [whole.presence[:, None], whole.dense]
        assert_same(raw, stream.raw_outputs([part[i].numpy() for part in said]))


@steady
@given(clip=clips(), dense=st.booleans())
def test_onnx_says_what_pytorch_says(
    judge: TorchEngine, exported: GraphEngine, clip: RgbImages, dense: bool
) -> None:
    both = zip(
        stream_of(exported, clip, dense=dense), stream_of(judge, clip, dense=dense), strict=True
    )
    for mine, theirs in both:
        assert (mine.dense is not None) == dense
        assert_same(mine, theirs)


@steady
@given(clip=clips(), cut=st.integers(0, 6), asked=st.lists(st.booleans(), min_size=7, max_size=7))
def test_a_stream_can_be_forked_and_asked_for_less_without_a_trace(
    exported: GraphEngine, clip: RgbImages, cut: int, asked: list[bool]
) -> None:
    expected = list(stream_of(exported, clip))
    state: object | None = None
    for i, image in enumerate(clip):
        if i == cut:  # another future of the same stream, which must leave no mark
            exported.step(255 - image, state, dense=True)
        raw, state = exported.step(image, state, dense=asked[i])
        assert_same(raw, RawOutputs(expected[i].body, expected[i].dense if asked[i] else None))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dense", [True, False])
def test_the_check_at_build_time_sees_no_difference(
    judge: TorchEngine, exported: GraphEngine, size: tuple[int, int], dense: bool
) -> None:
    off = difference(exported, judge, size, dense=dense)
    assert off <= TOLERANCES["float32"].largest


@pytest.mark.slow
def test_the_other_exporter_serves_where_pytorch_no_longer_traces(
    judge: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_by = torch.onnx.export

    def without_tracing(*arguments: object, dynamo: bool, **options: object) -> object:
        if not dynamo:
            raise ValueError("dynamo=False has been removed")
        return export_by(*arguments, dynamo=dynamo, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.onnx, "export", without_tracing)
    path = tmp_path / "graph.onnx"
    export_onnx(judge.network, judge.card, SIZES[0], True, path)
    engine = GraphEngine(judge.card, "", {(SIZES[0], True): OnnxGraph(path, 1)})
    assert difference(engine, judge, SIZES[0], dense=True) <= TOLERANCES["float32"].largest


def test_the_check_at_build_time_sees_a_memory_that_is_one_frame_short(
    judge: TorchEngine, exported: GraphEngine
) -> None:
    class Forgetful:
        card, description, concurrent = exported.card, "", False

        def step(
            self, image: RgbImages, state: object | None, *, dense: bool
        ) -> tuple[RawOutputs, object]:
            if isinstance(state, Stream):
                state = dataclasses.replace(state, seen=min(state.seen, 1))
            return exported.step(image, state, dense=dense)

    assert (
        difference(Forgetful(), judge, SIZES[0], dense=False) > 10 * TOLERANCES["float32"].largest
    )


def test_a_stream_that_has_run_for_a_year_is_as_exact_as_a_new_one(exported: GraphEngine) -> None:
    clip = fixed_clip(SIZES[0], 8)
    _, young = exported.step(clip[0], None, dense=False)
    assert isinstance(young, Stream)
    old: object = dataclasses.replace(young, seen=30 * 3600 * 24 * 365)
    # The first frames of ``old`` believe in a past that was not there; two blocks that look two
    # frames back have forgotten it after four.
    for i, image in enumerate(clip[1:]):
        (new, young), (same, old) = (exported.step(image, s, dense=True) for s in (young, old))
        if i >= 5:
            assert_same(new, same)


def test_any_strides_are_accepted(exported: GraphEngine, judge: TorchEngine) -> None:
    image = fixed_clip(SIZES[0], 1)[0]
    mirrored = image[:, ::-1]
    for engine in (exported, judge):
        a, _ = engine.step(mirrored, None, dense=True)
        b, _ = engine.step(mirrored.copy(), None, dense=True)
        assert_same(a, b)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((64, 80, 3), np.uint8),
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((64, 64, 3), np.float32),
    ],
    ids=["another size", "grey", "alpha", "floats"],
)
def test_a_image_that_does_not_fit_is_refused(
    exported: GraphEngine, judge: TorchEngine, image: RgbImages
) -> None:
    for engine in (exported, judge):
        with pytest.raises(EngineError, match=r"takes"):
            engine.step(image, None, dense=True)


def test_a_state_that_does_not_fit_is_refused(exported: GraphEngine, judge: TorchEngine) -> None:
    small, large = (fixed_clip(size, 1)[0] for size in SIZES)
    for engine, other in ((exported, judge), (judge, exported)):
        _, state = engine.step(small, None, dense=False)
        with pytest.raises(EngineError, match="Begin a new stream"):
            engine.step(large, state, dense=False)
        with pytest.raises(EngineError, match="Begin a new stream"):
            other.step(small, state, dense=False)


def test_the_tables_use_the_numbers_of_the_network() -> None:
    assert stream.TIME_HALF * 2 == backbone.TIME_CHANNELS
    assert stream.HALF * 2 == backbone.HEAD_WIDTH
    assert stream.TIME_BASE == backbone.TIME_BASE
    assert sorted(stream.HALVES) == list(range(backbone.HEAD_WIDTH))


@given(window=st.integers(2, 8), tokens=st.integers(1, 50), seen=st.integers(0, 20))
def test_only_frames_that_were_seen_are_looked_at(window: int, tokens: int, seen: int) -> None:
    allowed = Tables(tokens, window).allowed(seen).reshape(window, tokens)
    filled = min(seen, window - 1) + 1  # the frame itself too
    assert (allowed[-filled:] == 0).all()
    assert (allowed[:-filled] < -1e8).all()


def cpu_ms(work: Callable[[], object]) -> float:
    """Processor time, which other processes change less than the clock on the wall; the best."""
    work()
    times = []
    for _ in range(3):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return 1e3 * min(times)


def test_a_step_costs_at_most_a_quarter_of_the_pass_that_says_the_same() -> None:
    """The table of docs/engines.md: `pytest -s -k quarter test/engine/test_engines.py`."""
    torch.manual_seed(0)
    network = NanoNetwork().eval()
    window = network.backbone.window
    # What a frame says depends on the frame itself and, through each block, on the window - 1
    # before it: without a memory all of them would have to be seen again.
    frames = 1 + network.depth * (window - 1)
    clip = torch.rand(1, frames, 3, 128, 128) * 255
    cache = network.empty_cache(1, 128, 128)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            step = cpu_ms(lambda: network.step(clip[:, 0], cache))
            short = cpu_ms(lambda: network(clip[:, :window]))
            whole = cpu_ms(lambda: network(clip))
    finally:
        torch.set_num_threads(threads)
    print(
        f"\nCPU ms: a step {step:.0f}; pass over {window} frames {short:.0f} ({step / short:.2f}), "
        f"over {frames} frames {whole:.0f} ({step / whole:.2f})"
    )
    assert step <= whole / 4
