"""What the pipeline takes for people where there is nobody: images to learn from.

Run as ``python -m thfm_ros.evaluation.hard_negative_mining --frames data/frames --out FILE.npy``;
training shows what lies in ``mistakes.npy`` as crops without people. Only of training's own frames:
what is held out must not be learned from.
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
from thfm_ros.evaluation.synthetic_frames import Rendered, frame_clips, perceived
from thfm_ros.geometry import area
from thfm_ros.loading import Pipeline, load_pipeline
from thfm_ros.perception.crop_region import around, cut, source_rectangle

logger = logging.getLogger(__name__)
TASKS = frozenset({Task.BODIES, Task.SEGMENTATION})
SUSPECTED = {"decode.min_score": 0.15, "decode.candidate_threshold": 0.1}
"""Limits at which more is found than the node would publish: what is nearly mistaken counts."""


def mistakes_of(
    pipeline: Pipeline, clips: Iterable[list[Rendered]]
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Crops round what was found in the first frame of each clip where no person's pixel is."""
    for _, first, seen in perceived(pipeline, (clip[:1] for clip in clips), TASKS):
        frame = Frame(first.rgb, seen.stamp_ns, seen.frame_id, seen.intrinsics)
        for body in seen.bodies:
            if area(body.box) <= 0:
                continue
            region = around(body.box, pipeline.engine.card.crop_size, pipeline.config.regions)
            x0, y0, x1, y1 = (max(0, edge) for edge in source_rectangle(region.map))
            if not first.instances[y0:y1, x0:x1].any():
                yield cut(frame, region)


def main() -> int:
    """Gather them and write one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=Path, required=True, help="shards of whole frames")
    parser.add_argument("--out", type=Path, required=True, help="the .npy file")
    parser.add_argument("--checkpoint", default="nano", help="'nano' (shipped) or a file")
    parser.add_argument("--most", type=int, default=4000, help="clips looked at (%(default)s)")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = {"engine.checkpoint": args.checkpoint, "track.seed": 1, **SUSPECTED}
    pipeline = load_pipeline(config_from(settings))
    clips = tqdm(islice(frame_clips(args.frames, "train"), args.most), unit="clip")
    try:
        found = list(mistakes_of(pipeline, clips))
    except PerceptionError as error:
        logger.error("%s", error)
        return 2
    width, height = pipeline.engine.card.crop_size
    np.save(args.out, np.stack(found) if found else np.zeros((0, height, width, 3), np.uint8))
    logger.info("%d mistakes in %s", len(found), args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
