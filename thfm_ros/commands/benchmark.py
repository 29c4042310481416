"""`thfm benchmark node | flops | synth`: what it costs, measured.

Each kind has a module of its own, imported only when it is asked for; `node` needs ROS 2, the
others do not.
"""

import argparse
import importlib

from thfm_ros.contract import PerceptionError

KINDS: dict[str, tuple[str, str]] = {
    "node": ("thfm_ros.ros.benchmark.command", "the ROS node: latency, age, losses, CPU, memory"),
    "flops": ("thfm_ros.genception.flops", "the network: operations of each part"),
    "synth": (
        "thfm_ros.commands.benchmark_synth",
        "the generator of synthetic humans: images per second",
    ),
}
"""Name: module with ``add_arguments(parser)`` and ``run(args)``, what it measures."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments; those of each kind come from its module."""
    kinds = "\n".join(f"  {name:<6} {what}" for name, (_, what) in KINDS.items())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"kinds:\n{kinds}\n\n`thfm benchmark KIND --help` tells more."
    parser.add_argument("kind", choices=tuple(KINDS), metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("options", nargs=argparse.REMAINDER, help="of that kind")


def run(args: argparse.Namespace) -> int:
    """Hand over to the module of the kind; its exit code.

    Raises:
        PerceptionError: what it measures is not installed.
    """
    name, what = KINDS[args.kind]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise PerceptionError(_cure(args.kind, error)) from error
    parser = argparse.ArgumentParser(prog=f"thfm benchmark {args.kind}", description=what)
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(args.options)))


def _cure(kind: str, error: ModuleNotFoundError) -> str:
    """What to do about a missing module."""
    trouble = f"`thfm benchmark {kind}` needs {error.name}, which is not installed here. "
    if kind == "node":
        return trouble + (
            "It measures a ROS node: source ROS 2, or pip install -r requirements-ros.txt, then "
            "pip install '.[dev]' (outside the source tree's root, which has no messages)."
        )
    extra = {"flops": "full"}.get(kind, kind)
    return trouble + f"Install it: pip install '.[{extra}]' in the source folder."
