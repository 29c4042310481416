#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Processor time of what follows the network: tracks, velocities, known people, the followed one.

python scripts/tracking_cost.py

Processor time of the thread, so other processes hardly change it. The clip is the shipped street;
both trackers run on the same images in turns.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import thfm_ros
from thfm_ros.config import config_from
from thfm_ros.contract import Clip, Frame, Intrinsics, Task
from thfm_ros.loading import load_pipeline
from thfm_ros.media.video import Video
from thfm_ros.perception import tracking
from thfm_ros.perception.followed_person import PersonSelector

CLIP = Path(thfm_ros.__file__).resolve().parent / "clips" / "street.mp4"
SETTINGS = {"engine.threads": 1, "regions.run_async": False, "track.seed": 1}


def main() -> int:
    """Print milliseconds per frame and person, with and without people who are known again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--remember", type=float, nargs="+", default=[0.0, 30.0], help="seconds")
    args = parser.parse_args()
    spent: list[float] = []
    update = tracking.Tracker.update

    def timed(*arguments: object, **named: object) -> object:
        begun = time.thread_time()
        result = update(*arguments, **named)  # type: ignore[arg-type]
        spent.append(time.thread_time() - begun)
        return result

    tracking.Tracker.update = timed  # type: ignore[assignment,method-assign]
    print("| track.remember_for_s | tracks, ms per frame and person | followed person, ms |")
    print("|---|---|---|")
    for seconds in args.remember:
        config = config_from({**SETTINGS, "track.remember_for_s": seconds})
        pipeline, followed = load_pipeline(config), PersonSelector(config.follow)
        followed.follow_nearest()
        spent.clear()
        people: list[int] = []
        following: list[float] = []
        for frame in Video(CLIP):
            height, width = frame.rgb.shape[:2]
            camera = Intrinsics(
                fx=float(width), fy=float(width), cx=width / 2, cy=height / 2, width=width,
                height=height,
            )  # fmt: skip
            newest = Frame(frame.rgb, frame.stamp_ns, "camera", camera)
            found = pipeline.step(Clip((newest,), 0), frozenset({Task.BODIES}))
            people.append(len(found.bodies))
            begun = time.thread_time()
            followed.update(found.stamp_ns, found.bodies)
            following.append(time.thread_time() - begun)
        per_person = 1e3 * np.sum(spent) / max(np.sum(people), 1)
        print(f"| {seconds:g} | {per_person:.2f} | {1e3 * np.mean(following):.3f} |")
    print(f"\n{len(people)} frames, {np.mean(people):.1f} people on average")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
