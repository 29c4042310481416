#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Write images of the shipped street clip's pedestrians, enlarged as in the benchmark.

    python examples/street_pedestrians.py pedestrians      # pedestrians/0-000.png ... pedestrians/2-039.png

Three people, 40 frames of each at 10 Hz, 640x480; a person fills three quarters of the height. The
next step is examples/annotate_with_mediapipe.py.
"""

import argparse
from pathlib import Path

import cv2

from thfm_ros.ros.benchmark.clip import LENGTH, PEDESTRIANS, pedestrian_clip

PEOPLE = len(PEDESTRIANS) - 1
"""The last pedestrian is too small to be enlarged this much."""


def main() -> None:
    """Write the images."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder of the images")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for number in range(PEOPLE):
        for frame, image in enumerate(pedestrian_clip(number, 640, 480)):
            cv2.imwrite(str(options.out / f"{number}-{frame:03d}.png"), image[..., ::-1])
    print(f"{options.out}: {PEOPLE * LENGTH} images")


if __name__ == "__main__":
    main()
