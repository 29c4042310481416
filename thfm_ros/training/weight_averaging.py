# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""Average the weights of several checkpoints of one run, which generalizes better than each.

Run as
``python -m thfm_ros.training.weight_averaging a.safetensors b.safetensors --out nano.safetensors``.
Wortsman et al., "Model soups", ICML 2022.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from thfm_ros.contract import PerceptionError
from thfm_ros.model.weights import CheckpointError, load_network, save_network

logger = logging.getLogger(__name__)


def average(paths: Sequence[Path], out: Path) -> None:
    """Write the mean of nano checkpoints; the card is the first one's.

    Raises:
        CheckpointError: a file is missing, damaged or of another size of network than the first.
    """
    mean, card = load_network(paths[0])
    total = {name: value.double() for name, value in mean.state_dict().items()}
    for path in paths[1:]:
        other, its_card = load_network(path)
        if replace(its_card, trained_on=card.trained_on) != card:
            raise CheckpointError(
                f"{path} is not the same network as {paths[0]}: {its_card.network} and "
                f"{card.network}. Take checkpoints of one run, after its last growth."
            )
        for name, value in other.state_dict().items():
            total[name] += value.double()
    mean.load_state_dict({name: value / len(paths) for name, value in total.items()})
    save_network(mean, card, out)


def main() -> int:
    """Write the averaged checkpoint."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", type=Path, nargs="+", help="nano checkpoints of one run")
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        average(args.checkpoints, args.out)
    except PerceptionError as error:
        logger.error("%s", error)
        return 2
    logger.info("%s: the mean of %d checkpoints", args.out, len(args.checkpoints))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
