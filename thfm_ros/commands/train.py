# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm train`: train the embedded network on rendered people by a recipe.

Two CPU cores are used best by two processes that average their gradients:
`torchrun --nproc-per-node 2 -m thfm_ros.commands.train RECIPE --data DIR --out DIR`.
"""

import argparse
import logging
import math
from pathlib import Path

from thfm_ros.config_option import check_numbers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.add_argument(
        "recipe", type=Path, help="JSON file with stages and loss weights, see runs/"
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with shards in train/ and val/"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the run; resumed if it exists"
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument(
        "--evaluate-every", type=float, default=300, help="seconds between evaluations"
    )
    parser.add_argument("--heldout", type=int, default=240, help="held-out crops per evaluation")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that make batches, 0 or 1"
    )
    parser.add_argument(
        "--begin-from",
        type=Path,
        metavar="FILE",
        help="checkpoint of nano whose weights a new run begins with (default: random weights, or "
        "the pretrained encoder of the prior)",
    )
    parser.add_argument(
        "--device",
        default="cpu",
        help="cpu, cuda or cuda:N; with torchrun, cuda is one GPU per process (default: cpu)",
    )
    parser.add_argument("--trained-on", default="", help="what the model card says about the data")


def run(args: argparse.Namespace) -> int:
    """Train until the recipe is finished or the time is up; 0.

    Raises:
        PerceptionError: an option, the recipe or the data are invalid.
    """
    import torch

    from thfm_ros.training.distributed import device_of_process, join
    from thfm_ros.training.recipe import read_recipe
    from thfm_ros.training.trainer import Trainer

    limits = {"heldout": (1, 10**6), "workers": (0, 1), "seconds": (0, math.inf)}
    check_numbers(vars(args), {**limits, "evaluate_every": (0, math.inf)})
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    device = device_of_process(args.device)
    join(device)
    trainer = Trainer(
        args.out,
        read_recipe(args.recipe),
        args.data,
        args.trained_on,
        begin_from=args.begin_from,
        device=device,
    )
    trainer.run(args.seconds, args.evaluate_every, args.workers, args.heldout)
    return 0


def main() -> int:
    """Run as `python -m thfm_ros.commands.train`."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())
