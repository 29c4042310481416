# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm evaluate`: metrics of a checkpoint, each beside a trivial baseline.

On held-out synthetic people as crops and clips (the network alone) and as whole frames (the whole
pipeline), and on any folder of real images with annotations in COCO format.
"""

import argparse
import math
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from thfm_ros.config_option import check_numbers
from thfm_ros.config_text import add_set_option, settings_from
from thfm_ros.contract import PerceptionError
from thfm_ros.engine.checkpoint import Checkpoint, find_checkpoint

if TYPE_CHECKING:
    from thfm_ros.loading import Pipeline


class Section(NamedTuple):
    """The results on one kind of data."""

    data: str  # what was measured on, in words
    tables: str  # Markdown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    data = parser.add_argument_group("synthetic people")
    data.add_argument("--data", type=Path, help="folder with held-out data in val/ and valframes/")
    data.add_argument("--crops", type=int, default=1000, metavar="N", help="crops at most; 0: none")
    data.add_argument(
        "--clips", type=int, default=1000, metavar="N", help="clips of crops at most; 0: none"
    )
    data.add_argument(
        "--frames", type=int, default=1000, metavar="N", help="clips of whole frames; 0: none"
    )
    images = parser.add_argument_group("real images")
    images.add_argument("--images", "--pictures", type=Path, metavar="DIR", help="annotated images")
    images.add_argument("--annotations", type=Path, metavar="FILE", help="default: DIR/*.json")
    images.add_argument(
        "--fps", type=float, help="the images are one video at this rate; default: unrelated"
    )
    cameras = parser.add_argument_group("several cameras")
    cameras.add_argument(
        "--fusion", type=Path, metavar="DIR", help="scenes made by `thfm_ros.synth.camera_rig`"
    )
    parser.add_argument(
        "--checkpoint", default="nano", help="name or path of the weights (default: %(default)s)"
    )
    add_set_option(
        parser,
        "a parameter of the pipeline, e.g. engine.kind=torch (docs/parameters.md lists them)",
    )
    parser.add_argument(
        "--page",
        type=Path,
        help="also write the tables into this Markdown page, between the markers of each section",
    )


def run(args: argparse.Namespace) -> int:
    """Print the tables; 0.

    Raises:
        PerceptionError: what is missing, and what to do about it.
    """
    from thfm_ros.evaluation.markdown_report import check_page, write_section

    counts = dict.fromkeys(("crops", "clips", "frames"), (0, math.inf))
    check_numbers(vars(args), {**counts, "fps": (0.01, 10_000)})
    checkpoint = find_checkpoint(args.checkpoint)
    names = _section_names(args)
    if args.page is not None:
        check_page(args.page, names)
    about = (
        f"Checkpoint {checkpoint.path.name}, SHA-256 {checkpoint.sha256()[:16]}...; "
        f"`{command_of(args)}`"
    )
    for name, section in _sections(args, checkpoint, names):
        text = f"{section.data}. {about}\n\n{section.tables}"
        print(f"## {name}\n\n{text}\n")
        if args.page is not None:
            write_section(args.page, name, text)
    return 0


def command_of(args: argparse.Namespace) -> str:
    """The command line, with absolute paths reduced to their last component."""
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


def _section_names(args: argparse.Namespace) -> list[str]:
    """The sections that the options ask for."""
    if args.data is None and args.images is None and args.fusion is None:
        raise PerceptionError(
            "Nothing to evaluate on: give --data DIR (val/ and valframes/ made by `thfm synth "
            "render --split val`), --images DIR (images and a COCO annotation file) or --fusion "
            "DIR (scenes of several cameras)."
        )
    synthetic = ("crops", "clips", "frames") if args.data is not None else ()
    names = [section for section in synthetic if getattr(args, section) > 0]
    if args.images is not None:  # a page can hold the sections of several folders
        names.append(f"images of {args.images.resolve().name}")
    return names + ["fusion"] * (args.fusion is not None)


def _sections(
    args: argparse.Namespace, checkpoint: Checkpoint, names: list[str]
) -> Iterator[tuple[str, Section]]:
    """Name and results of each section, one after the other."""
    measure = {"crops": _crops, "clips": _clips, "frames": _frames, "fusion": _fusion}
    for name in names:
        yield name, measure.get(name, _images)(args, checkpoint)


def _check_crops(folder: Path) -> None:
    if not any(folder.glob("*.npz")):
        raise PerceptionError(
            f"There are no held-out crops in {folder}. Make some: thfm synth render --split val "
            f"--view crop --frames 4 --clips 320 --seed 11 --pack PACK --out {folder}"
        )


def _crops(args: argparse.Namespace, checkpoint: Checkpoint) -> Section:
    import torch

    from thfm_ros.evaluation.crop_metrics import scores_by_body_orientation, scores_by_size
    from thfm_ros.evaluation.report_tables import crop_tables
    from thfm_ros.metrics.crops import crop_scores
    from thfm_ros.model.weights import load_network
    from thfm_ros.training.batches import held_out
    from thfm_ros.training.validation import labels_of, predict

    _check_crops(args.data / "val")
    torch.set_num_threads(1)
    network, card = load_network(checkpoint.path)
    batches = held_out(args.data, card.crop_size[0], args.crops)
    predicted, truth = predict(network, batches), labels_of(batches)
    tables = crop_tables(
        crop_scores(predicted, truth),
        scores_by_size(predicted, truth),
        scores_by_body_orientation(predicted, truth),
    )
    return Section(f"{len(truth.instances)} held-out crops of {card.crop_size[0]} px", tables)


def _clips(args: argparse.Namespace, checkpoint: Checkpoint) -> Section:
    import torch

    from thfm_ros.evaluation.report_tables import clip_table
    from thfm_ros.evaluation.temporal_stability import clip_scores, run_clips
    from thfm_ros.model.weights import load_network

    _check_crops(args.data / "val")
    torch.set_num_threads(1)
    network, card = load_network(checkpoint.path)
    scores = clip_scores(run_clips(network, args.data / "val", card.crop_size[0], args.clips))
    still = f"{scores.still_clips} of them of people who stand still"
    return Section(f"{scores.clips} held-out clips of four frames, {still}", clip_table(scores))


def _frames(args: argparse.Namespace, checkpoint: Checkpoint) -> Section:
    from thfm_ros.evaluation.frame_metrics import frame_scores
    from thfm_ros.evaluation.handheld_jitter import handheld_scores
    from thfm_ros.evaluation.report_tables import rendered_frame_tables
    from thfm_ros.evaluation.synthetic_frames import frame_clips, matched_clips

    clips = list(islice(frame_clips(args.data / "valframes"), args.frames))
    pipeline = _pipeline(args, checkpoint)
    images = matched_clips(pipeline, clips, args.frames)
    scores = frame_scores(images)
    handheld = handheld_scores(pipeline, clips, args.frames // 6)
    tracking = scores.tracking
    data = (
        f"{scores.images} held-out whole frames of {images[-1].clip + 1} clips, "
        f"{scores.people} people, {scores.negative_images} negative frames, "
        f"{tracking.steps} pairs of consecutive frames in which a person is detected, "
        f"{tracking.still_steps} of them of people who stand still, "
        f"{handheld.people} people before the hand-held camera; {pipeline.engine.description}"
    )
    return Section(data, rendered_frame_tables(scores, handheld))


def _images(args: argparse.Namespace, checkpoint: Checkpoint) -> Section:
    from thfm_ros.evaluation.coco_annotations import find_annotations, read_annotations
    from thfm_ros.evaluation.coco_images import matched_images
    from thfm_ros.evaluation.frame_metrics import frame_scores
    from thfm_ros.evaluation.report_tables import real_image_tables

    if args.fps is not None and not args.fps > 0:
        raise PerceptionError(f"--fps {args.fps:g}: give more than 0 images per second.")
    file = find_annotations(args.images, args.annotations)
    images = read_annotations(args.images, file)
    pipeline = _pipeline(args, checkpoint)
    scores = frame_scores(matched_images(pipeline, images, args.fps))
    data = (
        f"{scores.images} images, {scores.people} people, {scores.negative_images} negative "
        f"images, {sum(image.has_all_masks for image in images)} with the masks of all people; "
        f"{pipeline.engine.description}"
    )
    return Section(data, real_image_tables(scores))


def _fusion(args: argparse.Namespace, checkpoint: Checkpoint) -> Section:
    from thfm_ros.evaluation.fusion_report import fusion_scores, fusion_tables
    from thfm_ros.evaluation.fusion_scenes import perceived_views, rig_scenes
    from thfm_ros.fusion.settings import FusionSettings

    scenes = rig_scenes(args.fusion)
    pipeline = _pipeline(args, checkpoint)
    views = {scene.name: perceived_views(pipeline, scene) for scene in scenes}
    frames = sum(len(scene.joints_m) for scene in scenes)
    data = (
        f"{len(scenes)} rendered scenes of {len(scenes[0].cameras)} cameras, {frames} times, "
        f"{sum(scene.joints_m[..., 0, 0].size for scene in scenes)} people; "
        f"{pipeline.engine.description}"
    )
    return Section(data, fusion_tables(fusion_scores(scenes, views, FusionSettings())))


def _pipeline(args: argparse.Namespace, checkpoint: Checkpoint) -> "Pipeline":
    from thfm_ros.config import config_from
    from thfm_ros.loading import load_pipeline

    settings = {"engine.checkpoint": str(checkpoint.path), "track.seed": 1}
    return load_pipeline(config_from({**settings, **settings_from(args.set)}))


def main() -> int:
    """Run as `python -m thfm_ros.commands.evaluate`."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
