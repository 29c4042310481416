# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The thfm_ros authors
"""`thfm benchmark node | endurance | archive | flops | synth | gpu`: latency, faults, cost.

Each kind of benchmark is a module, imported only when it is chosen; `node` and
`endurance` need ROS 2, the others do not.
"""

import argparse
import importlib

from thfm_ros.contract import PerceptionError

KINDS: dict[str, tuple[str, str]] = {
    "node": ("thfm_ros.ros.benchmark.command", "the ROS node: latency, age, losses, CPU, memory"),
    "endurance": (
        "thfm_ros.commands.benchmark_endurance",
        "the ROS node for hours: leaks, ids, order, while camera and subscribers change",
    ),
    "archive": (
        "thfm_ros.commands.benchmark_archive",
        "thfm archive: frames per second and memory, beside plain thfm perceive",
    ),
    "flops": ("thfm_ros.genception.flops", "the network: operations of each part"),
    "synth": (
        "thfm_ros.commands.benchmark_synth",
        "the generator of synthetic humans: images per second",
    ),
    "gpu": ("thfm_ros.gpu_report.command", "all that an NVIDIA GPU can tell, in five minutes"),
}
"""Name: module with ``add_arguments(parser)`` and ``run(args)``, what it measures."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments; those of each kind come from its module."""
    kinds = "\n".join(f"  {name:<9} {description}" for name, (_, description) in KINDS.items())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"kinds:\n{kinds}\n\n`thfm benchmark KIND --help` lists the options of a kind."
    parser.add_argument("kind", choices=tuple(KINDS), metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("options", nargs=argparse.REMAINDER, help="options of that kind")


def run(args: argparse.Namespace) -> int:
    """Run the benchmark of that kind; its exit code.

    Raises:
        PerceptionError: a package that it needs is not installed.
    """
    name, description = KINDS[args.kind]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise PerceptionError(_install_hint(args.kind, error)) from error
    parser = argparse.ArgumentParser(prog=f"thfm benchmark {args.kind}", description=description)
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(args.options)))


def _install_hint(kind: str, error: ModuleNotFoundError) -> str:
    """Which module is missing, and how to install it."""
    missing = f"`thfm benchmark {kind}` needs {error.name}, which is not installed. "
    if kind in ("node", "endurance"):
        return missing + (
            "It measures a ROS node: source ROS 2, or pip install -r requirements-ros.txt, then "
            "pip install '.[dev]' (outside the source tree's root, which has no messages)."
        )
    extra = {"flops": "full"}.get(kind, kind)
    return missing + f"Install it: pip install '.[{extra}]' in the source folder."
