# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Images of a run: curves of all metrics, and predictions for fixed crops."""

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8

from thfm_ros.contract import Task
from thfm_ros.model.network import NanoNetwork
from thfm_ros.model.prompts import readout_slices
from thfm_ros.skeleton import BONES, PART_NAMES, Joint
from thfm_ros.training.collate import CropBatch

PALETTE = np.random.default_rng(1).uniform(40, 255, (len(PART_NAMES), 3)).astype(np.uint8)
PALETTE[0] = 0
TILE = 192
CROPS = 12
LEFT_COLOUR, RIGHT_COLOUR, MIDDLE_COLOUR = (80, 160, 255), (255, 160, 60), (90, 230, 90)


def draw_curves(rows_path: Path, image: Path) -> None:
    """Write a plot of each metric and loss over the steps.

    Args:
        rows_path: the run's metrics.jsonl.
        image: file to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [json.loads(line) for line in rows_path.read_text().splitlines()]
    names = [k for k, v in rows[-1].items() if isinstance(v, float)]
    series = {name: [row.get(name, np.nan) for row in rows] for name in names}
    for name in rows[-1]["loss"]:
        series[f"loss {name}"] = [row["loss"].get(name, np.nan) for row in rows]
    columns = 6
    lines = -(-len(series) // columns)
    figure, axes = pyplot.subplots(lines, columns, figsize=(3 * columns, 2 * lines))
    for axis, (name, values) in zip(axes.flat, series.items(), strict=False):
        axis.plot([row["step"] for row in rows], values, ".-", markersize=3)
        axis.set_title(name, fontsize=8)
        axis.tick_params(labelsize=6)
    figure.tight_layout()
    figure.savefig(image, dpi=70)
    pyplot.close(figure)


def draw_heldout(network: NanoNetwork, batch: CropBatch, image: Path) -> None:
    """Write a column per crop: true and predicted keypoints, mask, parts, normals, depth.

    The network is in inference mode afterwards.
    """
    network.eval()
    device = next(network.parameters()).device
    with torch.no_grad():
        outputs = network(batch.image[:CROPS].to(device))
    assert outputs.dense is not None
    peaks, inside = outputs.peaks.cpu().numpy(), outputs.visibility[..., 0].cpu().numpy() > 0
    columns = []
    for i, maps in enumerate(outputs.dense.cpu().numpy()):
        rgb = batch.image[i, 0].permute(1, 2, 0).numpy().astype(np.uint8)
        tiles = [
            draw_skeleton(rgb, batch.peaks[i].numpy(), batch.visibility[i].numpy() > 0),
            draw_skeleton(rgb, peaks[i], inside[i]),
            *_dense_tiles(maps),
        ]
        columns.append(np.concatenate([_tile(tile) for tile in tiles]))
    cv2.imwrite(str(image), np.concatenate(columns, 1)[..., ::-1])


def _dense_tiles(maps: Float32[np.ndarray, "c h w"]) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Mask, parts, normals and relative depth of one crop."""
    channels = {task: maps[part] for task, part in readout_slices().items()}
    logits, depth = channels[Task.SEGMENTATION][0], channels[Task.DEPTH][0]
    person = logits > 0
    parts = np.where(person, channels[Task.PARTS].argmax(0), 0)
    normals = channels[Task.NORMALS].transpose(1, 2, 0)
    normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
    grey_depth = np.where(person, (depth * 160 + 128).clip(0, 255), 0)
    return [
        _grey(255 / (1 + np.exp(-logits))),
        PALETTE[parts],
        np.where(person[..., None], normals * 127 + 128, 0).astype(np.uint8),
        _grey(grey_depth),
    ]


def _grey(values: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """A grey image of values in 0..255."""
    return np.repeat(values[..., None], 3, 2).astype(np.uint8)


def _tile(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "tile tile 3"]:
    return np.asarray(cv2.resize(image, (TILE, TILE), interpolation=cv2.INTER_NEAREST))


def draw_skeleton(
    rgb: UInt8[np.ndarray, "h w 3"],
    peaks: Float[np.ndarray, "k 2"],
    drawn: Bool[np.ndarray, " k"],
) -> UInt8[np.ndarray, "tile tile 3"]:
    """Bones over the image, left and right in different colours.

    Args:
        rgb: the image.
        peaks: keypoints in 0..1 of the image.
        drawn: keypoints that take part.
    """
    canvas: np.ndarray = _tile(rgb).copy()
    points = (peaks * TILE).astype(int)
    for parent, child in BONES:
        if drawn[parent] and drawn[child]:
            first, last = tuple(map(int, points[parent])), tuple(map(int, points[child]))
            cv2.line(canvas, first, last, _colour(child), 2, cv2.LINE_AA)
    return canvas


def _colour(joint: Joint) -> tuple[int, int, int]:
    if "LEFT" in joint.name:
        return LEFT_COLOUR
    return RIGHT_COLOUR if "RIGHT" in joint.name else MIDDLE_COLOUR
