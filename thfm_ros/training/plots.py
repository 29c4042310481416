"""Images of a run: curves of every figure, and what the network says about fixed crops."""

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from thfm_ros.model.network import NanoNetwork
from thfm_ros.skeleton import BONES, PART_NAMES
from thfm_ros.training.losses import Batch

PALETTE = np.random.default_rng(1).uniform(40, 255, (len(PART_NAMES), 3)).astype(np.uint8)
PALETTE[0] = 0
TILE = 192


def draw_curves(rows_path: Path, image: Path) -> None:
    """One small plot per figure, over the steps."""
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


def draw_heldout(network: NanoNetwork, batch: Batch, image: Path) -> None:
    """A column per crop: truth of the joints, joints found, mask, parts, normals, relief."""
    network.eval()
    with torch.no_grad():
        out = network(batch.image[:12])
    network.train()
    assert out.dense is not None
    maps = out.dense.numpy()
    tiles = []
    for i in range(len(maps)):
        rgb = batch.image[i, 0].permute(1, 2, 0).numpy().astype(np.uint8)
        person = maps[i, 0] > 0
        column = [
            skeleton(rgb, batch.peaks[i].numpy(), batch.visibility[i].numpy() > 0),
            skeleton(rgb, out.peaks[i].numpy(), out.visibility[i, :, 0].numpy() > 0),
            np.repeat((255 / (1 + np.exp(-maps[i, 0])))[..., None], 3, 2).astype(np.uint8),
            PALETTE[np.where(person, maps[i, 1:18].argmax(0), 0)],
            np.where(person[..., None], _unit(maps[i, 19:22]) * 127 + 128, 0).astype(np.uint8),
            np.repeat((maps[i, 18] * 160 + 128).clip(0, 255)[..., None], 3, 2).astype(np.uint8)
            * person[..., None],
        ]
        tiles.append(np.concatenate([_tile(tile) for tile in column]))
    cv2.imwrite(str(image), np.concatenate(tiles, 1)[..., ::-1])


def _unit(normals: np.ndarray) -> np.ndarray:
    normals = normals.transpose(1, 2, 0)
    found: np.ndarray = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
    return found


def _tile(image: np.ndarray) -> np.ndarray:
    found: np.ndarray = cv2.resize(image, (TILE, TILE), interpolation=cv2.INTER_NEAREST)
    return found


def skeleton(
    rgb: UInt8[np.ndarray, "h w 3"], peaks: np.ndarray, drawn: np.ndarray
) -> UInt8[np.ndarray, "h w 3"]:
    """The bones over the image, left cold and right warm; ``peaks`` in 0..1."""
    canvas: np.ndarray = _tile(rgb).copy()
    points = (peaks * TILE).astype(int)
    for parent, child in BONES:
        if drawn[parent] and drawn[child]:
            left = "LEFT" in child.name
            colour = (
                (80, 160, 255)
                if left
                else (255, 160, 60)
                if "RIGHT" in child.name
                else (90, 230, 90)
            )
            first, last = tuple(map(int, points[parent])), tuple(map(int, points[child]))
            cv2.line(canvas, first, last, colour, 2, cv2.LINE_AA)
    return canvas
