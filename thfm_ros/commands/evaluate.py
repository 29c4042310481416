"""`thfm evaluate`: how right a checkpoint is, each figure beside a trivial baseline.

Held-out synthetic people as crops and clips (the network alone) and as whole frames (the whole
pipeline), and any folder of real images with annotations in COCO's form.
"""

import argparse
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from thfm_ros.contract import PerceptionError

if TYPE_CHECKING:
    from thfm_ros.loading import Pipeline


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    data = parser.add_argument_group("synthetic people")
    data.add_argument("--data", type=Path, help="folder whose val/ and valframes/ are held out")
    data.add_argument("--crops", type=int, default=1000, metavar="N", help="crops at most; 0: none")
    data.add_argument("--clips", type=int, default=1000, metavar="N", help="clips of crops")
    data.add_argument("--frames", type=int, default=1000, metavar="N", help="whole-frame clips")
    images = parser.add_argument_group("real images")
    images.add_argument("--images", type=Path, metavar="DIR", help="folder of images")
    images.add_argument("--annotations", type=Path, metavar="FILE", help="default: DIR/*.json")
    images.add_argument(
        "--fps", type=float, help="the images are one video at this rate; default: unrelated"
    )
    parser.add_argument("--checkpoint", default="nano", help="'nano' (shipped) or a file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the pipeline, e.g. engine.kind=torch (docs/parameters.md lists them)",
    )
    parser.add_argument("--page", type=Path, help="write the tables into this Markdown page too")


def run(args: argparse.Namespace) -> int:
    """Print the tables; 0.

    Raises:
        PerceptionError: what is missing, and what to do about it.
    """
    from thfm_ros.evaluation.markdown_report import check_page, digest_of, write_section
    from thfm_ros.model.weights import shipped_checkpoint

    path = shipped_checkpoint() if args.checkpoint == "nano" else Path(args.checkpoint)
    if not path.is_file():
        raise PerceptionError(f"There is no checkpoint {path}. Give a file, or 'nano'.")
    wanted = _wanted(args)
    if args.page is not None:
        check_page(args.page, wanted)
    about = f"Checkpoint {path.name}, SHA-256 {digest_of(path)}...; `{command_of(args)}`"
    for section, counted, tables in _sections(args, path, wanted):
        text = f"{counted}. {about}\n\n{tables}"
        print(f"## {section}\n\n{text}\n")
        if args.page is not None:
            write_section(args.page, section, text)
    return 0


def command_of(args: argparse.Namespace) -> str:
    """The command that was given, without what one machine calls its folders."""
    words = ["thfm", "evaluate"]
    defaults = argparse.ArgumentParser()
    add_arguments(defaults)
    for name, default in vars(defaults.parse_args([])).items():
        value = getattr(args, name)
        if value == default:
            continue
        for each in value if isinstance(value, list) else [value]:
            absolute = isinstance(each, Path) and each.is_absolute()
            words += [f"--{name}", shlex.quote(each.name if absolute else str(each))]
    return " ".join(words)


def _wanted(args: argparse.Namespace) -> list[str]:
    """The sections that were asked for."""
    if args.data is None and args.images is None:
        raise PerceptionError(
            "Nothing to evaluate on: give --data DIR (val/ and valframes/ made by `thfm synth "
            "render --split val`) or --images DIR (images and a COCO annotation file)."
        )
    synthetic = ("crops", "clips", "frames") if args.data is not None else ()
    wanted = [section for section in synthetic if getattr(args, section) > 0]
    if args.images is not None:  # a page can hold the figures of several folders
        wanted.append(f"images of {args.images.resolve().name}")
    return wanted


def _sections(
    args: argparse.Namespace, path: Path, wanted: list[str]
) -> Iterator[tuple[str, str, str]]:
    """Name of each section, what it was measured on, and its tables."""
    measured = {"crops": _crops, "clips": _clips, "frames": _frames}
    for section in wanted:
        yield section, *measured.get(section, _images)(args, path)


def _check_crops(folder: Path) -> None:
    if not any(folder.glob("*.npz")):
        raise PerceptionError(
            f"There are no held-out crops in {folder}. Make some: thfm synth render --split val "
            f"--view crop --frames 4 --clips 320 --seed 11 --pack PACK --out {folder}"
        )


def _crops(args: argparse.Namespace, path: Path) -> tuple[str, str]:
    import torch

    from thfm_ros.evaluation.crop_metrics import by_attitude, by_limb, by_size, dense_pose
    from thfm_ros.evaluation.report_tables import crop_tables
    from thfm_ros.model.weights import load_network
    from thfm_ros.training.batches import held_out
    from thfm_ros.training.validation import baselines, predict, scores_of

    _check_crops(args.data / "val")
    torch.set_num_threads(1)
    network, card = load_network(path)
    batches = held_out(args.data, card.crop_size[0], args.crops)
    said = predict(network, batches)
    scores = scores_of(said, batches) | baselines(batches) | dense_pose(said, batches)
    scores |= by_limb(said, batches) | by_size(said, batches)
    scores |= by_attitude(said, batches)
    people = sum(len(batch.instances) for batch in batches)
    return f"{people} held-out crops of {card.crop_size[0]} px", crop_tables(scores)


def _clips(args: argparse.Namespace, path: Path) -> tuple[str, str]:
    import torch

    from thfm_ros.evaluation import temporal_stability as steadiness
    from thfm_ros.evaluation.markdown_report import table
    from thfm_ros.evaluation.report_tables import CLIPS
    from thfm_ros.model.weights import load_network

    _check_crops(args.data / "val")
    torch.set_num_threads(1)
    network, card = load_network(path)
    clips = steadiness.clips_of(network, args.data / "val", card.crop_size[0], args.clips)
    scores = steadiness.scores_of(clips)
    still = f"{scores['still_clips']:.0f} of them of somebody who stands still"
    return f"{len(clips)} held-out clips of four frames, {still}", table(scores, CLIPS)


def _frames(args: argparse.Namespace, path: Path) -> tuple[str, str]:
    from thfm_ros.evaluation import handheld_jitter as held
    from thfm_ros.evaluation.frame_metrics import scores_of
    from thfm_ros.evaluation.report_tables import FRAMES, whole_tables
    from thfm_ros.evaluation.synthetic_frames import frame_clips, judged_clips

    clips = list(islice(frame_clips(args.data / "valframes"), args.frames))
    pipeline = _pipeline(args, path)
    judged = judged_clips(pipeline, clips, args.frames)
    scores = scores_of(judged) | held.scores_of(pipeline, clips, args.frames // 6)
    counted = (
        f"{len(judged)} held-out whole frames of {judged[-1].clip + 1} clips, "
        f"{scores['people']:.0f} people, {scores['empty']:.0f} frames without anybody, "
        f"{scores['followed']:.0f} steps of somebody who is followed from a frame to the next, "
        f"{scores['still']:.0f} of them of somebody who stands still, "
        f"{scores['people_held']:.0f} people before the hand-held camera; "
        f"{pipeline.engine.description}"
    )
    return counted, whole_tables(scores, FRAMES)


def _images(args: argparse.Namespace, path: Path) -> tuple[str, str]:
    from thfm_ros.evaluation.coco_annotations import find_annotations, read_annotations
    from thfm_ros.evaluation.coco_images import judged_images
    from thfm_ros.evaluation.frame_metrics import scores_of
    from thfm_ros.evaluation.report_tables import IMAGES, whole_tables

    if args.fps is not None and not args.fps > 0:
        raise PerceptionError(f"--fps {args.fps:g}: give more than 0 images per second.")
    file = find_annotations(args.images, args.annotations)
    images = read_annotations(args.images, file)
    pipeline = _pipeline(args, path)
    scores = scores_of(judged_images(pipeline, images, args.fps))
    outlined = sum(each.outlined for each in images)
    counted = (
        f"{len(images)} images, {scores['people']:.0f} people, {scores['empty']:.0f} images "
        f"without anybody, {outlined} with every outline; {pipeline.engine.description}"
    )
    return counted, whole_tables(scores, IMAGES)


def _pipeline(args: argparse.Namespace, path: Path) -> "Pipeline":
    from thfm_ros.config import config_from
    from thfm_ros.config_text import settings_from
    from thfm_ros.loading import load_pipeline

    settings = {"engine.checkpoint": str(path), "track.seed": 1, **settings_from(args.set)}
    return load_pipeline(config_from(settings))


def main() -> int:
    """Run as `python -m thfm_ros.commands.evaluate`."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
