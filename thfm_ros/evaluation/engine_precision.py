# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""What engine.precision int8 costs and brings: metrics on held-out crops, and the time of a step.

    python -m thfm_ros.evaluation.engine_precision --data DATA

DATA/val holds crops made by `thfm synth render --split val --view crop`. Both engines see the same
crops in turns, so that a busy machine slows both. Each crop is seen twice, since the first step of
a stream is in fp32 with either. Exit code 1: int8 cannot be used here.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from thfm_ros.config import EngineConfig
from thfm_ros.engine.base import Engine
from thfm_ros.engine.checkpoint import find_checkpoint
from thfm_ros.engine.select import load_engine
from thfm_ros.metrics.crops import CropPredictions, CropScores, crop_scores
from thfm_ros.model.outputs import RawOutputs
from thfm_ros.perception.keypoints import decode_heatmaps
from thfm_ros.training.batches import held_out
from thfm_ros.training.collate import CropBatch
from thfm_ros.training.validation import labels_of

PRECISIONS = ("fp32", "int8")
_TIMED_RUNS = 100


def images_of(batches: Sequence[CropBatch]) -> list[UInt8[np.ndarray, "h w 3"]]:
    """All crops as an engine takes them."""
    stacked = [batch.image.flatten(0, 1).permute(0, 2, 3, 1).numpy() for batch in batches]
    return list(np.concatenate(stacked).round().astype(np.uint8))


def predictions(outputs: Sequence[RawOutputs]) -> CropPredictions:
    """Outputs with maps, as the metrics take them."""
    dense = [each.dense for each in outputs if each.dense is not None]
    heatmaps = [each.body.heatmaps for each in outputs]
    shape = np.array(heatmaps[0].shape[:0:-1])
    return CropPredictions(
        mask=np.stack([each.mask for each in dense]) > 0,
        parts=np.stack([each.parts.argmax(0) for each in dense]).astype(np.uint8),
        relative_depth_m=np.stack([each.relative_depth_m for each in dense]),
        normals=np.stack([each.normals.transpose(1, 2, 0) for each in dense]),
        dense_pose=np.stack([each.dense_pose_uv.transpose(1, 2, 0) for each in dense]),
        keypoints=np.stack([decode_heatmaps(each).positions / shape for each in heatmaps]),
        positions_m=np.stack([each.body.positions for each in outputs]),
        log_width=np.array([each.body.log_width for each in outputs], np.float32),
    )


def second_step(engine: Engine, image: UInt8[np.ndarray, "h w 3"]) -> RawOutputs:
    """The outputs, with maps, of the second step of a stream that shows one image."""
    _, state = engine.step(image, None, dense=True)
    return engine.step(image, state, dense=True)[0]


def accuracy_table(scores: Sequence[tuple[str, CropScores]]) -> str:
    """The metrics of each precision, as Markdown."""
    lines = ["| | mask IoU | part mIoU | PCK@0.1 | PCK@0.05 | MPJPE mm | normals deg |", "|---" * 7]
    for name, each in scores:
        values = (each.mask_iou, each.part_miou, each.pck10, each.pck05)
        cells = [f"{value.value:.3f}" for value in values]
        cells += [f"{value.value:.1f}" for value in (each.mpjpe_mm, each.normals_deg)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines[1] += "|"
    return "\n".join(lines)


def time_table(engines: Sequence[Engine], image: UInt8[np.ndarray, "h w 3"]) -> str:
    """Processor time of a run in milliseconds, medians; the engines run in turns. As Markdown."""
    whole = np.zeros((engines[0].card.frame_size[1], engines[0].card.frame_size[0], 3), np.uint8)
    lines = [
        "| CPU time | fp32 ms | int8 ms | ratio | ratio of the shortest |",
        "|---|---|---|---|---|",
    ]
    for name, dense in (
        ("step, all estimates", True),
        ("step, only bodies", False),
        ("detection pass", None),
    ):
        taken: list[list[float]] = [[], []]
        for _ in range(_TIMED_RUNS):
            for engine, times in zip(engines, taken, strict=True):
                state = None if dense is None else engine.step(image, None, dense=dense)[1]
                begun_s = time.process_time()
                if dense is None:
                    engine.detect(whole)
                else:
                    engine.step(image, state, dense=dense)
                times.append(1e3 * (time.process_time() - begun_s))
        own, other = np.array(taken)
        ratios = np.median(other) / np.median(own), other.min() / own.min()
        cells = [f"{np.median(own):.1f}", f"{np.median(other):.1f}", *(f"{r:.2f}" for r in ratios)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with crops in val/")
    parser.add_argument("--crops", type=int, default=1000, help="crops at most")
    parser.add_argument("--checkpoint", default="nano", help="name or path of the weights")
    args = parser.parse_args()
    checkpoint = find_checkpoint(args.checkpoint)
    configs = [EngineConfig(kind="onnx", precision=each) for each in PRECISIONS]
    engines = [load_engine(checkpoint, config) for config in configs]
    sys.stdout.write("\n".join(engine.description for engine in engines) + "\n")
    if engines[1].fallback_reason:
        return 1
    batches = held_out(args.data, checkpoint.card.crop_size[0], args.crops)
    images, truth = images_of(batches), labels_of(batches)
    scores = []
    for name, engine in zip(PRECISIONS, engines, strict=True):
        found = [second_step(engine, image) for image in images]
        scores.append((name, crop_scores(predictions(found), truth)))
    tables = f"{accuracy_table(scores)}\n\n{time_table(engines, images[0])}"
    sys.stdout.write(f"\n{len(images)} crops\n\n{tables}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
