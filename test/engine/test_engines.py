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
from thfm_ros.engine.export import export_detection, export_step
from thfm_ros.engine.graph_engine import GraphEngine
from thfm_ros.engine.onnx_engine import OnnxDetection, OnnxGraph
from thfm_ros.engine.stream import StepTables, Stream, cue_of
from thfm_ros.engine.torch_engine import TorchEngine
from thfm_ros.engine.verify import (
    TOLERANCES,
    fixed_clip,
    named_arrays,
    part_difference,
)
from thfm_ros.model import backbone
from thfm_ros.model.card import ModelCard
from thfm_ros.model.network import NanoNetwork, crop_grid
from thfm_ros.model.outputs import RawOutputs

RgbImages = NDArray[np.uint8]
CROP, TALL, WHOLE = (64, 64), (48, 80), (96, 80)  # of the small network: width, height
BOX = np.array([0.1, 0.2, 0.6, 0.9], np.float32)

# Deterministic examples: in one of some hundred thousand heatmaps two cells are so nearly equal
# that rounding decides which is the peak, and the test would fail at random.
deterministic = settings(max_examples=15, deadline=None, derandomize=True)


@st.composite
def clips(draw: st.DrawFn) -> RgbImages:
    """Random crops, square or tall; noise of any range of grey levels."""
    width, height = draw(st.sampled_from([CROP, TALL]))
    frames = draw(st.integers(1, 7))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low, high = sorted(draw(st.tuples(st.integers(0, 255), st.integers(0, 255))))
    return random.integers(low, high + 1, (frames, height, width, 3), dtype=np.uint8)


@st.composite
def boxes(draw: st.DrawFn) -> NDArray[np.float32] | None:
    """A target box in shares of a crop, which it may exceed; or none."""
    if draw(st.booleans()):
        return None
    left, top = draw(st.floats(-0.2, 0.6)), draw(st.floats(-0.2, 0.6))
    sides = draw(st.floats(0.1, 0.6)), draw(st.floats(0.1, 0.6))
    return np.array([left, top, left + sides[0], top + sides[1]], np.float32)


def assert_equal(outputs: RawOutputs, expected: RawOutputs) -> None:
    pairs = zip(named_arrays(outputs), named_arrays(expected), strict=True)
    for (name, a), (_, b) in pairs:
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4, err_msg=name)


def outputs_of(
    engine: Engine,
    clip: RgbImages,
    *,
    dense: bool = True,
    box: NDArray[np.float32] | None = None,
) -> Iterator[RawOutputs]:
    state: object | None = None
    for image in clip:
        raw, state = engine.step(image, state, dense=dense, target_box=box)
        yield raw


@deterministic
@given(clip=clips(), box=boxes())
def test_streaming_equals_one_pass_over_all_frames(
    small: tuple[NanoNetwork, ModelCard],
    reference: TorchEngine,
    clip: RgbImages,
    box: NDArray[np.float32] | None,
) -> None:
    cue = torch.from_numpy(cue_of(box)).expand(len(clip), 5)
    with torch.inference_mode():
        whole = small[0](torch.from_numpy(clip).permute(0, 3, 1, 2)[None].float(), cue=cue)
    for i, raw in enumerate(outputs_of(reference, clip, box=box)):
        outputs = [whole.heatmaps, whole.positions, whole.visibility, whole.log_width[:, None]]
        outputs += [whole.presence[:, None], whole.dense]
        assert_equal(raw, stream.raw_outputs([each[i].numpy() for each in outputs]))


@deterministic
@given(clip=clips(), dense=st.booleans(), box=boxes())
def test_onnx_outputs_agree_with_pytorch(
    reference: TorchEngine,
    exported: Engine,
    clip: RgbImages,
    dense: bool,
    box: NDArray[np.float32] | None,
) -> None:
    both = zip(
        outputs_of(exported, clip, dense=dense, box=box),
        outputs_of(reference, clip, dense=dense, box=box),
        strict=True,
    )
    for outputs, expected in both:
        assert (outputs.dense is not None) == dense
        assert_equal(outputs, expected)


@deterministic
@given(seed=st.integers(0, 2**32 - 1), low=st.integers(0, 254), span=st.integers(1, 255))
def test_onnx_detections_agree_with_pytorch(
    reference: TorchEngine, exported: Engine, seed: int, low: int, span: int
) -> None:
    random = np.random.default_rng(seed)
    image = random.integers(low, min(low + span, 256), (WHOLE[1], WHOLE[0], 3), dtype=np.uint8)
    found, expected = exported.detect(image), reference.detect(image)
    assert found.centres.shape == (10, 12) and found.edges.shape == (4, 10, 12)
    for name, a, b in zip(found._fields, found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize(("before", "after"), [(CROP, TALL), (TALL, CROP)])
def test_a_stream_cannot_go_on_with_crops_of_another_shape(
    exported: Engine, reference: TorchEngine, before: tuple[int, int], after: tuple[int, int]
) -> None:
    for engine in (exported, reference):
        _, state = engine.step(fixed_clip(before, 1)[0], None, dense=False)
        with pytest.raises(EngineError, match="another size"):
            engine.step(fixed_clip(after, 1)[0], state, dense=False)


def test_a_tall_crop_is_the_middle_of_a_square_one(reference: TorchEngine) -> None:
    """Position embeddings and the target's box are those of the square."""
    network = reference.network
    square = crop_grid(5, 5, network.width).view(5, 5, -1)
    torch.testing.assert_close(crop_grid(5, 3, network.width).view(5, 3, -1), square[:, 1:4])
    in_square = torch.tensor([[0.3, 0.1, 0.6, 0.9, 1.0]])
    in_tall = torch.tensor([[(0.3 - 0.2) / 0.6, 0.1, (0.6 - 0.2) / 0.6, 0.9, 1.0]])
    with torch.inference_mode():
        of_square, told_square = network.cue(in_square, 5, 5)
        of_tall, told_tall = network.cue(in_tall, 5, 3)
    torch.testing.assert_close(told_tall, told_square)
    middle = of_square.view(5, 5, -1)[:, 1:4]
    torch.testing.assert_close(of_tall.view(5, 3, -1), middle)


def test_a_detection_depends_on_its_own_image_only(exported: Engine) -> None:
    first, second = fixed_clip(WHOLE, 2)
    once = exported.detect(first)
    assert np.abs(exported.detect(second).centres - once.centres).max() > 1e-2
    for a, b in zip(exported.detect(first), once, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_target_box_changes_the_outputs_and_none_is_a_box_that_is_not_given(
    exported: Engine, reference: TorchEngine
) -> None:
    (image,) = fixed_clip(CROP, 1)
    for engine in (exported, reference):
        (cued,) = outputs_of(engine, image[None], box=BOX)
        (other,) = outputs_of(engine, image[None], box=BOX + np.float32(0.1))
        (none,) = outputs_of(engine, image[None])
        for changed in (cued, other):
            assert np.abs(changed.body.heatmaps - none.body.heatmaps).max() > 1e-2
            assert changed.body.presence != none.body.presence
            assert changed.dense is not None and none.dense is not None
            assert np.abs(changed.dense.target - none.dense.target).max() > 1e-2
        assert np.abs(cued.body.heatmaps - other.body.heatmaps).max() > 1e-3
        ungiven, _ = engine.step(image, None, dense=True)
        for (name, a), (_, b) in zip(named_arrays(ungiven), named_arrays(none), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)


@deterministic
@given(clip=clips(), fork=st.integers(0, 6), dense=st.lists(st.booleans(), min_size=7, max_size=7))
def test_forking_a_stream_or_omitting_dense_outputs_does_not_change_it(
    exported: Engine, clip: RgbImages, fork: int, dense: list[bool]
) -> None:
    expected = list(outputs_of(exported, clip))
    state: object | None = None
    for i, image in enumerate(clip):
        if i == fork:  # another continuation of the stream, which must not affect this one
            exported.step(255 - image, state, dense=True)
        raw, state = exported.step(image, state, dense=dense[i])
        assert_equal(raw, RawOutputs(expected[i].body, expected[i].dense if dense[i] else None))


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
    step, detection = tmp_path / "step.onnx", tmp_path / "detection.onnx"
    export_step(reference.network, reference.card, True, step)
    export_detection(reference.network, reference.card, detection)
    graphs = {True: OnnxGraph(step, 1)}
    engine = GraphEngine(reference.card, "", graphs, OnnxDetection(detection, 1))
    for part in ("dense", "detect"):
        assert part_difference(engine, reference, part) <= TOLERANCES["float32"].largest


def test_after_a_year_a_stream_is_as_exact_as_a_new_one(exported: Engine) -> None:
    clip = fixed_clip(CROP, 8)
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


def test_any_strides_are_accepted(exported: Engine, reference: TorchEngine) -> None:
    crop, whole = (fixed_clip(size, 1)[0][:, ::-1] for size in (CROP, WHOLE))
    for engine in (exported, reference):
        a, _ = engine.step(crop, None, dense=True)
        b, _ = engine.step(crop.copy(), None, dense=True)
        assert_equal(a, b)
        found, expected = engine.detect(whole), engine.detect(whole.copy())
        np.testing.assert_allclose(found.edges, expected.edges, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((), np.uint8), ((3,), np.float32), ((4,), np.uint8)],
    ids=["grey", "floats", "alpha"],
)
def test_an_image_of_a_wrong_type_is_refused(
    exported: Engine, reference: TorchEngine, shape: tuple[int, ...], dtype: type
) -> None:
    for engine in (exported, reference):
        with pytest.raises(EngineError, match="takes one RGB image"):
            engine.step(np.zeros((*CROP[::-1], *shape), dtype), None, dense=True)
        with pytest.raises(EngineError, match="takes one RGB image"):
            engine.detect(np.zeros((*WHOLE[::-1], *shape), dtype))


def test_an_image_of_another_size_is_refused(exported: Engine, reference: TorchEngine) -> None:
    crop, whole = (fixed_clip(size, 1)[0] for size in (CROP, WHOLE))
    for engine in (exported, reference):
        for wrong in (whole, crop[:48], crop[:, :48]):
            with pytest.raises(EngineError, match=r"takes images of \(64, 64\) .*; got"):
                engine.step(wrong, None, dense=True)
        for wrong in (crop, whole[:64], whole.transpose(1, 0, 2)):
            with pytest.raises(EngineError, match=r"takes images of \(96, 80\) .*; got"):
                engine.detect(wrong)


def test_a_state_of_another_engine_is_refused(exported: Engine, reference: TorchEngine) -> None:
    (image,) = fixed_clip(CROP, 1)
    for engine, other in ((exported, reference), (reference, exported)):
        _, state = engine.step(image, None, dense=False)
        with pytest.raises(EngineError, match="Begin a new stream"):
            other.step(image, state, dense=False)


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
