# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Export of step graphs to ONNX, and example inputs for other compilers."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from thfm_ros.engine.graph_engine import token_count
from thfm_ros.engine.step_graph import DetectionGraph, StepGraph
from thfm_ros.engine.stream import HALF, OUTPUTS, StepTables
from thfm_ros.model.card import ModelCard
from thfm_ros.model.network import NanoNetwork

log = logging.getLogger(__name__)

OPSET = 20
"""Has Gelu and LayerNormalization as single operators; needs ONNX Runtime 1.17 or newer."""


def example_inputs(card: ModelCard) -> tuple[Tensor, ...]:
    """The inputs of the first step of a stream, without a cue."""
    size = card.crop_size
    tokens = token_count(size, card)
    tables = StepTables(tokens, card.window)
    arrays = 2 * card.network["depth"] * (card.window - 1)
    shape = (card.network["width"] // (2 * HALF), tokens, 2 * HALF)
    return (
        torch.zeros(size[1], size[0], 3, dtype=torch.uint8),
        torch.zeros(5),
        torch.from_numpy(tables.time_rotation(0)),
        torch.from_numpy(tables.attention_mask(0)),
        *(torch.zeros(shape) for _ in range(arrays)),
    )


def example_frame(card: ModelCard) -> tuple[Tensor]:
    """The input of the detection graph."""
    width, height = card.frame_size
    return (torch.zeros(height, width, 3, dtype=torch.uint8),)


def export_step(network: NanoNetwork, card: ModelCard, dense: bool, path: Path) -> None:
    """Write a step graph with its weights to ``path``."""
    graph, example = StepGraph(network, card.crop_size, dense), example_inputs(card)
    past = [f"past_{i}" for i in range(len(example) - 4)]
    present = [f"present_{i}" for i in range(2 * len(graph.blocks))]
    names = Names(
        ["image", "cue", "time_rotation", "attention_mask", *past],
        [*(OUTPUTS if dense else OUTPUTS[:-1]), *present],
    )
    _export(graph, example, names, path)


def export_detection(network: NanoNetwork, card: ModelCard, path: Path) -> None:
    """Write the detection graph with its weights to ``path``."""
    graph = DetectionGraph(network, card.frame_size)
    _export(graph, example_frame(card), Names(["image"], ["detections"]), path)


class Names(NamedTuple):
    """Of a graph's inputs and outputs."""

    inputs: list[str]
    outputs: list[str]


def _export(graph: nn.Module, example: tuple[Tensor, ...], names: Names, path: Path) -> None:
    """Export by tracing, which takes a second. The newer exporter (``dynamo``) needs ten seconds
    and more packages for an equal graph, so it is used only where tracing fails or is gone."""

    def write(dynamo: bool) -> None:
        torch.onnx.export(
            graph,
            example,
            str(path),
            dynamo=dynamo,
            external_data=False,
            opset_version=OPSET,
            input_names=names.inputs,
            output_names=names.outputs,
            verbose=False,
        )

    with _without_exporter_messages(), torch.no_grad():
        try:
            write(dynamo=False)
        except Exception as error:
            log.info("Export by tracing failed (%s), trying the dynamo exporter.", error)
            write(dynamo=True)


@contextlib.contextmanager
def _without_exporter_messages() -> Iterator[None]:
    # The exporter reports each of its passes and optional packages, which users cannot act on.
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
