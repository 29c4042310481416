# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Export of step graphs to ONNX, and example inputs for other compilers."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from thfm_ros.engine.graph_engine import token_count
from thfm_ros.engine.step_graph import StepGraph
from thfm_ros.engine.stream import HALF, OUTPUTS, StepTables
from thfm_ros.model.card import ModelCard
from thfm_ros.model.network import NanoNetwork

log = logging.getLogger(__name__)

OPSET = 20
"""Has Gelu and LayerNormalization as single operators; needs ONNX Runtime 1.17 or newer."""


def example_inputs(card: ModelCard, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """The inputs of the first step of a stream."""
    tokens = token_count(size, card)
    tables = StepTables(tokens, card.window)
    arrays = 2 * card.network["depth"] * (card.window - 1)
    shape = (card.network["width"] // (2 * HALF), tokens, 2 * HALF)
    return (
        torch.zeros(size[1], size[0], 3, dtype=torch.uint8),
        torch.from_numpy(tables.time_rotation(0)),
        torch.from_numpy(tables.attention_mask(0)),
        *(torch.zeros(shape) for _ in range(arrays)),
    )


def export_onnx(
    network: NanoNetwork, card: ModelCard, size: tuple[int, int], dense: bool, path: Path
) -> None:
    """Write a step graph with its weights to ``path``.

    The exporter by tracing takes a second. The newer one (``dynamo``) needs ten seconds and more
    packages for an equal graph, so it is used only where tracing fails or is no longer available.
    """
    graph, example = StepGraph(network, size, dense), example_inputs(card, size)
    with _without_exporter_messages(), torch.no_grad():
        try:
            _export(graph, example, path, dynamo=False)
        except Exception as error:
            log.info("Export by tracing failed (%s), trying the dynamo exporter.", error)
            _export(graph, example, path, dynamo=True)


def _export(graph: StepGraph, example: tuple[Tensor, ...], path: Path, *, dynamo: bool) -> None:
    past = [f"past_{i}" for i in range(len(example) - 3)]
    present = [f"present_{i}" for i in range(2 * len(graph.blocks))]
    torch.onnx.export(
        graph,
        example,
        str(path),
        dynamo=dynamo,
        external_data=False,
        opset_version=OPSET,
        input_names=["image", "time_rotation", "attention_mask", *past],
        output_names=[*(OUTPUTS if graph.dense else OUTPUTS[:-1]), *present],
        verbose=False,
    )


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
