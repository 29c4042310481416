# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm`, the command line.

Each subcommand is a module with ``add_arguments(parser)`` and ``run(args)``, imported only when it
is called: `thfm --help` loads no network library.
"""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

from thfm_ros import __version__
from thfm_ros.contract import PerceptionError

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "thfm_ros.ros.demo.command",
        "run the ROS node on a video and draw the results; needs ROS 2",
    ),
    "perceive": (
        "thfm_ros.commands.perceive",
        "write depth, masks and skeletons of a video or of images",
    ),
    "archive": (
        "thfm_ros.commands.archive",
        "perceive all cameras of many rosbags: workers, manifest, report",
    ),
    "engine": (
        "thfm_ros.commands.engine",
        "build, list, verify or clear the engines that run the network",
    ),
    "import": (
        "thfm_ros.genception.import_weights",
        "convert public checkpoints of the large sizes",
    ),
    "prompt": ("thfm_ros.genception.prompt_encoder", "embed new prompts for the large sizes"),
    "calibrate-tokens": (
        "thfm_ros.commands.calibrate_tokens",
        "find the joints in the token tables of an imported checkpoint",
    ),
    "finetune": (
        "thfm_ros.commands.finetune",
        "adapt an imported checkpoint to rendered people, on one or many GPUs",
    ),
    "synth": ("thfm_ros.commands.synth", "render annotated synthetic humans"),
    "train": ("thfm_ros.commands.train", "train the embedded network"),
    "evaluate": (
        "thfm_ros.commands.evaluate",
        "measure a checkpoint against ground truth, beside trivial baselines",
    ),
    "scenario": (
        "thfm_ros.commands.scenario",
        "run short films against the conditions written beside them",
    ),
    "benchmark": (
        "thfm_ros.commands.benchmark",
        "measure latency and resource usage: the node under load, the network, ...",
    ),
}
"""Name of each subcommand: its module and what it does."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Returns:
        The exit code; 2 after an error that the user can fix, which is logged in one line.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    name = arguments[0] if arguments else ""
    if name not in COMMANDS:
        return _explain(arguments)
    parser = argparse.ArgumentParser(prog=f"thfm {name}", description=COMMANDS[name][1])
    try:
        module = importlib.import_module(COMMANDS[name][0])
        module.add_arguments(parser)
        return int(module.run(parser.parse_args(arguments[1:])))
    except (PerceptionError, OSError) as error:  # OSError: a full disk, missing permissions ...
        logging.error("%s", error)
        return 2
    except ModuleNotFoundError as error:
        logging.error(
            "`thfm %s` needs %s, which is not installed: see the README.", name, error.name
        )
        return 2
    except KeyboardInterrupt:
        logging.error("interrupted")
        return 130


def _explain(arguments: Sequence[str]) -> int:
    """Print help, the version, or what is wrong with the command line."""
    lines = "\n".join(f"  {name:<16} {text}" for name, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="thfm",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"commands:\n{lines}\n\n`thfm COMMAND --help` tells more.",
    )
    parser.add_argument("--version", action="version", version=f"thfm_ros {__version__}")
    parser.add_argument("command", choices=tuple(COMMANDS), metavar="COMMAND")
    parser.parse_args(arguments)
    return 2


if __name__ == "__main__":
    sys.exit(main())
