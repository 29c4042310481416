# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""engine.precision: int8 steps of a small network, and what makes fp32 replace them."""

import platform
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from thfm_ros.config import EngineConfig
from thfm_ros.engine import int8, int8_engine
from thfm_ros.engine.base import KNOWN_PERSON, Engine
from thfm_ros.engine.cache import EngineCache
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.engine.graph_engine import all_graphs
from thfm_ros.engine.int8 import (
    INT8,
    INT8_7_BITS,
    calibration_crops,
    int8_precision,
    is_quantised,
)
from thfm_ros.engine.int8_engine import Int8Export
from thfm_ros.engine.onnx_engine import OnnxExport
from thfm_ros.engine.select import load_engine
from thfm_ros.engine.torch_engine import TorchEngine
from thfm_ros.engine.verify import TOLERANCES, Tolerance, part_difference
from thfm_ros.model.card import ModelCard
from thfm_ros.model.network import NanoNetwork

NANO_TOLERANCE = TOLERANCES["int8"]


@pytest.fixture
def config(checkpoint: Path, cache: EngineCache, exported: object) -> EngineConfig:
    """int8 steps of the small checkpoint, and the cache that contains its float32 graphs."""
    folder = str(cache.folder.parent)
    return EngineConfig(checkpoint=str(checkpoint), kind="onnx", cache_dir=folder, precision="int8")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is faster depends on how busy the machine is; few crops are enough for a test. A small
    network that was not trained differs more than nano."""
    monkeypatch.setattr(int8_engine, "time_ratio", lambda *_, **__: 0.6)
    monkeypatch.setattr(int8_engine, "calibration_crops", lambda size: calibration_crops(size)[:3])
    monkeypatch.setitem(TOLERANCES, "int8", Tolerance(3.0, 0.9))


def load(config: EngineConfig, precision: str = "int8") -> Engine:
    return load_engine(find_checkpoint(config.checkpoint), replace(config, precision=precision))


def operators_as_run(graph: Path, folder: Path) -> Counter[str]:
    """The operators of a graph as ONNX Runtime optimises it, with their numbers."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node)


def without_a_cached_graph(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As on another processor, whose graphs the cache does not have; quick: nothing is changed."""

    def copy(source: Path, target: Path, *_: Any) -> int:
        shutil.copy(source, target)
        return 0

    monkeypatch.setattr(int8_engine, "quantise", copy)
    monkeypatch.setattr(int8_engine, "int8_precision", lambda: f"int8 {name}")


def cpu_with(flags: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: f"flags : fpu {flags} sse2")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


def test_int8_steps_agree_with_float32_within_the_tolerance_and_detections_are_those_of_float32(
    config: EngineConfig,
) -> None:
    own, reference = load(config), load(config, "fp32")
    assert "int8" in own.description and own.fallback_reason is None
    assert "int8" not in reference.description
    for card, part in all_graphs(own.card):
        found = part_difference(own, reference, part, size=card.crop_size, quantile=0.9)
        if part == "detect":
            assert found == 0
        else:
            assert 0 < found < 3, part  # not the same numbers


def test_the_int8_graph_without_dense_outputs_is_a_part_of_the_one_with_them(
    config: EngineConfig,
) -> None:
    own = load(config)
    for width, height in own.card.crop_sizes:
        image = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
        states: list[object] = [KNOWN_PERSON, KNOWN_PERSON]
        for _ in range(3):
            with_maps, states[0] = own.step(image, states[0], dense=True)
            without, states[1] = own.step(image, states[1], dense=False)
            assert without.dense is None
            for name, expected in with_maps.body._asdict().items():
                found = getattr(without.body, name)
                np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=name)


def test_an_int8_graph_of_the_cache_is_not_made_again(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(config)

    def fail(*_: Any) -> None:
        raise AssertionError("quantised again")

    monkeypatch.setattr(int8_engine, "quantise", fail)
    assert "int8" in load(config).description


@pytest.mark.fault("engine", "an int8 graph differs from fp32")
def test_a_graph_that_differs_too_much_is_replaced_by_fp32_with_a_reason(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_a_cached_graph(monkeypatch, "that differs")
    monkeypatch.setattr(int8_engine, "int8_difference", lambda *_, **__: 5.0)
    engine = load(config)
    assert "int8 differs from fp32" in (engine.fallback_reason or "")
    assert "fp32 instead of int8" in engine.description
    black = np.zeros((64, 64, 3), np.uint8)
    assert engine.step(black, None, dense=True)[0].dense is not None


@pytest.mark.fault("engine", "an int8 graph is not faster than fp32")
def test_a_graph_that_is_not_faster_is_replaced_by_fp32_with_a_reason(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_a_cached_graph(monkeypatch, "that is slow")
    monkeypatch.setattr(int8_engine, "time_ratio", lambda *_, **__: 1.2)
    engine = load(config)
    assert "int8 is not faster here: 1.20" in (engine.fallback_reason or "")


def test_auto_is_int8_where_the_processor_is_made_for_it_and_fp32_without_a_warning_elsewhere(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "int8_precision", lambda: INT8_7_BITS)
    engine = load(config, "auto")
    assert "int8" not in engine.description and engine.fallback_reason is None
    monkeypatch.setattr(int8, "int8_precision", lambda: INT8)
    assert "int8" in load(config, "auto").description
    without_a_cached_graph(monkeypatch, "that is slow")
    monkeypatch.setattr(int8_engine, "time_ratio", lambda *_, **__: 1.2)
    engine = load(config, "auto")
    assert "int8" not in engine.description and engine.fallback_reason is None


@pytest.mark.parametrize(
    ("flags", "precision"),
    [("avx512_vnni", INT8), ("avx2 avx_vnni", INT8), ("avx2", INT8_7_BITS), ("", INT8_7_BITS)],
)
def test_without_vnni_weights_have_seven_bits(
    flags: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu_with(flags, monkeypatch)
    assert int8_precision() == precision


def test_the_cache_keeps_float32_int8_and_seven_bits_apart(
    small: tuple[NanoNetwork, ModelCard], reference: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = OnnxExport(small[1], "0" * 64, "body", 1, lambda: reference)
    stems = {export.key().stem}
    for precision in (INT8, INT8_7_BITS):
        monkeypatch.setattr(int8_engine, "int8_precision", lambda p=precision: p)
        stems.add(Int8Export(export).key().stem)
    assert len(stems) == 3


@pytest.mark.slow
def test_int8_steps_of_nano_agree_with_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_engine, "calibration_crops", calibration_crops)
    monkeypatch.setitem(TOLERANCES, "int8", NANO_TOLERANCE)
    config = EngineConfig(kind="onnx", cache_dir=str(tmp_path), precision="int8")
    engine = load(config)
    assert engine.fallback_reason is None and "int8" in engine.description
    in_float32 = load(config, "fp32")
    for size in engine.card.crop_sizes:
        found = part_difference(engine, in_float32, "dense", size=size, quantile=0.95)
        assert found < 0.25


@pytest.mark.parametrize(
    ("operator", "name", "quantised"),
    [
        ("Conv", "/encoder/stem/stem.0/Conv", False),
        ("Conv", "/encoder/blocks.5/depthwise/depthwise.0/Conv", False),
        ("Conv", "/encoder/blocks.6/expand/expand.0/Conv", True),
        ("Conv", "/encoder/blocks.15/project/project.0/Conv", True),
        ("Conv", "/encoder/scratch/at_half/at_half.0/Conv", True),
        ("Conv", "/to_half/merge/merge.0/Conv", True),
        ("Gemm", "/blocks.0/project/Gemm", True),
        ("Gemm", "/blocks.4/narrow/Gemm", True),
        ("Gemm", "/cue/told/Gemm", False),
        ("MatMul", "/blocks.0/MatMul", False),
        ("Relu", "/to_half/merge/merge.2/Relu", False),
    ],
)
def test_the_first_blocks_of_the_pretrained_encoder_and_attention_stay_in_float32(
    operator: str, name: str, quantised: bool
) -> None:
    assert is_quantised(operator, name) == quantised


def test_activations_after_int8_convolutions_and_outputs_of_linear_layers_are_not_quantised_twice(
    config: EngineConfig, cache: EngineCache, tmp_path: Path
) -> None:
    load(config)
    path = next(cache.folder.glob("*-dense-int8-*.onnx"))
    operators = operators_as_run(path, tmp_path)
    depth = find_checkpoint(config.checkpoint).card.network["depth"]
    assert operators["QGemm"] == 4 * depth
    assert operators["DequantizeLinear"] < operators["QLinearConv"] / 2, operators


def test_padding_and_pixel_shuffles_cost_the_graphs_no_operator_of_their_own(
    cache: EngineCache, exported: object, tmp_path: Path
) -> None:
    for path in cache.folder.glob("*.onnx"):
        if "int8" not in path.name:
            operators = operators_as_run(path, tmp_path)
            assert operators["Conv"] > 40
            assert operators["Pad"] == operators["DepthToSpace"] == 0, path.name


def test_calibration_crops_are_the_same_every_time_and_have_the_size_of_a_crop() -> None:
    crops = calibration_crops((64, 48))
    assert len(crops) == 48 and {crop.shape for crop in crops} == {(48, 64, 3)}
    np.testing.assert_array_equal(crops, calibration_crops((64, 48)))
    assert np.std(crops) > 20


def test_the_first_step_of_a_stream_has_the_numbers_of_float32_and_later_ones_do_not(
    config: EngineConfig,
) -> None:
    """It decides, with a limit, whether there is a person."""
    own, reference = load(config), load(config, "fp32")
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    for dense in (True, False):
        first, state = own.step(image, None, dense=dense)
        expected, expected_state = reference.step(image, None, dense=dense)
        np.testing.assert_array_equal(first.body.heatmaps, expected.body.heatmaps)
        later, _ = own.step(image, state, dense=dense)
        in_float32, _ = reference.step(image, expected_state, dense=dense)
        assert not np.array_equal(later.body.heatmaps, in_float32.body.heatmaps)


def test_the_first_step_of_a_known_person_is_in_int8_and_the_stream_is_a_new_one(
    config: EngineConfig,
) -> None:
    own, in_float32 = load(config), load(config, "fp32")
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    for dense in (True, False):
        known, state = own.step(image, KNOWN_PERSON, dense=dense)
        decides, _ = own.step(image, None, dense=dense)
        assert not np.array_equal(known.body.heatmaps, decides.body.heatmaps)
        again, _ = own.step(image, KNOWN_PERSON, dense=dense)
        np.testing.assert_array_equal(known.body.heatmaps, again.body.heatmaps)
        later, _ = own.step(255 - image, state, dense=dense)
        other, _ = own.step(255 - image, KNOWN_PERSON, dense=dense)
        assert not np.array_equal(later.body.heatmaps, other.body.heatmaps)
        exact = [in_float32.step(image, each, dense=dense)[0] for each in (None, KNOWN_PERSON)]
        np.testing.assert_array_equal(exact[0].body.heatmaps, exact[1].body.heatmaps)


def test_the_advice_of_the_quantiser_is_not_logged(
    config: EngineConfig, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    shutil.copytree(config.cache_dir, folder, ignore=shutil.ignore_patterns("*int8*"))
    with caplog.at_level("INFO"):
        assert "int8" in load(replace(config, cache_dir=str(folder))).description
    assert any("Quantising" in record.message for record in caplog.records)
    assert not [record.message for record in caplog.records if record.name == "root"]
