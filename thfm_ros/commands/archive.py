# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm archive`: perceive all cameras of many rosbags, with workers that may die.

Results lie in OUT/units, in a folder per bag and topic that is named by a hash of the bag, the
weights and all settings. A second run does only what is missing.
"""

import argparse
import logging
import os
from functools import partial

from thfm_ros.archive.destination import MANIFEST, Destination, destination_of
from thfm_ros.archive.job import Job
from thfm_ros.archive.process_pool import run_in_processes
from thfm_ros.archive.ray_pool import run_on_ray
from thfm_ros.archive.run import REPORT, Pool, run_archive
from thfm_ros.archive.units import bags_of, units_of
from thfm_ros.archive.work import Worker
from thfm_ros.commands.perceive import add_bag_options, check_max_frames, tasks_from
from thfm_ros.config import config_from
from thfm_ros.config_text import add_set_option, settings_from
from thfm_ros.contract import PerceptionError
from thfm_ros.offline.outputs import FORMATS, formats_from
from thfm_ros.offline.sources import FocalLength

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `thfm archive`."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="BAGS",
        help="rosbags, folders of bags, globs in quotes, s3://..., or @FILE with one a line",
    )
    parser.add_argument(
        "--out", required=True, help="folder for all results, or an address such as s3://..."
    )
    parser.add_argument(
        "--format",
        default="parquet",
        metavar="FORMATS",
        help=f"comma-separated: {', '.join(FORMATS)} (default: parquet)",
    )
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument("--hfov", type=float, metavar="DEGREES", help="horizontal field of view")
    camera.add_argument("--fx", type=float, metavar="PIXELS", help="focal length")
    parser.add_argument("--tasks", default="", help="comma-separated; default: all")
    parser.add_argument("--max-frames", type=int, default=0, metavar="N", help="of each unit")
    parser.add_argument("--checkpoint", default="nano", help="name or path of the weights")
    add_bag_options(parser)
    _add_pool_options(parser)
    add_set_option(parser, "any other parameter (docs/parameters.md lists them)")


def _add_pool_options(parser: argparse.ArgumentParser) -> None:
    pool = parser.add_argument_group("workers")
    pool.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="number of workers (default: one per CPU), each with engine.threads=1 unless set",
    )
    pool.add_argument(
        "--ray",
        default="",
        metavar="ADDRESS",
        help="run on Ray: address of a cluster, 'auto', or 'local'",
    )
    pool.add_argument(
        "--scratch-gib",
        type=float,
        default=50.0,
        metavar="GIB",
        help="largest bag that is copied from remote storage; each worker holds one (default: 50)",
    )
    pool.add_argument(
        "--gpus-per-worker", type=float, default=0.0, metavar="SHARE", help="0 to 1, with --ray"
    )


def run(args: argparse.Namespace) -> int:
    """Perceive all bags; 1 if some could not be, else 0.

    Raises:
        PerceptionError: the run cannot begin.
    """
    settings = {
        "engine.checkpoint": args.checkpoint,
        "engine.threads": 1,
        **settings_from(args.set),
    }
    config_from(settings)
    FocalLength(args.hfov, args.fx)
    check_max_frames(args.max_frames)
    if args.keep and "mcap" not in formats_from(args.format):
        raise PerceptionError("--keep copies topics into perception.mcap: add --format mcap.")
    tasks = sorted(task.value for task in tasks_from(args.tasks)) if args.tasks else ()
    job = Job(
        settings=tuple(sorted(settings.items())),
        tasks=tuple(tasks),
        formats=tuple(sorted(formats_from(args.format))),
        info_topic=args.camera_info,
        received_times=args.stamps == "received",
        hfov_deg=args.hfov,
        fx=args.fx,
        keep=tuple(args.keep),
        max_frames=args.max_frames,
    )
    out = destination_of(args.out)
    bags = bags_of(args.inputs, args.out)
    units = units_of(
        bags, args.topic, job.digest(), _scratch_bytes(args), info_topic=args.camera_info
    )
    result = run_archive(units, job, out, _pool(args, job, out))
    log.info("%s/%s, %s/%s", out, MANIFEST, out, REPORT)
    if result.failed:
        log.error("%d of %d units have no results", result.failed, len(result.outcomes))
    return 1 if result.failed else 0


def _scratch_bytes(args: argparse.Namespace) -> int:
    if not args.scratch_gib > 0:
        raise PerceptionError(f"--scratch-gib {args.scratch_gib:g}: give more than 0.")
    return int(args.scratch_gib * 2**30)


def _pool(args: argparse.Namespace, job: Job, out: Destination) -> Pool:
    if args.workers < 0 or not 0 <= args.gpus_per_worker <= 1:
        raise PerceptionError("--workers must not be negative, --gpus-per-worker is 0 to 1.")
    workers = args.workers or os.cpu_count() or 1
    make_worker = partial(Worker, job, out, _scratch_bytes(args))
    if args.ray:
        share = args.gpus_per_worker
        return partial(
            run_on_ray,
            make_worker=make_worker,
            workers=workers,
            address=args.ray,
            gpus_per_worker=share,
        )
    if args.gpus_per_worker:
        raise PerceptionError("--gpus-per-worker is for --ray.")
    return partial(run_in_processes, make_worker=make_worker, workers=workers)
