# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Mine hard negatives: crops in which the pipeline detects a person although there is none.

Run as ``python -m thfm_ros.evaluation.hard_negative_mining --frames data/frames --out FILE.npy``;
training shows them as crops without a person (training/batches.py names the file). Only for
frames of the training split: what is held out must not be learned from.
"""

import argparse
import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from thfm_ros.config import config_from
from thfm_ros.contract import Frame, PerceptionError, Task
from thfm_ros.evaluation.synthetic_frames import LabelledFrame, frame_clips, run_pipeline
from thfm_ros.geometry import area
from thfm_ros.loading import Pipeline, load_pipeline
from thfm_ros.perception.crop_region import crop_image, region_around, source_rectangle

logger = logging.getLogger(__name__)
TASKS = frozenset({Task.BODIES, Task.SEGMENTATION})
LOW_THRESHOLDS = {"decode.min_score": 0.15, "decode.candidate_threshold": 0.1}
"""Lower than the defaults, so that detections that are nearly accepted are mined as well."""


def hard_negatives(
    pipeline: Pipeline, clips: Iterable[list[LabelledFrame]]
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Crops around the detections in the first frame of each clip that show no person's pixel."""
    crop_size = pipeline.engine.card.crop_size
    for _, first, perception in run_pipeline(pipeline, (clip[:1] for clip in clips), TASKS):
        frame = Frame(first.rgb, perception.stamp_ns, perception.frame_id, perception.intrinsics)
        for body in perception.bodies:
            if area(body.box) <= 0:
                continue
            region = region_around(body.box, crop_size, pipeline.config.regions)
            x0, y0, x1, y1 = (max(0, edge) for edge in source_rectangle(region))
            if not first.instances[y0:y1, x0:x1].any():
                yield crop_image(frame, region)


def main() -> int:
    """Mine hard negatives and write them into one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=Path, required=True, help="shards of whole frames")
    parser.add_argument("--out", type=Path, required=True, help="the .npy file")
    parser.add_argument("--checkpoint", default="nano", help="'nano' (shipped) or a file")
    parser.add_argument("--max-clips", type=int, default=4000, help="default: %(default)s")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = {"engine.checkpoint": args.checkpoint, "track.seed": 1, **LOW_THRESHOLDS}
    pipeline = load_pipeline(config_from(settings))
    clips = tqdm(islice(frame_clips(args.frames, "train"), args.max_clips), unit="clip")
    try:
        found = list(hard_negatives(pipeline, clips))
    except PerceptionError as error:
        logger.error("%s", error)
        return 2
    width, height = pipeline.engine.card.crop_size
    np.save(args.out, np.stack(found) if found else np.zeros((0, height, width, 3), np.uint8))
    logger.info("%d hard negatives in %s", len(found), args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
