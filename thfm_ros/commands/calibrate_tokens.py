# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm calibrate-tokens`: find the joints in the token tables of a full-size checkpoint.

The checkpoint runs on rendered people whose joints are known. What its tables mean is solved from
that and written into its card; a table that does not show joints is refused.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thfm_ros.commands.synth import add_pack_option, default_pack
from thfm_ros.config_option import check_numbers
from thfm_ros.contract import PerceptionError, Task

if TYPE_CHECKING:
    from thfm_ros.genception.runner import GenceptionNetwork
    from thfm_ros.genception.subgraphs import Profile
    from thfm_ros.genception.token_calibration import KnownPoses
    from thfm_ros.genception.token_map import TokenMap
    from thfm_ros.model.card import ModelCard

Clip = dict[str, np.ndarray]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `thfm calibrate-tokens`."""
    parser.add_argument("checkpoint", type=Path, help="file that `thfm import` wrote")
    parser.add_argument("--out", type=Path, help="file to write (default: the checkpoint itself)")
    add_pack_option(parser)
    parser.add_argument(
        "--clips", type=int, default=24, help="rendered clips, one person each (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the rendered people (%(default)s)")
    parser.add_argument(
        "--prompt",
        choices=[task.value for task in (Task.DEPTH, Task.NORMALS, Task.SEGMENTATION)],
        default=Task.DEPTH.value,
        help="task with whose prompt the tables are predicted (%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Calibrate, and write the card.

    Raises:
        PerceptionError: no table can be understood, or a file cannot be used.
    """
    from thfm_ros.config import EngineConfig
    from thfm_ros.engine.checkpoint import find_checkpoint
    from thfm_ros.genception.card_writer import write_with_card
    from thfm_ros.genception.engine_selection import load_genception
    from thfm_ros.genception.subgraphs import Profile
    from thfm_ros.genception.token_calibration import report_lines

    check_numbers(vars(args), {"clips": (1, 10_000), "seed": (0, 2**63 - 1)})
    checkpoint = find_checkpoint(str(args.checkpoint))
    card = checkpoint.card
    if card.family != "genception":
        raise PerceptionError(
            f"{checkpoint.path} is a checkpoint of the {card.family} family, whose joints are "
            "known. Only imported full-size checkpoints have unnamed token tables."
        )
    if Task(args.prompt) not in card.tasks:
        names = ", ".join(task.value for task in card.tasks) or "none"
        raise PerceptionError(f"{card.name} has no prompt for {args.prompt}; it has: {names}.")
    network = load_genception(checkpoint, EngineConfig(checkpoint=str(checkpoint.path)))
    profile = Profile(card.window, *card.frame_size)
    clips = rendered_clips(args.pack or default_pack(), profile, args.clips, args.seed)
    found, refused = find_maps(network, profile, clips, Task(args.prompt))
    for reason in refused:
        sys.stdout.write(f"{reason}\n")
    if not found:
        raise PerceptionError(f"{card.name}: no token table could be read as joints; see above.")
    new = card_with_maps(card, tuple(found.values()))
    out = args.out or checkpoint.path
    write_with_card(checkpoint.path, out, new)
    sys.stdout.write("\n".join(report_lines(found)) + f"\n{out}: {_meaning(new)}\n")
    return 0


def rendered_clips(pack: Path, profile: "Profile", clips: int, seed: int) -> Iterator[Clip]:
    """Clips of one person each, as long as the window and as high as the network image."""
    from thfm_ros.synth.generate import DatasetConfig, make_clip, make_person_group
    from thfm_ros.synth.pack import load_pack
    from thfm_ros.synth.scene.asset_choices import choose_assets

    config = DatasetConfig(
        pack=str(pack), seed=seed, split="all", view="crop", clips=clips, shard=clips,
        frames=(profile.frames,), size=profile.height, artefacts=0.0,
    )  # fmt: skip
    choices = choose_assets(load_pack(pack), config.split, config.striding)
    for number in range(clips):
        group = make_person_group(config, choices, number, people=1)
        yield make_clip(config, choices, group, number)


def find_maps(
    network: "GenceptionNetwork", profile: "Profile", clips: Iterator[Clip], prompt: Task
) -> tuple[dict[str, "TokenMap"], list[str]]:
    """The meaning of each table that has one, and why the others were refused."""
    from thfm_ros.genception.token_calibration import TokenCalibrationError, calibrate

    tables, poses = predicted_tables(network, profile, clips, prompt)
    found: dict[str, TokenMap] = {}
    refused: list[str] = []
    for name, values in tables.items():
        try:
            found[name] = calibrate(name, values, poses, prompt.value)
        except TokenCalibrationError as error:
            refused.append(str(error))
    return found, refused


def predicted_tables(
    network: "GenceptionNetwork", profile: "Profile", clips: Iterator[Clip], prompt: Task
) -> tuple[dict[str, np.ndarray], "KnownPoses"]:
    """Both token tables of every rendered frame, by name, and the joints that it shows."""
    import torch

    from thfm_ros.genception.clip_input import frames_to_network, letterbox
    from thfm_ros.genception.token_calibration import KnownPoses
    from thfm_ros.genception.token_map import TABLES
    from thfm_ros.geometry import to_network

    tables: dict[str, list[np.ndarray]] = {name: [] for name in TABLES}
    positions, pixels, numbers = [], [], []
    for number, clip in enumerate(clips):
        images = list(clip["rgb"])
        box = letterbox(images[0].shape[1], images[0].shape[0], (profile.width, profile.height))
        with torch.inference_mode():
            video = frames_to_network(images, box, network.device).to(network.dtype)
            outputs = network.predict(network.encode(video), prompt)
        for name in TABLES:
            tables[name].append(getattr(outputs, name)[0].float().cpu().numpy())
        positions.append(clip["keypoints3d"][:, 0])
        pixels.append(to_network(clip["keypoints2d"][:, 0], box))
        numbers.append(np.full(len(images), number))
    known = KnownPoses(
        np.concatenate(positions), np.concatenate(pixels), profile.width, np.concatenate(numbers)
    )
    return {name: np.concatenate(values) for name, values in tables.items()}, known


def card_with_maps(card: "ModelCard", maps: tuple["TokenMap", ...]) -> "ModelCard":
    """The card with the meaning of its tables, and with the task "bodies" if they allow it."""
    from thfm_ros.genception.token_bodies import can_have_bodies
    from thfm_ros.genception.token_map import CARD_ENTRY
    from thfm_ros.skeleton import JOINT_NAMES

    others = tuple(task for task in card.tasks if task is not Task.BODIES)
    has_bodies = can_have_bodies(maps, frozenset(others))
    return dataclasses.replace(
        card,
        tasks=(*others, Task.BODIES) if has_bodies else others,
        joint_names=JOINT_NAMES if has_bodies else (),
        network={**card.network, CARD_ENTRY: [each.to_dict() for each in maps]},
    )


def _meaning(card: "ModelCard") -> str:
    if Task.BODIES in card.tasks:
        return "the task bodies was added"
    if Task.SEGMENTATION not in card.tasks:
        return "no skeletons without the task segmentation, which says whether anyone is there"
    return "no skeletons: the tables do not say where in the image a person is"
