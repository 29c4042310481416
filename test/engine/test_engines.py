# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""The outputs of the engines agree with those of the network; invalid inputs are refused."""

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
from torch.utils.flop_counter import FlopCounterMode

from thfm_ros.engine import stream
from thfm_ros.engine.base import Engine, EngineError
from thfm_ros.engine.export import export_onnx
from thfm_ros.engine.graph_engine import GraphEngine
from thfm_ros.engine.onnx_engine import OnnxGraph
from thfm_ros.engine.stream import StepTables, Stream
from thfm_ros.engine.torch_engine import TorchEngine
from thfm_ros.engine.verify import TOLERANCES, difference, fixed_clip, named_arrays
from thfm_ros.model import backbone
from thfm_ros.model.card import ModelCard
from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.outputs import RawOutputs

RgbImages = NDArray[np.uint8]
SIZES = [(64, 64), (96, 64)]  # of the small network: width, height

# Deterministic examples: in one of some hundred thousand heatmaps two cells are so nearly equal
# that rounding decides which is the peak, and the test would fail at random.
deterministic = settings(max_examples=15, deadline=None, derandomize=True)


@st.composite
def clips(draw: st.DrawFn) -> RgbImages:
    """Random images of one size; noise of any range of grey levels."""
    width, height = draw(st.sampled_from(SIZES))
    frames = draw(st.integers(1, 7))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low, high = sorted(draw(st.tuples(st.integers(0, 255), st.integers(0, 255))))
    return random.integers(low, high + 1, (frames, height, width, 3), dtype=np.uint8)


def assert_equal(outputs: RawOutputs, expected: RawOutputs) -> None:
    pairs = zip(named_arrays(outputs), named_arrays(expected), strict=True)
    for (name, a), (_, b) in pairs:
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4, err_msg=name)


def outputs_of(engine: Engine, clip: RgbImages, *, dense: bool = True) -> Iterator[RawOutputs]:
    state: object | None = None
    for image in clip:
        raw, state = engine.step(image, state, dense=dense)
        yield raw


@deterministic
@given(clip=clips())
def test_streaming_equals_one_pass_over_all_frames(
    small: tuple[NanoNetwork, ModelCard], reference: TorchEngine, clip: RgbImages
) -> None:
    with torch.inference_mode():
        whole = small[0](torch.from_numpy(clip).permute(0, 3, 1, 2)[None].float())
    for i, raw in enumerate(outputs_of(reference, clip)):
        outputs = [whole.heatmaps, whole.positions, whole.visibility, whole.log_width[:, None]]
        outputs += [whole.presence[:, None], whole.dense]
        assert_equal(raw, stream.raw_outputs([each[i].numpy() for each in outputs]))


@deterministic
@given(clip=clips(), dense=st.booleans())
def test_onnx_outputs_agree_with_pytorch(
    reference: TorchEngine, exported: GraphEngine, clip: RgbImages, dense: bool
) -> None:
    both = zip(
        outputs_of(exported, clip, dense=dense),
        outputs_of(reference, clip, dense=dense),
        strict=True,
    )
    for outputs, expected in both:
        assert (outputs.dense is not None) == dense
        assert_equal(outputs, expected)


@deterministic
@given(clip=clips(), fork=st.integers(0, 6), dense=st.lists(st.booleans(), min_size=7, max_size=7))
def test_forking_a_stream_or_omitting_dense_outputs_does_not_change_it(
    exported: GraphEngine, clip: RgbImages, fork: int, dense: list[bool]
) -> None:
    expected = list(outputs_of(exported, clip))
    state: object | None = None
    for i, image in enumerate(clip):
        if i == fork:  # another continuation of the stream, which must not affect this one
            exported.step(255 - image, state, dense=True)
        raw, state = exported.step(image, state, dense=dense[i])
        assert_equal(raw, RawOutputs(expected[i].body, expected[i].dense if dense[i] else None))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dense", [True, False])
def test_the_verification_at_build_time_passes(
    reference: TorchEngine, exported: GraphEngine, size: tuple[int, int], dense: bool
) -> None:
    largest = difference(exported, reference, size, dense=dense)
    assert largest <= TOLERANCES["float32"].largest


@pytest.mark.slow
def test_the_dynamo_exporter_is_used_if_tracing_is_not_available(
    reference: TorchEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = torch.onnx.export

    def without_tracing(*arguments: object, dynamo: bool, **options: object) -> object:
        if not dynamo:
            raise ValueError("dynamo=False has been removed")
        return export(*arguments, dynamo=dynamo, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.onnx, "export", without_tracing)
    path = tmp_path / "graph.onnx"
    export_onnx(reference.network, reference.card, SIZES[0], True, path)
    engine = GraphEngine(reference.card, "", {(SIZES[0], True): OnnxGraph(path, 1)})
    assert difference(engine, reference, SIZES[0], dense=True) <= TOLERANCES["float32"].largest


def test_the_verification_detects_a_cache_that_is_one_frame_short(
    reference: TorchEngine, exported: GraphEngine
) -> None:
    class ShortCacheEngine:
        card, description, concurrent = exported.card, "", False
        fallback_reason: str | None = None

        def step(
            self, image: RgbImages, state: object | None, *, dense: bool
        ) -> tuple[RawOutputs, object]:
            if isinstance(state, Stream):
                state = dataclasses.replace(state, frames=min(state.frames, 1))
            return exported.step(image, state, dense=dense)

    assert (
        difference(ShortCacheEngine(), reference, SIZES[0], dense=False)
        > 10 * TOLERANCES["float32"].largest
    )


@pytest.mark.parametrize("quantile", [tolerance.quantile for tolerance in TOLERANCES.values()])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_verification_refuses_outputs_that_are_nan(
    reference: TorchEngine, quantile: float, share: float
) -> None:
    class NanEngine:
        card, description, concurrent = reference.card, "", True
        fallback_reason: str | None = None

        def step(
            self, image: RgbImages, state: object | None, *, dense: bool
        ) -> tuple[RawOutputs, object]:
            raw, state = reference.step(image, state, dense=dense)
            heatmaps = raw.body.heatmaps.copy()
            heatmaps.flat[: int(share * heatmaps.size)] = np.nan
            return raw._replace(body=raw.body._replace(heatmaps=heatmaps)), state

    found = difference(NanEngine(), reference, SIZES[0], dense=False, quantile=quantile)
    assert found == np.inf


def test_after_a_year_a_stream_is_as_exact_as_a_new_one(exported: GraphEngine) -> None:
    clip = fixed_clip(SIZES[0], 8)
    _, new_state = exported.step(clip[0], None, dense=False)
    assert isinstance(new_state, Stream)
    old_state: object = dataclasses.replace(new_state, frames=30 * 3600 * 24 * 365)
    # ``old_state`` has an attention mask for earlier frames that do not exist; their effect has
    # left the two blocks, each of which attends to two earlier frames, after four frames.
    for i, image in enumerate(clip[1:]):
        new, new_state = exported.step(image, new_state, dense=True)
        old, old_state = exported.step(image, old_state, dense=True)
        if i >= 5:
            assert_equal(new, old)


def test_any_strides_are_accepted(exported: GraphEngine, reference: TorchEngine) -> None:
    image = fixed_clip(SIZES[0], 1)[0]
    flipped = image[:, ::-1]
    for engine in (exported, reference):
        a, _ = engine.step(flipped, None, dense=True)
        b, _ = engine.step(flipped.copy(), None, dense=True)
        assert_equal(a, b)


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
def test_an_image_of_a_wrong_size_or_type_is_refused(
    exported: GraphEngine, reference: TorchEngine, image: RgbImages
) -> None:
    for engine in (exported, reference):
        with pytest.raises(EngineError, match=r"takes"):
            engine.step(image, None, dense=True)


def test_a_state_of_another_engine_or_size_is_refused(
    exported: GraphEngine, reference: TorchEngine
) -> None:
    small, large = (fixed_clip(size, 1)[0] for size in SIZES)
    for engine, other in ((exported, reference), (reference, exported)):
        _, state = engine.step(small, None, dense=False)
        with pytest.raises(EngineError, match="Begin a new stream"):
            engine.step(large, state, dense=False)
        with pytest.raises(EngineError, match="Begin a new stream"):
            other.step(small, state, dense=False)


def test_the_tables_use_the_constants_of_the_network() -> None:
    assert stream.TIME_HALF * 2 == backbone.TIME_CHANNELS
    assert stream.HALF * 2 == backbone.HEAD_WIDTH
    assert stream.TIME_BASE == backbone.TIME_BASE
    assert sorted(stream.HALVES) == list(range(backbone.HEAD_WIDTH))


@given(window=st.integers(2, 8), tokens=st.integers(1, 50), frames=st.integers(0, 20))
def test_only_cached_frames_are_attended_to(window: int, tokens: int, frames: int) -> None:
    mask = StepTables(tokens, window).attention_mask(frames).reshape(window, tokens)
    filled = min(frames, window - 1) + 1  # the present frame, too
    assert (mask[-filled:] == 0).all()
    assert (mask[:-filled] < -1e8).all()


def operations(work: Callable[[], object]) -> int:
    """Floating-point operations of matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def cpu_ms(work: Callable[[], object]) -> float:
    """The smallest CPU time of three runs, with one thread."""
    threads, times = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for _ in range(4):
            begin = time.process_time()
            work()
            times.append(time.process_time() - begin)
    finally:
        torch.set_num_threads(threads)
    return 1e3 * min(times[1:])


def step_and_passes() -> list[Callable[[], object]]:
    """One step, a pass over the window, and the pass whose last outputs equal those of the step.

    The outputs for a frame depend on the frame itself and, through each block, on the window - 1
    frames before it: without a cache all of them would have to be processed again.
    """
    torch.manual_seed(0)
    network = NanoNetwork().eval()
    window = network.backbone.window
    clip = torch.rand(1, 1 + network.depth * (window - 1), 3, 128, 128) * 255
    cache = network.empty_cache(1, 128, 128)
    return [
        lambda: network.step(clip[:, 0], cache),
        lambda: network(clip[:, :window]),
        lambda: network(clip),
    ]


def test_a_step_has_at_most_a_tenth_of_the_operations_of_the_equivalent_pass() -> None:
    with torch.inference_mode():
        step, short, whole = (operations(work) for work in step_and_passes())
    assert step < short < whole
    assert step <= whole / 10


@pytest.mark.slow
def test_a_step_costs_at_most_a_quarter_of_the_equivalent_pass() -> None:
    """The table of docs/engines.md."""
    with torch.inference_mode():
        step, short, whole = (cpu_ms(work) for work in step_and_passes())
    print(
        f"\nCPU ms: a step {step:.0f}; pass over the window {short:.0f} ({step / short:.2f}), "
        f"equivalent pass {whole:.0f} ({step / whole:.2f})"
    )
    assert step <= whole / 4
