#!/usr/bin/env python3
"""Write the shipped street clip's walkers, enlarged as the benchmark shows them, as images.

    python examples/street_walkers.py walkers      # walkers/0-000.png ... walkers/2-039.png

Three people, 40 frames of each at 10 Hz, 640x480; a person fills three quarters of the height. What
comes next is examples/annotate_with_mediapipe.py.
"""

import argparse
from pathlib import Path

import cv2

from thfm_ros.ros.benchmark.clip import LENGTH, WALKS, walker_clip

WALKERS = len(WALKS) - 1
"""The last one is too small to be enlarged so much."""


def main() -> None:
    """Write the images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_RAW)
    parser.add_argument("out", type=Path, help="folder of the images")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for number in range(WALKERS):
        for frame, image in enumerate(walker_clip(number, 640, 480)):
            cv2.imwrite(str(options.out / f"{number}-{frame:03d}.png"), image[..., ::-1])
    print(f"{options.out}: {WALKERS * LENGTH} images")


_RAW = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    main()
