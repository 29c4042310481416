# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""int8 step graphs: convolutions and the transformer's linear layers with 8-bit weights and inputs.

The first blocks of the pretrained encoder stay in float32: in int8 they cost half a point of the
masks' IoU (docs/experiments/runtime.md). So do the outputs of linear layers, since what follows
them is in float32. Ranges of activations are those of crops of the clip that ships with the
package, so that any checkpoint can be quantised where it runs.
"""

import logging
import platform
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from thfm_ros.media.video import Video

_CLIP = Path(__file__).resolve().parents[1] / "clips" / "street.mp4"
_CALIBRATION_SEED = 20261130
_CROPS_PER_FRAME, _FRAMES, _FRAME_STEP = 8, 6, 6
_SIDES = (0.4, 1.0)  # of the calibration crops, in heights of the image

_SENSITIVE = re.compile(r"/encoder/(stem|blocks\.[0-5])/")
"""Convolutions that cost accuracy in int8: the first ones of the pretrained encoder."""
_LINEAR = re.compile(r"/blocks\.\d+/(project|join|widen|narrow)/Gemm$")
"""The linear layers of `step_graph.StepBlock`; the smaller ones elsewhere take no time."""

INT8 = "int8"
INT8_7_BITS = "int8 with 7-bit weights"


def int8_precision() -> str:
    """How this processor runs int8: without VNNI the products of x86 overflow 16 bits, so weights
    have 7 bits there."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return INT8
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        flags = ""
    return INT8 if "avx512_vnni" in flags or "avx_vnni" in flags else INT8_7_BITS


def calibration_crops(size: tuple[int, int]) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Crops of width and height ``size`` of the shipped clip; the same on every machine."""
    rng = np.random.default_rng(_CALIBRATION_SEED)
    crops = []
    for index, frame in enumerate(Video(_CLIP)):
        if index % _FRAME_STEP:
            continue
        height, width = frame.rgb.shape[:2]
        for _ in range(_CROPS_PER_FRAME):
            h = round(height * rng.uniform(*_SIDES))
            w = min(round(h * size[0] / size[1]), width)
            y, x = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
            crop = np.ascontiguousarray(frame.rgb[y : y + h, x : x + w])
            crops.append(np.asarray(cv2.resize(crop, size, interpolation=cv2.INTER_AREA)))
        if len(crops) >= _FRAMES * _CROPS_PER_FRAME:
            break
    return crops


def quantise(
    source: Path, target: Path, inputs: Sequence[Mapping[str, np.ndarray]], precision: str
) -> int:
    """Write the int8 form of a step graph.

    Args:
        source: the graph in float32.
        target: file to write.
        inputs: of the graph, for the ranges of activations.
        precision: `INT8` or `INT8_7_BITS`.

    Returns:
        how many convolutions and linear layers are in int8.
    """
    # They need onnx, which a graph from the cache does not.
    from onnxruntime import quantization

    nodes, activations = _quantised_nodes(source)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._inputs: Iterator[Mapping[str, np.ndarray]] = iter(inputs)

        def get_next(self) -> Any:
            return next(self._inputs, None)

    with _without_advice():
        quantization.quantize_static(
            str(source),
            str(target),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_quantize=nodes + activations,
            reduce_range=precision == INT8_7_BITS,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
        )
    return len(nodes)


def without_outputs(source: Path, target: Path, left_out: Collection[str]) -> int:
    """Write the part of a quantised step graph that does not serve only these outputs.

    It costs no calibration, and has the ranges of ``source``.

    Returns:
        how many convolutions and linear layers of the part are in int8.
    """
    import onnx

    model = onnx.load(source)
    inputs = [each.name for each in model.graph.input]
    outputs = [each.name for each in model.graph.output if each.name not in left_out]
    part = onnx.utils.Extractor(model).extract_model(inputs, outputs)
    onnx.save(part, target)
    return sum(is_quantised(node.op_type, node.name) for node in part.graph.node)


@contextmanager
def _without_advice() -> Iterator[None]:
    """ONNX Runtime advises how to quantise, on the root logger, which no one who starts a node can
    follow. Other loggers are not affected."""

    def refuse_all(record: logging.LogRecord) -> bool:
        return False

    root = logging.getLogger()
    root.addFilter(refuse_all)
    try:
        yield
    finally:
        root.removeFilter(refuse_all)


def _quantised_nodes(path: Path) -> tuple[list[str], list[str]]:
    """Names of the convolutions and linear layers in int8, and of the activations after these
    convolutions: each becomes the range of its convolution's output, and costs nothing.
    """
    import onnx

    graph = onnx.load(path).graph
    nodes = [node for node in graph.node if is_quantised(node.op_type, node.name)]
    outputs = {node.output[0] for node in nodes if node.op_type == "Conv"}
    activations = [
        node.name
        for node in graph.node
        if node.op_type in ("Relu", "Clip") and node.input[0] in outputs
    ]
    return [node.name for node in nodes], activations


def is_quantised(operator: str, name: str) -> bool:
    """Whether a node of that ONNX operator and name is run in int8."""
    if operator == "Conv":
        return _SENSITIVE.match(name) is None
    return operator == "Gemm" and _LINEAR.match(name) is not None
