"""`thfm`: everything that is done from the command line.

Each subcommand lives in a module of its own with ``add_arguments(parser)`` and ``run(args)``,
imported only when it is asked for: `thfm --help` loads no network.
"""

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

from thfm_ros import __version__
from thfm_ros.contract import PerceptionError

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("thfm_ros.ros.demo.command", "a video through the ROS node, drawn; needs ROS 2"),
    "perceive": (
        "thfm_ros.commands.perceive",
        "a video or images in, depth, masks and skeletons out",
    ),
    "engine": ("thfm_ros.commands.engine", "build, list, verify and clear what runs the network"),
    "import": (
        "thfm_ros.genception.import_weights",
        "convert public checkpoints of the large sizes",
    ),
    "prompt": ("thfm_ros.genception.prompt_encoder", "embed new prompts for the large sizes"),
    "synth": ("thfm_ros.commands.synth", "render annotated synthetic humans"),
    "train": ("thfm_ros.commands.train", "train the embedded network"),
    "evaluate": (
        "thfm_ros.commands.evaluate",
        "how right a checkpoint is, beside trivial baselines",
    ),
    "benchmark": (
        "thfm_ros.commands.benchmark",
        "what it costs: the node under load, the network, ...",
    ),
}
"""Name: module, what it does."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit code. Errors that a user can cure are one line, code 2."""
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
    except (PerceptionError, OSError) as error:  # no room, no permission: the system says why
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
    """Help, the version, or what was wrong with the command."""
    lines = "\n".join(f"  {name:<10} {what}" for name, (_, what) in COMMANDS.items())
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
