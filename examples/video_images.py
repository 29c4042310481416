#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Write the frames of a video as images, for annotate_with_mediapipe.py and `thfm evaluate`.

python examples/video_images.py pose_squats.mp4 squats            # squats/00000.png ...
python examples/video_images.py pose_1.mp4 dancer --every 2
"""

import argparse
from itertools import islice
from pathlib import Path

from thfm_ros.media.errors import VideoError
from thfm_ros.media.images import write_image
from thfm_ros.media.video import Video
from thfm_ros.media.video_writer import letterboxed


def main() -> None:
    """Write the images named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", type=Path)
    parser.add_argument("out", type=Path, help="folder of the images")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="write every N-th frame")
    parser.add_argument("--side", type=int, default=640, help="longer side of the images, pixels")
    options = parser.parse_args()
    try:
        print(f"{options.out}: {write(options)} images")
    except VideoError as error:
        parser.error(str(error))


def write(options: argparse.Namespace) -> int:
    """Write every N-th frame as NUMBER.png into the folder; the number of images."""
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = islice(Video(options.video), 0, None, options.every)
    written = 0
    for frame in chosen:
        height, width = frame.rgb.shape[:2]
        scale = options.side / max(height, width)
        rgb = letterboxed(frame.rgb, (round(width * scale), round(height * scale)))
        write_image(options.out / f"{frame.index:05d}.png", rgb)
        written += 1
    return written


if __name__ == "__main__":
    main()
