"""The step graph as an ONNX file, or as example inputs for whoever else compiles it."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from thfm_ros.engine.graph_engine import tokens_of
from thfm_ros.engine.step_graph import StepGraph
from thfm_ros.engine.stream import HALF, OUTPUTS, Tables
from thfm_ros.model.card import ModelCard
from thfm_ros.model.network import NanoNetwork

log = logging.getLogger(__name__)

OPSET = 20
"""Has Gelu and LayerNormalization as single operations; ONNX Runtime 1.17 and newer know it."""


def example_inputs(card: ModelCard, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """The inputs of the first step of a stream."""
    tokens = tokens_of(size, card)
    tables = Tables(tokens, card.window)
    arrays = 2 * card.network["depth"] * (card.window - 1)
    shape = (card.network["width"] // (2 * HALF), tokens, 2 * HALF)
    return (
        torch.zeros(size[1], size[0], 3, dtype=torch.uint8),
        torch.from_numpy(tables.time(0)),
        torch.from_numpy(tables.allowed(0)),
        *(torch.zeros(shape) for _ in range(arrays)),
    )


def export_onnx(
    network: NanoNetwork, card: ModelCard, size: tuple[int, int], dense: bool, path: Path
) -> None:
    """Write a step graph, weights included.

    By tracing, in a second. PyTorch means to give that up one day for an exporter that needs ten
    seconds and more packages for the same graph: it is the second choice as long as it is that.
    """
    graph, example = StepGraph(network, size, dense), example_inputs(card, size)
    with _quietly(), torch.no_grad():
        try:
            _export(graph, example, path, dynamo=False)
        except Exception as error:
            log.info("PyTorch does not export by tracing (%s), trying its other exporter.", error)
            _export(graph, example, path, dynamo=True)


def _export(graph: StepGraph, example: tuple[Tensor, ...], path: Path, *, dynamo: bool) -> None:
    past = [f"past_{i}" for i in range(len(example) - 3)]
    remembered = [f"remembered_{i}" for i in range(2 * len(graph.blocks))]
    torch.onnx.export(
        graph,
        example,
        str(path),
        dynamo=dynamo,
        external_data=False,
        opset_version=OPSET,
        input_names=["image", "time", "allowed", *past],
        output_names=[*(OUTPUTS if graph.dense else OUTPUTS[:-1]), *remembered],
        verbose=False,
    )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    # The exporter tells of each of its passes, and of packages it could have used; nobody can
    # act on that.
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
