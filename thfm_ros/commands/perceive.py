# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm perceive`: run the pipeline on a video, on images or on a rosbag, and write the results.

thfm_ros/media/recording.py describes the arrays of perception.npz. Every image of a folder is a
clip of its own.
"""

import argparse
import logging
from pathlib import Path

from thfm_ros.bags.bag import Bag
from thfm_ros.bags.opening import BagError, is_bag
from thfm_ros.config import config_from
from thfm_ros.config_text import add_set_option, settings_from
from thfm_ros.contract import PerceptionError, Task
from thfm_ros.loading import Pipeline, load_pipeline
from thfm_ros.media.errors import shown
from thfm_ros.offline.outputs import FORMATS, OVERLAY, Outputs, formats_from, topics_to_keep
from thfm_ros.offline.perceive import perceive, warnings_of
from thfm_ros.offline.sources import (
    BagCamera,
    FocalLength,
    FrameSource,
    bag_cameras,
    open_source,
)

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `thfm perceive`."""
    parser.add_argument(
        "input",
        type=Path,
        help="a video, an image, a folder of images, or a rosbag (folder, .mcap, .db3, .bag)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--format",
        default="npz",
        metavar="FORMATS",
        help=f"comma-separated: {', '.join(FORMATS)} (default: npz)",
    )
    parser.add_argument("--overlay", action="store_true", help="also write overlay.mp4")
    parser.add_argument(
        "--still", type=Path, metavar="PNG", help="also write the last frame's overlay as an image"
    )
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument("--hfov", type=float, metavar="DEGREES", help="horizontal field of view")
    camera.add_argument("--fx", type=float, metavar="PIXELS", help="focal length")
    add_bag_options(parser)
    parser.add_argument(
        "--tasks", default="", help="comma-separated; default: all of the checkpoint"
    )
    parser.add_argument(
        "--max-frames", type=int, default=0, metavar="N", help="stop after N frames"
    )
    parser.add_argument("--checkpoint", default="nano", help="name or path of the weights")
    add_set_option(
        parser, "any other parameter, e.g. engine.threads=2 (docs/parameters.md lists them)"
    )


def add_bag_options(parser: argparse.ArgumentParser) -> None:
    """The options for rosbags."""
    bag = parser.add_argument_group("rosbags")
    bag.add_argument(
        "--topic",
        action="append",
        default=[],
        metavar="NAME",
        help="topic of the images (default: the only one of a bag); several times, or 'all': each "
        "into a folder of its own",
    )
    bag.add_argument(
        "--camera-info",
        default="",
        metavar="TOPIC",
        help="topic of the calibration; default: camera_info beside the images",
    )
    bag.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="TOPIC",
        help="copy this topic of the bag into perception.mcap; several times, or 'all'",
    )
    bag.add_argument(
        "--stamps",
        choices=("header", "received"),
        default="header",
        help="times of the images: of their headers, or of the recording",
    )


def run(args: argparse.Namespace) -> int:
    """Perceive ``args.input`` and write the results into ``args.out``; 0.

    Raises:
        PerceptionError: an option is invalid, or a file cannot be read or written.
    """
    settings = {"engine.checkpoint": args.checkpoint, **settings_from(args.set)}
    config = config_from(settings)
    focal_length = FocalLength(args.hfov, args.fx)
    check_max_frames(args.max_frames)
    tasks = tasks_from(args.tasks) if args.tasks else None
    if args.keep and "mcap" not in formats_from(args.format):
        raise PerceptionError("--keep copies topics into perception.mcap: add --format mcap.")
    if args.overlay and args.input.resolve() == (args.out / OVERLAY).resolve():
        raise PerceptionError(
            f"{args.input} would be overwritten by its overlay: give another --out."
        )
    if is_bag(args.input):
        with Bag(args.input) as bag:
            return _run_bag(args, bag, focal_length, load_pipeline(config), tasks)
    if args.topic or args.camera_info or args.keep or args.stamps != "header":
        raise PerceptionError(
            "--topic, --camera-info, --keep and --stamps are for rosbags; "
            f"{shown(args.input)} is none."
        )
    source = open_source(args.input)
    if focal_length == FocalLength():
        log.warning(
            "No focal length: nothing is metric, so depth_m and keypoints3d will be NaN. "
            "Give --fx, or --hfov (a webcam has about 60 degrees, a phone 65)."
        )
    _run_source(args, source, args.out, focal_length, load_pipeline(config), tasks)
    return 0


def _run_bag(
    args: argparse.Namespace,
    bag: Bag,
    focal_length: FocalLength,
    pipeline: Pipeline,
    tasks: frozenset[Task] | None,
) -> int:
    """Perceive the chosen cameras of a bag; 2 if one of several cannot be."""
    received = args.stamps == "received"
    streams = bag_cameras(bag, args.topic, args.camera_info, received_times=received)
    failed = 0
    for topic, stream in streams.items():
        out = args.out / folder_of(topic) if len(streams) > 1 else args.out
        try:
            _run_source(args, BagCamera(stream), out, focal_length, pipeline, tasks)
        except BagError as error:
            if len(streams) == 1:
                raise
            log.error("%s", error)
            failed += 1
        pipeline.reset()
    return 2 if failed else 0


def folder_of(topic: str) -> str:
    """The name of a topic's folder: /front/image_raw becomes front.image_raw."""
    return topic.strip("/").replace("/", ".")


def _run_source(
    args: argparse.Namespace,
    source: FrameSource,
    out: Path,
    focal_length: FocalLength,
    pipeline: Pipeline,
    tasks: frozenset[Task] | None,
) -> None:
    card = pipeline.engine.card
    log.info("%s, %s", card.name, pipeline.engine.description)
    tasks = tasks or frozenset(card.tasks)
    bag = source.stream.bag if isinstance(source, BagCamera) else None
    keep = topics_to_keep(bag, args.keep) if bag else ()
    name = shown(Path(args.input.name))
    outputs = Outputs(out, source, tasks, card, pipeline.config, name, keep)
    summary = perceive(
        pipeline,
        source,
        outputs.writers(formats_from(args.format), overlay=args.overlay, still=args.still),
        tasks,
        focal_length=focal_length,
        max_frames=args.max_frames,
    )
    where = f"{shown(args.input)}, {source.stream.topic}: " if isinstance(source, BagCamera) else ""
    for text in warnings_of(summary, source, focal_length):
        log.warning("%s%s", where, text)
    log.info("%d frames are in %s", summary.frames, shown(out))


def tasks_from(text: str) -> frozenset[Task]:
    """Tasks from their comma-separated names.

    Raises:
        PerceptionError: there is no task of such a name.
    """
    try:
        return frozenset(Task(name.strip()) for name in text.split(","))
    except ValueError as error:
        names = ", ".join(task.value for task in Task)
        raise PerceptionError(f"{error}; the tasks are {names}.") from error


def check_max_frames(number: int) -> None:
    """Refuse a limit that is none.

    Raises:
        PerceptionError: it is negative.
    """
    if number < 0:
        raise PerceptionError(f"--max-frames {number}: give 1 or more, or 0 for all frames.")
